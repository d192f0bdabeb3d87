return table.isempty

return table.clone

return table.isarray

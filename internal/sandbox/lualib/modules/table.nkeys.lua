return table.nkeys

return table.clear

return table.new

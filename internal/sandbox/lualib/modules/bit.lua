return bit

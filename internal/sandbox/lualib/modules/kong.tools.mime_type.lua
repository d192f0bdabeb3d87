local native = ...

-- includes says whether a media type {type, subtype} covers another.
local function includes(this, other)
  if type(this) ~= "table" then
    error("this must be a table", 2)
  end
  if type(other) ~= "table" then
    error("other must be a table", 2)
  end
  if this.type == "*" then
    return true
  end
  if this.type ~= other.type then
    return false
  end
  if this.subtype == "*" or this.subtype == other.subtype then
    return true
  end
  local suffix = "+" .. this.subtype
  return not this.subtype:find("+", 1, true) and #other.subtype > #suffix and other.subtype:sub(-#suffix) == suffix
end

return { parse_mime_type = native.parse_mime_type, includes = includes }

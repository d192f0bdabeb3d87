local native = ...
local stringx = require "pl.stringx"
local base64url = require "ngx.base64"

local M = {
  join = stringx.join,
  split = stringx.split,
  strip = native.strip,
  validate_utf8 = native.validate_utf8,
  replace_dashes = native.replace_dashes,
}

function M.replace_dashes_lower(s)
  return native.replace_dashes(s:lower())
end

local units = { k = { 2 ^ 10, " KiB" }, m = { 2 ^ 20, " MiB" }, g = { 2 ^ 30, " GiB" } }

function M.bytes_to_str(bytes, unit, scale)
  local name = (unit or ""):lower()
  if name == "" or name == "b" then
    return ("%d"):format(bytes)
  end
  scale = scale or 2
  if type(scale) ~= "number" or scale < 0 then
    error("scale must be equal or greater than 0", 2)
  end
  local u = units[name]
  if not u then
    error("invalid unit '" .. unit .. "' (expected 'k/K', 'm/M', or 'g/G')", 2)
  end
  return ("%." .. scale .. "f"):format(bytes / u[1]) .. u[2]
end

function M.parse_ngx_size(s)
  assert(type(s) == "string", "Parameter #1 must be a string")
  local u = units[s:sub(-1):lower()]
  if u then
    return (tonumber(s:sub(1, -2)) or 0) * u[1]
  end
  return tonumber(s) or 0
end

local function decoded(v)
  if type(v) ~= "string" then
    return nil
  end
  return ngx.decode_base64(v) or base64url.decode_base64url(v)
end

function M.try_decode_base64(v)
  if type(v) == "table" then
    for i, s in ipairs(v) do
      v[i] = decoded(s) or s
    end
    return v
  end
  return decoded(v) or v
end

return M

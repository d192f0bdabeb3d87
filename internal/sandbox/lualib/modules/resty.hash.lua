-- One of resty's hashes: an object that is fed with update.
local native = ...
local Hash = {}
local mt = { __index = Hash, __metatable = false }

function Hash:update(s, length)
  if type(s) ~= "string" then
    s = tostring(s)
  end
  self.parts[#self.parts + 1] = length and s:sub(1, length) or s
  return true
end

function Hash:final()
  return native.digest(table.concat(self.parts))
end

function Hash:reset()
  self.parts = {}
  return true
end

return {
  _VERSION = "0.16",
  new = function() return setmetatable({ parts = {} }, mt) end,
}

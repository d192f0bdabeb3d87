-- LuaJIT's string buffer, without serialization and what works on memory.
local Buffer = {}

local function text(self)
  local parts = self.parts
  if #parts > 1 then
    self.parts = { table.concat(parts) }
  end
  return self.parts[1] or ""
end

local mt = {
  __index = Buffer,
  __tostring = text,
  __len = function(self) return #text(self) end,
  __concat = function(a, b) return tostring(a) .. tostring(b) end,
  __metatable = false,
}

local function new()
  return setmetatable({ parts = {} }, mt)
end

function Buffer:put(...)
  local parts = self.parts
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    local kind = type(v)
    if kind ~= "string" and kind ~= "number" and getmetatable(v) == nil then
      error("bad argument #" .. i .. " to 'put' (string expected, got " .. kind .. ")", 2)
    end
    parts[#parts + 1] = tostring(v)
  end
  return self
end

function Buffer:putf(format, ...)
  return self:put(string.format(format, ...))
end

function Buffer:set(s)
  self.parts = { tostring(s) }
  return self
end

function Buffer:reset()
  self.parts = {}
  return self
end

function Buffer:free()
  self.parts = {}
end

function Buffer:skip(n)
  self.parts = { text(self):sub(n + 1) }
  return self
end

-- get takes n bytes from the front for each n, all of them for nil.
function Buffer:get(...)
  local count = select("#", ...)
  if count == 0 then
    local s = text(self)
    self.parts = {}
    return s
  end
  local results = {}
  for i = 1, count do
    local n, s = select(i, ...), text(self)
    n = n or #s
    results[i] = s:sub(1, n)
    self.parts = { s:sub(n + 1) }
  end
  return unpack(results, 1, count)
end

Buffer.tostring = text

return { new = new }

-- What is commonly used of Penlight's stringx. Lists are plain tables.
local M = {}

local function check(n, v, name)
  if type(v) ~= "string" then
    error("argument " .. n .. " expected a 'string' got a '" .. type(v) .. "'", 3)
  end
end

for name, pattern in pairs({
  isalpha = "^%a+$", isdigit = "^%d+$", isalnum = "^%w+$", isspace = "^%s+$",
}) do
  M[name] = function(s)
    check(1, s)
    return s:find(pattern) == 1
  end
end

function M.islower(s)
  check(1, s)
  return s:find("^[%l%s]+$") == 1
end

function M.isupper(s)
  check(1, s)
  return s:find("^[%u%s]+$") == 1
end

-- any calls f(s, x) for x, or for each of the list x.
local function any(f)
  return function(s, x)
    check(1, s)
    if type(x) == "string" then
      return f(s, x)
    elseif type(x) ~= "table" then
      error("argument #2 expected either a 'string' or a 'table'", 2)
    end
    for _, v in ipairs(x) do
      if f(s, v) then
        return true
      end
    end
    return false
  end
end

M.startswith = any(function(s, prefix) return s:sub(1, #prefix) == prefix end)
M.endswith = any(function(s, suffix) return #s >= #suffix and s:sub(#s - #suffix + 1) == suffix end)

function M.join(sep, list)
  check(1, sep)
  local all = {}
  for i, v in ipairs(list) do
    all[i] = tostring(v)
  end
  return table.concat(all, sep)
end

-- split cuts at a separator, or at spaces without one; into at most n parts.
function M.split(s, sep, n)
  check(1, s)
  local parts = {}
  local plain = sep ~= nil and sep ~= ""
  if not plain then
    s = s:match("^%s*(.*)$")
    if s == "" then
      return parts
    end
  end
  if s == "" then
    return { "" }
  end
  local from = 1
  while not n or #parts < n - 1 do
    local first, last
    if plain then
      first, last = s:find(sep, from, true)
    else
      first, last = s:find("%s+", from)
    end
    if not first then
      break
    end
    parts[#parts + 1] = s:sub(from, first - 1)
    from = last + 1
  end
  local rest = s:sub(from)
  if plain or rest ~= "" then
    parts[#parts + 1] = rest
  end
  return parts
end

function M.splitlines(s, keep)
  check(1, s)
  local lines, from = {}, 1
  while from <= #s do
    local at = s:find("[\r\n]", from)
    if not at then
      lines[#lines + 1] = s:sub(from)
      break
    end
    local last = s:sub(at, at + 1) == "\r\n" and at + 1 or at
    lines[#lines + 1] = s:sub(from, keep and last or at - 1)
    from = last + 1
  end
  return lines
end

function M.lines(s)
  local lines, i = M.splitlines(s), 0
  return function()
    i = i + 1
    return lines[i]
  end
end

function M.expandtabs(s, width)
  check(1, s)
  width = width or 8
  local out, column = {}, 0
  for before, tab in s:gmatch("([^\t]*)(\t?)") do
    local line = before:match("[^\n]*$")
    column = before:find("\n", 1, true) and #line or column + #line
    out[#out + 1] = before
    if tab == "\t" then
      local n = width - column % width
      out[#out + 1] = (" "):rep(n)
      column = column + n
    end
  end
  return table.concat(out)
end

function M.lfind(s, sub, first, last)
  check(1, s)
  check(2, sub)
  local from, to = s:find(sub, first or 1, true)
  if from and (not last or to <= last) then
    return from
  end
  return nil
end

function M.rfind(s, sub, first, last)
  check(1, s)
  check(2, sub)
  local found
  local at = first or 1
  while true do
    local from, to = s:find(sub, at, true)
    if not from or last and to > last then
      return found
    end
    found, at = from, from + 1
    if at > #s + 1 then
      return found
    end
  end
end

function M.replace(s, old, new, n)
  check(1, s)
  check(2, old)
  check(3, new)
  if old == "" then
    return s
  end
  local out, from, done = {}, 1, 0
  while not n or done < n do
    local first, last = s:find(old, from, true)
    if not first then
      break
    end
    out[#out + 1] = s:sub(from, first - 1)
    out[#out + 1] = new
    from, done = last + 1, done + 1
  end
  out[#out + 1] = s:sub(from)
  return table.concat(out)
end

function M.count(s, sub, overlapping)
  check(1, s)
  check(2, sub)
  local n, at = 0, 1
  while sub ~= "" do
    local first, last = s:find(sub, at, true)
    if not first then
      break
    end
    n, at = n + 1, overlapping and first + 1 or last + 1
  end
  return n
end

local function pad(s, width, fill, left, right)
  check(1, s)
  fill = fill or " "
  local n = width - #s
  if n <= 0 then
    return s
  end
  local l = left and right and math.floor(n / 2) or left and n or 0
  return fill:rep(l) .. s .. fill:rep(n - l)
end

function M.ljust(s, width, fill) return pad(s, width, fill, false, true) end
function M.rjust(s, width, fill) return pad(s, width, fill, true, false) end
function M.center(s, width, fill) return pad(s, width, fill, true, true) end

-- strip removes spaces, or the given characters, from the ends.
local function strip(s, left, right, characters)
  check(1, s)
  local in_set = "%s"
  if characters then
    in_set = "[" .. characters:gsub("[%^%]%%%-]", "%%%0") .. "]"
  end
  local from, to = 1, #s
  if left then
    from = (select(2, s:find("^" .. in_set .. "*")) or 0) + 1
  end
  if right then
    while to >= from and s:find("^" .. in_set, to) do
      to = to - 1
    end
  end
  return s:sub(from, to)
end

function M.lstrip(s, characters) return strip(s, true, false, characters) end
function M.rstrip(s, characters) return strip(s, false, true, characters) end
function M.strip(s, characters) return strip(s, true, true, characters) end

function M.partition(s, sep)
  check(1, s)
  check(2, sep)
  local first, last = s:find(sep, 1, true)
  if not first then
    return s, "", ""
  end
  return s:sub(1, first - 1), sep, s:sub(last + 1)
end

function M.rpartition(s, sep)
  check(1, s)
  check(2, sep)
  local first = M.rfind(s, sep)
  if not first then
    return "", "", s
  end
  return s:sub(1, first - 1), sep, s:sub(first + #sep)
end

function M.at(s, i)
  check(1, s)
  return s:sub(i, i)
end

function M.title(s)
  check(1, s)
  return (s:gsub("(%S)(%S*)", function(first, rest) return first:upper() .. rest:lower() end))
end

function M.shorten(s, width, tail)
  check(1, s)
  if #s <= width then
    return s
  elseif width < 3 then
    return ("..."):sub(1, width)
  elseif tail then
    return "..." .. s:sub(#s - width + 4)
  end
  return s:sub(1, width - 3) .. "..."
end

return M

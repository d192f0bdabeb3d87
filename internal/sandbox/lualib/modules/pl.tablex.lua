-- What is commonly used of Penlight's tablex. Lists are plain tables, and a function is a
-- function: names of operators, such as "+", are not taken for one.
local M = {}

local function callable(n, f)
  if type(f) == "function" then
    return f
  end
  local mt = type(f) == "table" and getmetatable(f)
  if type(mt) == "table" and mt.__call then
    return f
  end
  error("argument " .. n .. " must be a function in message functions", 3)
end

local function list_to_table(n, t)
  if type(t) ~= "table" then
    error("argument " .. n .. " is not a table", 3)
  end
  return t
end

function M.size(t)
  return table.nkeys(list_to_table(1, t))
end

function M.copy(t)
  local copy = {}
  for k, v in pairs(list_to_table(1, t)) do
    copy[k] = v
  end
  return copy
end

function M.update(a, b)
  for k, v in pairs(list_to_table(2, b)) do
    a[k] = v
  end
  return a
end

function M.deepcopy(t)
  local copies = {}
  local function copy(v)
    if type(v) ~= "table" then
      return v
    end
    if copies[v] then
      return copies[v]
    end
    local c = {}
    copies[v] = c
    for k, member in pairs(v) do
      c[copy(k)] = copy(member)
    end
    local mt = getmetatable(v)
    if type(mt) == "table" then
      setmetatable(c, mt)
    end
    return c
  end
  return copy(t)
end

local function deepcompare(a, b, ignore_mt, eps)
  if type(a) ~= type(b) then
    return false
  end
  if type(a) ~= "table" then
    if eps and type(a) == "number" then
      return math.abs(a - b) < eps
    end
    return a == b
  end
  local mt = getmetatable(a)
  if not ignore_mt and type(mt) == "table" and mt.__eq then
    return a == b
  end
  for k in pairs(a) do
    if b[k] == nil then
      return false
    end
  end
  for k, v in pairs(b) do
    if a[k] == nil or not deepcompare(a[k], v, ignore_mt, eps) then
      return false
    end
  end
  return true
end

function M.deepcompare(a, b, ignore_mt, eps)
  return deepcompare(a, b, ignore_mt, eps)
end

function M.compare(a, b, f)
  if #a ~= #b then
    return false
  end
  callable(3, f)
  for i = 1, #a do
    if not f(a[i], b[i]) then
      return false
    end
  end
  return true
end

function M.compare_no_order(a, b, f)
  if #a ~= #b then
    return false
  end
  local used = {}
  for i = 1, #a do
    local match
    for j = 1, #b do
      if not used[j] and (f and f(a[i], b[j]) or not f and a[i] == b[j]) then
        match = j
        break
      end
    end
    if not match then
      return false
    end
    used[match] = true
  end
  return true
end

function M.find(t, wanted, from)
  from = from or 1
  if from < 0 then
    from = #t + from + 1
  end
  for i = from, #t do
    if t[i] == wanted then
      return i
    end
  end
  return nil
end

function M.rfind(t, wanted, from)
  from = from or #t
  if from < 0 then
    from = #t + from + 1
  end
  for i = from, 1, -1 do
    if t[i] == wanted then
      return i
    end
  end
  return nil
end

function M.find_if(t, f, arg)
  callable(2, f)
  for k, v in pairs(t) do
    local c = f(v, arg)
    if c then
      return k, c
    end
  end
  return nil
end

function M.map(f, t, ...)
  callable(1, f)
  local mapped = {}
  for k, v in pairs(list_to_table(2, t)) do
    mapped[k] = f(v, ...)
  end
  return mapped
end

function M.imap(f, t, ...)
  callable(1, f)
  local mapped = {}
  for i = 1, #list_to_table(2, t) do
    mapped[i] = f(t[i], ...) or false
  end
  return mapped
end

function M.transform(f, t, ...)
  callable(1, f)
  for k, v in pairs(t) do
    t[k] = f(v, ...)
  end
end

function M.map2(f, a, b, ...)
  callable(1, f)
  local mapped = {}
  for k, v in pairs(a) do
    mapped[k] = f(v, b[k], ...)
  end
  return mapped
end

function M.imap2(f, a, b, ...)
  callable(1, f)
  local mapped = {}
  for i = 1, math.min(#a, #b) do
    mapped[i] = f(a[i], b[i], ...)
  end
  return mapped
end

function M.mapn(f, ...)
  callable(1, f)
  local lists, mapped, n = { ... }, {}, math.huge
  for _, l in ipairs(lists) do
    n = math.min(n, #l)
  end
  for i = 1, n < math.huge and n or 0 do
    local args = {}
    for j, l in ipairs(lists) do
      args[j] = l[i]
    end
    mapped[i] = f(unpack(args, 1, #lists))
  end
  return mapped
end

function M.pairmap(f, t, ...)
  callable(1, f)
  local mapped = {}
  for k, v in pairs(t) do
    local value, key = f(k, v, ...)
    if key ~= nil then
      mapped[key] = value
    else
      mapped[#mapped + 1] = value
    end
  end
  return mapped
end

function M.zip(...)
  return M.mapn(function(...) return { ... } end, ...)
end

function M.reduce(f, t, memo)
  callable(1, f)
  local from = 1
  if memo == nil then
    memo, from = t[1], 2
  end
  for i = from, #t do
    memo = f(memo, t[i])
  end
  return memo
end

function M.foreach(t, f, ...)
  callable(2, f)
  for k, v in pairs(t) do
    f(v, k, ...)
  end
end

function M.foreachi(t, f, ...)
  callable(2, f)
  for i = 1, #t do
    f(t[i], i, ...)
  end
end

function M.filter(t, f, arg)
  callable(2, f)
  local kept = {}
  for i = 1, #t do
    if f(t[i], arg) then
      kept[#kept + 1] = t[i]
    end
  end
  return kept
end

function M.keys(t)
  local keys = {}
  for k in pairs(list_to_table(1, t)) do
    keys[#keys + 1] = k
  end
  return keys
end

function M.values(t)
  local values = {}
  for _, v in pairs(list_to_table(1, t)) do
    values[#values + 1] = v
  end
  return values
end

function M.index_map(t)
  local map = {}
  for i = 1, #t do
    map[t[i]] = i
  end
  return map
end

function M.makeset(t)
  local set = {}
  for i = 1, #t do
    set[t[i]] = true
  end
  return set
end

function M.index_by(t, keys)
  local picked = {}
  for _, k in ipairs(keys) do
    picked[#picked + 1] = t[k]
  end
  return picked
end

function M.merge(a, b, dup)
  local merged = {}
  for k, v in pairs(a) do
    if dup or b[k] ~= nil then
      merged[k] = v
    end
  end
  if dup then
    for k, v in pairs(b) do
      merged[k] = v
    end
  end
  return merged
end

function M.union(a, b) return M.merge(a, b, true) end
function M.intersection(a, b) return M.merge(a, b, false) end

function M.difference(a, b, symmetric)
  local left = {}
  for k, v in pairs(a) do
    if b[k] == nil then
      left[k] = v
    end
  end
  if symmetric then
    for k, v in pairs(b) do
      if a[k] == nil then
        left[k] = v
      end
    end
  end
  return left
end

function M.count_map(t, f)
  local counts = {}
  for _, v in ipairs(t) do
    if not f then
      counts[v] = (counts[v] or 0) + 1
    else
      for k in pairs(counts) do
        if f(k, v) then
          v = k
          break
        end
      end
      counts[v] = (counts[v] or 0) + 1
    end
  end
  return counts
end

function M.range(start, finish, step)
  if start == finish then
    return { start }
  end
  local range = {}
  for i = start, finish, step or 1 do
    range[#range + 1] = i
  end
  return range
end

function M.new(n, v)
  local t = {}
  for i = 1, n do
    if type(v) == "function" then
      t[i] = v(i)
    else
      t[i] = v
    end
  end
  return t
end

function M.sub(t, from, to)
  local part = {}
  from, to = from or 1, to or -1
  if from < 0 then
    from = #t + from + 1
  end
  if to < 0 then
    to = #t + to + 1
  end
  for i = from, to do
    part[#part + 1] = t[i]
  end
  return part
end

function M.set(t, v, from, to)
  for i = from or 1, to or #t do
    t[i] = type(v) == "function" and v(i) or v
  end
end

function M.icopy(dest, src, idest, isrc, n)
  idest, isrc = idest or 1, isrc or 1
  local last = #src
  if n then
    last = math.min(last, isrc + n - 1)
  end
  for i = isrc, last do
    dest[idest] = src[i]
    idest = idest + 1
  end
  return dest
end

function M.insertvalues(t, at, values)
  if values == nil then
    at, values = #t + 1, at
  end
  for i, v in ipairs(values) do
    table.insert(t, at + i - 1, v)
  end
  return t
end

function M.removevalues(t, from, to)
  for _ = from, to or from do
    table.remove(t, from)
  end
  return t
end

function M.clear(t, from)
  for i = #t, from or 1, -1 do
    table.remove(t, i)
  end
end

local function iterate(t, keys)
  local i = 0
  return function()
    i = i + 1
    if keys[i] ~= nil then
      return keys[i], t[keys[i]]
    end
  end
end

function M.sort(t, f)
  local keys = M.keys(t)
  table.sort(keys, f)
  return iterate(t, keys)
end

function M.sortv(t, f)
  f = f or function(a, b) return a < b end
  local keys = M.keys(t)
  table.sort(keys, function(a, b) return f(t[a], t[b]) end)
  return iterate(t, keys)
end

function M.is_indexable(v)
  return type(v) == "table"
end

function M.is_iterable(v)
  return type(v) == "table"
end

function M.is_writeable(v)
  return type(v) == "table"
end

-- readonly returns a view of a table that cannot be changed.
function M.readonly(t)
  return setmetatable({}, {
    __index = t,
    __newindex = function() error("Attempt to modify read-only table", 2) end,
    __len = function() return #t end,
    __metatable = false,
  })
end

return M

local M = {}

M.EMPTY = require("pl.tablex").readonly({})

function M.pack(...)
  return { n = select("#", ...), ... }
end

function M.unpack(t, i, j)
  return unpack(t, i or 1, j or t.n or #t)
end

function M.table_merge(a, b)
  local merged = {}
  for k, v in pairs(a or {}) do
    merged[k] = v
  end
  for k, v in pairs(b or {}) do
    merged[k] = v
  end
  return merged
end

function M.null_aware_table_merge(a, b)
  local merged = M.table_merge(a)
  for k, v in pairs(b or {}) do
    if v ~= ngx.null or merged[k] == nil then
      merged[k] = v
    end
  end
  return merged
end

function M.table_contains(t, wanted)
  for _, v in pairs(t or {}) do
    if v == wanted then
      return true
    end
  end
  return false
end

local function is_lapis_array(t)
  if type(t) ~= "table" then
    return false
  end
  local i = 0
  for _ in pairs(t) do
    i = i + 1
    if t[i] == nil and t[tostring(i)] == nil then
      return false
    end
  end
  return true
end
M.is_lapis_array = is_lapis_array

function M.is_array(t, mode)
  if type(t) ~= "table" then
    return false
  elseif mode == "lapis" then
    return is_lapis_array(t)
  elseif mode == "fast" then
    return table.isarray(t)
  end
  if not table.isarray(t) then
    return false
  end
  return table.nkeys(t) == table.maxn(t)
end

local function deep_copy(v, metatables)
  if type(v) ~= "table" then
    return v
  end
  local copy = {}
  for k, member in next, v do
    copy[deep_copy(k)] = deep_copy(member, metatables)
  end
  local mt = metatables ~= false and getmetatable(v)
  if type(mt) == "table" then
    setmetatable(copy, deep_copy(mt))
  end
  return copy
end
M.deep_copy = deep_copy

function M.shallow_copy(v)
  return type(v) == "table" and table.clone(v) or v
end

function M.deep_merge(a, b)
  local merged = deep_copy(a)
  for k, v in pairs(b) do
    if type(v) == "table" and type(merged[k]) == "table" then
      merged[k] = M.deep_merge(merged[k], v)
    else
      merged[k] = deep_copy(v)
    end
  end
  return merged
end

-- The cycle-aware functions copy a table once, however often it is met.
local function cycle_aware_deep_copy(v, no_metatables, keys, copies)
  if type(v) ~= "table" then
    return v
  end
  copies = copies or {}
  if copies[v] then
    return copies[v]
  end
  local copy = {}
  copies[v] = copy
  for k, member in pairs(v) do
    if keys then
      k = cycle_aware_deep_copy(k, no_metatables, keys, copies)
    end
    copy[k] = cycle_aware_deep_copy(member, no_metatables, keys, copies)
  end
  local mt = not no_metatables and getmetatable(v)
  if type(mt) == "table" then
    setmetatable(copy, mt)
  end
  return copy
end
M.cycle_aware_deep_copy = cycle_aware_deep_copy

function M.cycle_aware_deep_merge(a, b, no_metatables, keys, copies)
  copies = copies or {}
  local merged = cycle_aware_deep_copy(a, no_metatables, keys, copies)
  for k, v in pairs(b) do
    if type(v) == "table" and type(merged[k]) == "table" then
      merged[k] = M.cycle_aware_deep_merge(merged[k], v, no_metatables, keys, copies)
    else
      merged[k] = cycle_aware_deep_copy(v, no_metatables, keys, copies)
    end
  end
  return merged
end

function M.concat(...)
  local all = {}
  for _, t in ipairs({ ... }) do
    for _, v in ipairs(t) do
      all[#all + 1] = v
    end
  end
  return all
end

local lists = {} -- the metatable of lists of errors

function M.add_error(errors, k, v)
  errors = errors or {}
  local old = errors[k]
  if not old then
    errors[k] = v
  elseif type(old) == "table" and getmetatable(old) == lists then
    old[#old + 1] = v
  else
    errors[k] = setmetatable({ old, v }, lists)
  end
  return errors
end

function M.table_path(t, path)
  for _, k in ipairs(path) do
    t = t[k]
    if t == nil then
      return nil
    end
  end
  return t
end

return M

local native = ...
local M = {
  _VERSION = "0.0.7",
  generate_v4 = native.generate_v4,
  generate_v3 = native.generate_v3,
  generate_v5 = native.generate_v5,
  is_valid = native.is_valid,
  seed = function() end, -- they come from the system's source of random bytes
  __call = native.generate_v4,
}

for version, generate in pairs({ [3] = native.generate_v3, [5] = native.generate_v5 }) do
  M["factory_v" .. version] = function(namespace)
    local ok, err = generate(namespace, "")
    if not ok then
      return nil, err
    end
    return function(name) return generate(namespace, name) end
  end
end

return M

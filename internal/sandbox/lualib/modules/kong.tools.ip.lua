local native = ...
local M = {}
for name, f in pairs(native) do
  M[name] = f
end

local checks = { ipv4 = M.normalize_ipv4, ipv6 = M.normalize_ipv6, name = M.check_hostname }

function M.normalize_ip(address)
  local kind = M.hostname_type(address)
  local host, port = checks[kind](address)
  if not host then
    return nil, port
  end
  return { type = kind, host = host, port = port }
end

function M.format_host(address, port)
  if address == nil then
    return nil, port -- what is wrong, from normalize_ip
  end
  local host, kind = address, nil
  if type(address) == "table" then
    host, kind, port = address.host, address.type, address.port or port
  elseif type(address) ~= "string" then
    return nil, "cannot format type '" .. type(address) .. "'"
  end
  kind = kind or M.hostname_type(host)
  if kind == "ipv6" and not host:find("[", 1, true) then
    host = "[" .. M.normalize_ipv6(host) .. "]"
  end
  return port and host .. ":" .. port or host
end

return M

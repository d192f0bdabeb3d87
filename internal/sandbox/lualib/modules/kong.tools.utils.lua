local M = {}
for _, name in ipairs({ "table", "uuid", "rand", "time", "string", "ip" }) do
  for k, v in pairs(require("kong.tools." .. name)) do
    M[k] = v
  end
end
return M

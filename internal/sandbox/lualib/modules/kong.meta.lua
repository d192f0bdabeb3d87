-- Of the release of Kong whose functions these modules have.
local version = setmetatable({ major = 3, minor = 9, patch = 3 }, {
  __tostring = function(v) return v.major .. "." .. v.minor .. "." .. v.patch end,
})
local text = tostring(version)

return {
  _NAME = "kong",
  _VERSION = text,
  _VERSION_TABLE = version,
  _SERVER_TOKENS = "kong/" .. text,
  version = text,
}

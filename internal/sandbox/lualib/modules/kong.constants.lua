-- What of Kong's constants a function may want: names that clients and upstreams see.
local subsystems = {
  http = "http", https = "http", grpc = "http", grpcs = "http",
  tcp = "stream", tls = "stream", udp = "stream", tls_passthrough = "stream",
}
local protocols = {}
for name in pairs(subsystems) do
  protocols[#protocols + 1] = name
end
table.sort(protocols)

local levels = {}
for name, constant in pairs({
  debug = "DEBUG", info = "INFO", notice = "NOTICE", warn = "WARN",
  error = "ERR", crit = "CRIT", alert = "ALERT", emerg = "EMERG",
}) do
  levels[name], levels[ngx[constant]] = ngx[constant], name
end

return {
  CJSON_MAX_PRECISION = 16,
  HEADERS = {
    HOST_OVERRIDE = "X-Host-Override",
    PROXY_LATENCY = "X-Kong-Proxy-Latency",
    RESPONSE_LATENCY = "X-Kong-Response-Latency",
    ADMIN_LATENCY = "X-Kong-Admin-Latency",
    UPSTREAM_LATENCY = "X-Kong-Upstream-Latency",
    UPSTREAM_STATUS = "X-Kong-Upstream-Status",
    CONSUMER_ID = "X-Consumer-ID",
    CONSUMER_CUSTOM_ID = "X-Consumer-Custom-ID",
    CONSUMER_USERNAME = "X-Consumer-Username",
    CONSUMER_GROUPS = "X-Consumer-Groups",
    CREDENTIAL_IDENTIFIER = "X-Credential-Identifier",
    RATELIMIT_LIMIT = "X-RateLimit-Limit",
    RATELIMIT_REMAINING = "X-RateLimit-Remaining",
    AUTHENTICATED_GROUPS = "X-Authenticated-Groups",
    FORWARDED_HOST = "X-Forwarded-Host",
    FORWARDED_PATH = "X-Forwarded-Path",
    FORWARDED_PREFIX = "X-Forwarded-Prefix",
    ANONYMOUS = "X-Anonymous-Consumer",
    REQUEST_ID = "X-Kong-Request-Id",
    VIA = "Via",
    SERVER = "Server",
  },
  RATELIMIT = { PERIODS = { "second", "minute", "hour", "day", "month", "year" } },
  PROTOCOLS = protocols,
  PROTOCOLS_WITH_SUBSYSTEM = subsystems,
  LOG_LEVELS = levels,
}

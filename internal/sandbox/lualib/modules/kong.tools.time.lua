local native = ...

local function now_ms() return ngx.now() * 1000 end

return {
  nginx_conf_time_to_seconds = native.nginx_conf_time_to_seconds,
  time_ns = native.time_ns,
  get_updated_now = function() return ngx.now() end,
  get_now_ms = now_ms,
  get_updated_now_ms = now_ms,
  get_start_time_ms = function() return ngx.req.start_time() * 1000 end,
  get_updated_monotonic_ms = native.monotonic_ms,
}

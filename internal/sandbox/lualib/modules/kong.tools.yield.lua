-- Functions run to their end: there is nothing to yield to.
local yieldable = {
  rewrite = true, server_rewrite = true, access = true, content = true, timer = true,
  ssl_client_hello = true, ssl_certificate = true, ssl_session_fetch = true, preread = true,
}

return {
  in_yieldable_phase = function(phase) return yieldable[phase or ngx.get_phase()] end,
  yield = function() end,
}

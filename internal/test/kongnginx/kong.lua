-- What the companion handler needs of Kong, as small as can be, on a genuine nginx.

local cjson = require "cjson"

local M = {}

local levels = {
  debug = ngx.DEBUG, info = ngx.INFO, notice = ngx.NOTICE, warn = ngx.WARN,
  err = ngx.ERR, crit = ngx.CRIT, alert = ngx.ALERT, emerg = ngx.EMERG,
}

-- init makes the global kong. dir is the prefix, with what the test has put there.
function M.init(dir, socket)
  local log = {}
  for name, level in pairs(levels) do
    log[name] = function(...)
      ngx.log(level, "[kafka-upstream] ", ...)
    end
  end
  _G.kong = {
    configuration = { prefix = dir, pluginserver_kafka_upstream_socket = socket },
    log = log,
    ctx = { shared = {} },
    client = {}, request = {}, router = {}, node = {}, ip = {},
    db = { certificates = {} },
    response = {
      exit = function(status, body, headers)
        ngx.status = status
        for name, value in pairs(headers or {}) do
          ngx.header[name] = value
        end
        if body then
          ngx.header["Content-Length"] = #body
          ngx.print(body)
        end
        return ngx.exit(status)
      end,
    },
  }
  M.dir = dir
  local stub = loadfile(dir .. "/stub.lua")
  if stub then
    stub()
  end
  M.handler = M.handler or require "kong.plugins.kafka-upstream.handler"
end

local confs = {}

local function conf_of(name)
  local conf = confs[name]
  if not conf then
    local f = assert(io.open(M.dir .. "/conf/" .. name .. ".json"))
    conf = cjson.decode(f:read("*a"))
    f:close()
    confs[name] = conf
  end
  return conf
end

-- access runs the handler with the configuration of that name.
function M.access(name)
  ngx.ctx.config = name -- for stubs
  M.handler:access(conf_of(name))
end

-- rotate changes the configuration of that name in place, as Kong does with secrets.
function M.rotate(name, change)
  change(conf_of(name))
end

-- changed has all configurations read again, as Kong does after a change.
function M.changed()
  confs = {}
  collectgarbage()
  collectgarbage()
end

return M

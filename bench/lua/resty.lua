-- A producer in Kong's own process, over lua-resty-kafka: the message of kafka-upstream, by cjson.

local cjson = require "cjson"

local message = {}
local JSON = { ["Content-Type"] = "application/json; charset=utf-8" }
local producer

return {
  access = function(_, conf)
    if not producer then
      -- With limits that deliver all: a producer that loses is no baseline.
      producer = require("resty.kafka.producer"):new(conf.bootstrap_servers, {
        producer_type = "async", batch_num = 200, batch_size = 1048576, max_buffering = 1000000, flush_time = 1000,
        request_timeout = 20000, max_retry = 10,
      })
    end
    ngx.req.read_body()
    local body = ngx.req.get_body_data()
    if not body then
      local f = assert(io.open(ngx.req.get_body_file(), "rb"))
      body = f:read("*a")
      f:close()
    end
    message.method = ngx.req.get_method()
    message.headers = ngx.req.get_headers(1000)
    message.uri = ngx.var.request_uri
    message.uri_args = ngx.req.get_uri_args(100)
    message.body = body
    message.body_args = cjson.decode(body)
    local ok, err = producer:send(conf.topic, nil, cjson.encode(message))
    if not ok then
      ngx.log(ngx.ERR, err)
      return kong.response.exit(500, [[{"message":"An unexpected error occurred"}]], JSON)
    end
    return kong.response.exit(200, [[{"message":"message sent"}]], JSON)
  end,
}

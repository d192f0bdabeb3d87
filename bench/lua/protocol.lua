-- Speaks the plugin protocol as Kong 3.9.1 does: a connection of the pool and a coroutine for each
-- request, each reply in two sends, and a connection that is lost with each exit. Protobuf is
-- written by hand, for the few messages that kafka-upstream needs.

local ffi = require "ffi"

local n32 = ffi.new("uint32_t[1]")

local function u32(n)
  n32[0] = n
  return ffi.string(n32, 4)
end

local function varint(n)
  local s = ""
  while n >= 128 do
    s = s .. string.char(n % 128 + 128)
    n = math.floor(n / 128)
  end
  return s .. string.char(n)
end

local function field(number, s)
  return varint(number * 8 + 2) .. varint(#s) .. s
end

local function read_varint(s, at)
  local n, shift = 0, 1
  while true do
    local b = s:byte(at)
    at = at + 1
    n = n + b % 128 * shift
    if b < 128 then
      return n, at
    end
    shift = shift * 128
  end
end

-- fields returns the last value of each field.
local function fields(s)
  local all, at = {}, 1
  while at <= #s do
    local tag, n
    tag, at = read_varint(s, at)
    n, at = read_varint(s, at)
    if tag % 8 == 2 then
      all[math.floor(tag / 8)] = s:sub(at, at + n - 1)
      at = at + n
    else
      all[math.floor(tag / 8)] = n
    end
  end
  return all
end

local function text(s)
  return s ~= "" and field(1, s) or ""
end

local function value(s)
  return field(3, s)
end

local asks = {
  ["kong.request.get_method"] = function()
    return text(ngx.req.get_method())
  end,
  ["kong.request.get_path_with_query"] = function()
    return text(ngx.var.request_uri)
  end,
  ["kong.request.get_raw_query"] = function()
    return text(ngx.var.args or "")
  end,
  ["kong.request.get_headers"] = function()
    local all = {}
    for name, v in pairs(ngx.req.get_headers(1000)) do
      if type(v) == "table" then
        for i = 1, #v do
          v[i] = field(1, value(v[i]))
        end
        v = field(6, table.concat(v))
      else
        v = value(v)
      end
      all[#all + 1] = field(1, field(1, name) .. field(2, v))
    end
    return table.concat(all)
  end,
  ["kong.request.get_raw_body"] = function()
    ngx.req.read_body()
    local body = ngx.req.get_body_data()
    if body then
      return field(1, body)
    end
    local file = ngx.req.get_body_file()
    return file and field(2, file) or field(1, "")
  end,
}

local function read_frame(sock)
  local head = assert(sock:receive(4))
  local n = ffi.cast("const uint32_t *", head)[0]
  return n == 0 and "" or assert(sock:receive(n))
end

local function write_frame(sock, s)
  assert(sock:send(u32(#s)))
  assert(sock:send(s))
end

local function connect()
  local sock = ngx.socket.connect("unix:" .. kong.configuration.pluginserver_kafka_upstream_socket)
  return assert(sock)
end

local instances = setmetatable({}, { __mode = "k" })

local function instance(conf)
  local id = instances[conf]
  if not id then
    local sock = connect()
    local config = require("cjson").encode(conf)
    write_frame(sock, "\8\1" .. field(33, field(1, "kafka-upstream") .. field(2, config)))
    id = fields(fields(read_frame(sock))[33])[2]
    instances[conf] = id
    sock:setkeepalive()
  end
  return id
end

local function run(conf)
  local sock = connect()
  write_frame(sock, "\8\1" .. field(36, "\8" .. varint(instance(conf)) .. field(2, "access")))
  while true do
    local method = read_frame(sock)
    local args = read_frame(sock)
    if method == "kong.response.exit" then
      args = fields(args)
      local headers, at = {}, 1
      local s = args[3] or ""
      while at <= #s do
        local n
        n, at = read_varint(s, at + 1)
        local entry = fields(s:sub(at, at + n - 1))
        headers[entry[1]] = fields(entry[2])[3]
        at = at + n
      end
      return args[1], args[2], headers
    end
    write_frame(sock, asks[method](args))
  end
end

return {
  access = function(_, conf)
    local co = ngx.thread.spawn(run, conf)
    local _, status, body, headers = ngx.thread.wait(co)
    return kong.response.exit(status, body, headers)
  end,
}

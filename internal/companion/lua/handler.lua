-- Written by "kafka-upstream -companion" of release @RELEASE@, which overwrites it.
--
-- The companion handler of kafka-upstream: it sends what a configuration needs of a request to
-- the plugin server in one frame, and answers as that says. docs/companion.md has the frames.
--
-- A cosocket belongs to the request or timer that has made it, so a timer owns the one connection
-- of a worker: one light thread of it sends what requests have queued, another reads the answers,
-- and each request waits on a semaphore of its own.

local buffer = require "string.buffer"
local cjson = require "cjson.safe"
local ffi = require "ffi"
local semaphore = require "ngx.semaphore"

local cast, copy, fstring = ffi.cast, ffi.copy, ffi.string
local exiting = ngx.worker.exiting
local get_headers, get_method = ngx.req.get_headers, ngx.req.get_method
local min, floor = math.min, math.floor
local now = ngx.now
local pairs, type = pairs, type
local remove = table.remove

local RELEASE = "@RELEASE@"
local FRAMES = 1 -- the version of the frames

local HELLO, CONFIG, REQUEST, FORGET, CERTIFICATE = 1, 2, 3, 4, 5
local WELCOME, NEEDS, ANSWERS, LEAVE = 0x81, 0x82, 0x83, 0x84
local BODY_FILE, NO_BODY, BODY_TOO_LARGE = 1, 2, 4

-- Statuses that are none of HTTP's. The plugin server has not handled the request with the first
-- two; nor with the third, which never left this worker. With BROKEN nobody knows.
local LEAVING, UNKNOWN_CONFIG, NOT_SENT, BROKEN = 0, 1, 2, 3

local CONNECT = 5 -- how long a request waits for the plugin server, in seconds
local ANSWER = 60 -- how long it waits for its answer: a synchronous one comes within 55 s
local TICK = 1 -- how often an idle connection looks whether the worker is to end, in seconds
local STALLED = 30 -- how long the plugin server may read nothing, in seconds
local CHECK = 60 -- how often a certificate is looked up again, in seconds
local MAX_WAITING = 10000 -- requests that wait for the plugin server, in a worker
local MAX_QUEUED = 64 * 1024 * 1024 -- bytes that wait to be sent
local LARGE = 4096 -- a body of that many bytes is not copied, but sent as it is
local MAX_HEADERS = 1000 -- Kong's own limit
local MAX_CONFIG = 4 * 1024 * 1024 - 4 -- bytes of a configuration: a larger frame would end the connection
local MAX_FACT = 1024 * 1024 -- bytes of tables in what Kong knows of a request
local MAX_FACTS = 8 * 1024 * 1024 -- bytes of all that: a larger frame would end the connection, and so all its requests
local MAX_DEPTH = 100 -- of tables in it

local JSON = { ["Content-Type"] = "application/json; charset=utf-8" }
local JSON_RETRY = { ["Content-Type"] = JSON["Content-Type"], ["Retry-After"] = "1" }
local SENT = [[{"message":"message sent"}]]
local UNAVAILABLE = [[{"message":"Service Unavailable","error":"could not send message to topic"}]]

local u8p, u16p, u32p = ffi.typeof("const uint8_t *"), ffi.typeof("const uint16_t *"), ffi.typeof("const uint32_t *")
local w32p = ffi.typeof("uint32_t *")

-- The state of a worker.
local current -- the connection that requests are sent over; nil while there is none
local opening = false -- a timer is connecting
local opened -- what requests wait on for the connection; nil as long as none has
local unusable -- why the plugin server cannot be used at all
local cause = "it was not asked yet" -- why there is no connection
local failing -- since when there is none
local logged = {} -- when a line was last logged

local function log(level, key, ...)
  if (logged[key] or 0) + 1 <= now() then
    logged[key] = now()
    ngx.log(level, "[kafka-upstream] ", ...)
  end
end

-- Where the plugin server may listen: Kong 3.9 looks in its prefix, earlier ones always look
-- in /usr/local/kong.
local function paths()
  local configured = kong.configuration["pluginserver_kafka_upstream_socket"]
  local all = configured and { configured }
    or { kong.configuration.prefix .. "/kafka-upstream.socket", "/usr/local/kong/kafka-upstream.socket" }
  for i, path in ipairs(all) do
    all[i] = path:gsub("%.socket$", "") .. "-companion.socket"
  end
  return all
end

-- waiting returns how many wait on a semaphore, if there is one. nginx may end a request that waits, because its
-- client is gone, without a word to its Lua: only the semaphore itself can know.
local function waiting(sema)
  return sema and -min(0, sema:count()) or 0
end

-- wake wakes all that wait.
local function wake(sema)
  local n = waiting(sema)
  if n > 0 then
    sema:post(n)
  end
end

-- Frames to the plugin server.

local n32 = ffi.new("uint32_t[1]")
local f64 = ffi.new("double[1]")

local function put_u32(b, n)
  n32[0] = n
  b:putcdata(n32, 4)
end

local function put_text(b, s)
  put_u32(b, #s)
  b:put(s)
end

local function put_header(b, size, kind, flags)
  put_u32(b, size)
  put_u32(b, kind + (flags or 0) * 256)
end

-- What waits to be sent is in c.named, a list of configurations with certificates, in c.parts, a list of strings, and
-- then in c.out.
local function is_empty(c)
  return #c.out == 0 and #c.parts == 0
end

-- queue has what was put into c.out sent soon.
local function queue(c)
  if not c.awake then
    c.awake = true
    c.wake:post(1)
  end
end

local function send_frame(c, kind, payload)
  put_header(c.out, #payload, kind)
  c.out:put(payload)
  queue(c)
end

-- Facts: what Kong knows of a request.

local encode -- (b, value, depth)

local function encode_list(b, list, depth)
  b:put("\5")
  put_u32(b, #list)
  for i = 1, #list do
    encode(b, list[i], depth - 1)
  end
end

local function encode_map(b, map, depth)
  local n = 0
  for k in pairs(map) do
    if type(k) == "string" then
      n = n + 1
    end
  end
  b:put("\6")
  put_u32(b, n)
  for k, v in pairs(map) do
    if type(k) == "string" then
      put_text(b, k)
      encode(b, v, depth - 1)
    end
  end
end

function encode(b, v, depth)
  local t = type(v)
  if t == "string" then
    b:put("\4")
    put_text(b, v)
  elseif t == "number" then
    f64[0] = v
    b:put("\3")
    b:putcdata(f64, 8)
  elseif t == "boolean" then
    b:put(v and "\2" or "\1")
  elseif t ~= "table" then
    b:put("\0")
  elseif depth == 0 or #b > MAX_FACT then
    error("it is nested too deep, or larger than " .. MAX_FACT .. " bytes")
  elseif #v > 0 then
    encode_list(b, v, depth)
  else
    encode_map(b, v, depth)
  end
end

-- The fields of Kong's entities that the plugin protocol has: functions see no others here either.
local ENTITIES = {
  ["kong.client.get_consumer"] = { "id", "created_at", "username", "custom_id", "tags" },
  ["kong.client.get_credential"] = { "id", "consumer_id" },
  ["kong.router.get_route"] = {
    "id", "created_at", "updated_at", "name", "protocols", "methods", "hosts", "paths", "https_redirect_status_code",
    "regex_priority", "strip_path", "preserve_host", "snis", "sources", "destinations", "tags", "service",
  },
  ["kong.router.get_service"] = {
    "id", "created_at", "updated_at", "name", "retries", "protocol", "host", "port", "path", "connect_timeout",
    "write_timeout", "read_timeout", "tags", "client_certificate",
  },
}

-- reduced returns the fields of an entity, without those that are empty.
local function reduced(entity, fields)
  if type(entity) ~= "table" then
    return nil
  end
  local out = {}
  for _, name in ipairs(fields) do
    local v = entity[name]
    local t = type(v)
    if t == "table" and v.id then
      out[name] = { id = v.id }
    elseif t == "table" and type(v[1]) == "string" or t == "string" and v ~= "" or t == "number" and v ~= 0 or t == "boolean" then
      out[name] = v
    end
  end
  return out
end

-- Calls that only the plugin protocol has by these names.
local CALLS = {
  ["kong.nginx.get_var"] = function(name)
    local v = ngx.var[name]
    return v ~= "" and v or nil
  end,
  ["kong.nginx.get_ctx"] = function(name)
    return ngx.ctx[name]
  end,
  ["kong.nginx.req_start_time"] = ngx.req.start_time,
  ["kong.nginx.get_subsystem"] = function()
    return ngx.config.subsystem
  end,
  ["kong.ctx.shared.get"] = function(name)
    return kong.ctx.shared[name]
  end,
}

-- call returns the function of Kong's with that name, nil if this Kong has none.
local function call(name)
  if CALLS[name] then
    return CALLS[name]
  end
  local f = _G
  for part in name:gmatch("[^.]+") do
    f = type(f) == "table" and f[part] or nil
  end
  return type(f) == "function" and f or nil
end

-- encode_captures leaves out groups that took no part in the match: the list ends before the
-- first of them.
local function encode_captures(b, v)
  local unnamed, named = {}, {}
  for i, text in ipairs(type(v) == "table" and v.unnamed or {}) do
    if type(text) ~= "string" then
      break
    end
    unnamed[i] = text
  end
  for name, text in pairs(type(v) == "table" and v.named or {}) do
    named[name] = type(text) == "string" and text or nil
  end
  b:put("\6")
  put_u32(b, 2)
  put_text(b, "unnamed")
  encode_list(b, unnamed, MAX_DEPTH)
  put_text(b, "named")
  encode_map(b, named, MAX_DEPTH)
end

local function encode_fact(b, fact)
  local f = call(fact.call)
  local v
  if f and fact.name ~= "" then
    v = f(fact.name)
  elseif f then
    v = f()
  end
  if fact.call == "kong.request.get_uri_captures" then
    return encode_captures(b, v)
  end
  if ENTITIES[fact.call] then
    v = reduced(v, ENTITIES[fact.call])
  end
  encode(b, v, MAX_DEPTH)
end

local one = buffer.new()

-- encode_facts returns the values of facts. One that Kong does not have is nil.
local function encode_facts(facts)
  local all = buffer.new()
  for _, fact in ipairs(facts) do
    one:reset()
    local ok, err = pcall(encode_fact, one, fact)
    if ok and #all + #one > MAX_FACTS then
      ok, err = false, "all that Kong knows of a request may have " .. MAX_FACTS .. " bytes"
    end
    if not ok then
      log(ngx.ERR, fact.call, fact.call, "(", fact.name, ") cannot be used and counts as nil: ", err)
      one:reset():put("\0")
    end
    all:put(one)
  end
  return all:tostring()
end

-- Requests.

local names, values = {}, {}

-- put_request puts a request into the queue. It does not yield.
local function put_request(c, id, entry, facts, flags, body)
  local needs = entry.needs
  local method = needs.method and get_method() or ""
  local uri = needs.uri and ngx.var.request_uri or ""
  local query = needs.query and ngx.var.args or ""
  local n, size = 0, 40 + #method + #uri + #query + #facts + #body
  if needs.headers then
    for name, value in pairs(get_headers(MAX_HEADERS)) do
      if type(value) == "string" then
        n = n + 1
        names[n], values[n] = name, value
        size = size + 8 + #name + #value
      elseif type(value) == "table" then
        for i = 1, #value do
          n = n + 1
          names[n], values[n] = name, value[i]
          size = size + 8 + #name + #value[i]
        end
      end
    end
  elseif needs.body then -- and what it is
    local content_type, encoding = ngx.var.content_type, ngx.var.http_content_encoding
    if content_type then
      n = 1
      names[n], values[n] = "content-type", content_type
      size = size + 8 + #"content-type" + #content_type
    end
    if encoding then
      n = n + 1
      names[n], values[n] = "content-encoding", encoding
      size = size + 8 + #"content-encoding" + #encoding
    end
  end

  local large = #body >= LARGE
  local p = c.out:reserve(large and size - #body or size)
  local w = cast(w32p, p)
  w[0], w[1] = size - 8, REQUEST + flags * 256
  w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9] = id, entry.number, #method, #uri, #query, #facts, #body, n
  p = p + 40 + 8 * n
  copy(p, method, #method)
  p = p + #method
  copy(p, uri, #uri)
  p = p + #uri
  copy(p, query, #query)
  p = p + #query
  for i = 1, n do
    local name, value = names[i], values[i]
    w[8 + 2 * i], w[9 + 2 * i] = #name, #value
    copy(p, name, #name)
    p = p + #name
    copy(p, value, #value)
    p = p + #value
  end
  copy(p, facts, #facts)
  if large then
    c.out:commit(size - #body)
    c.parts[#c.parts + 1] = c.out:get()
    c.parts[#c.parts + 1] = body
  else
    copy(p + #facts, body, #body)
    c.out:commit(size)
  end
  c.queued = c.queued + size
  queue(c)
end

-- read_body returns flags, and the body or what stands for it.
local function read_body(max)
  local ok, err = pcall(ngx.req.read_body)
  if not ok then
    return NO_BODY, tostring(err)
  end
  local data = ngx.req.get_body_data()
  if data then
    if #data > max then
      return BODY_TOO_LARGE, ""
    end
    return 0, data
  end
  local file = ngx.req.get_body_file()
  if file then
    return BODY_FILE, file
  end
  return 0, ""
end

-- Answers.

local function u32(p)
  return cast(u32p, p)[0]
end

local function text(p)
  local n = u32(p)
  return fstring(p + 4, n), p + 4 + n
end

-- details reads the details of an answer into its slot, and returns where they end.
local function details(slot, p)
  local stop = p + 4 + u32(p)
  local headers, lines = cast(u16p, p + 4)[0], cast(u16p, p + 4)[1]
  slot.body, p = text(p + 8)
  slot.headers, slot.lines = {}, {}
  local name, value
  for _ = 1, headers do
    name, p = text(p)
    value, p = text(p)
    slot.headers[name] = value
  end
  for i = 1, lines do
    name, p = text(p)
    value, p = text(p)
    slot.lines[i] = { name, value }
  end
  return stop
end

-- answered hands an answer to the request that waits for it.
local function answered(c, slot, status)
  if not slot.busy then
    return
  end
  slot.busy = false
  c.inflight = c.inflight - 1
  if waiting(slot.sema) == 0 then -- any more
    c.free[#c.free + 1] = slot.id
    return
  end
  slot.status = status
  slot.sema:post(1)
end

local function read_answers(c, p)
  local n = u32(p)
  local entry, detail = p + 4, p + 4 + 8 * n
  for _ = 1, n do
    local slot = c.slots[u32(entry)]
    local status, more = cast(u16p, entry)[2], cast(u16p, entry)[3]
    if more ~= 0 then
      detail = details(slot or {}, detail)
    end
    if slot then
      answered(c, slot, status)
    end
    entry = entry + 8
  end
end

local function read_needs(c, p)
  local entry = c.asked[u32(p)]
  if not entry then
    return
  end
  c.asked[u32(p)] = nil
  local bits, facts = u32(p + 4), {}
  local max, n = u32(p + 8), u32(p + 12)
  p = p + 16
  for i = 1, n do
    local fact = {}
    fact.call, p = text(p)
    fact.name, p = text(p)
    facts[i] = fact
  end
  local function has(b)
    return floor(bits / b) % 2 == 1
  end
  entry.needs = {
    method = has(1), uri = has(2), query = has(4), headers = has(8), body = has(16),
    max = max, facts = n > 0 and facts or nil,
  }
  wake(entry.sema)
end

-- Connections.

local open -- begins to connect, unless a timer is connecting already

-- retire has requests sent over another connection from now on.
local function retire(c)
  c.retired = true
  queue(c)
  if current == c then
    current = nil
    if not exiting() then
      open()
    end
  end
end

-- read_frames handles the whole frames in s, and returns the rest.
local function read_frames(c, s)
  local p, left = cast(u8p, s), #s
  while left >= 8 do
    local size, kind = u32(p), p[4]
    if left < 8 + size then
      break
    end
    if kind == ANSWERS then
      read_answers(c, p + 8)
    elseif kind == NEEDS then
      read_needs(c, p + 8)
    elseif kind == LEAVE then
      retire(c)
    end
    p, left = p + 8 + size, left - 8 - size
  end
  if left == 0 then
    return ""
  end
  return fstring(p, left)
end

-- finish ends a connection: requests that are not sent yet go over another one.
local function finish(c, err)
  c.done = true
  c.err = c.err or err
  retire(c)
end

-- read_loop reads until the connection ends, or is not needed any more.
local function read_loop(c)
  local parts = buffer.new() -- a frame that is not there in whole
  while not c.done do
    local data, err = c.sock:receiveany(65536)
    if data and #parts > 0 then
      parts:put(data)
      local p, n = parts:ref()
      data = n >= 8 and n >= 8 + u32(p) and parts:get() or nil
    end
    if data then
      parts:put(read_frames(c, data))
      if c.retired and c.inflight == 0 and is_empty(c) then
        return finish(c)
      end
    elseif err and err ~= "timeout" then
      return finish(c, err)
    end
  end
end

-- certificate sends a certificate that a configuration names, if it is another one than last time. It reports false if
-- Kong has none.
local function certificate(c, id, last)
  local ok, row, err = pcall(kong.db.certificates.select, kong.db.certificates, { id = id })
  if not ok or not row then
    log(ngx.ERR, "certificate", "Kong does not provide certificate ", id, ": ", ok and (err or "there is none") or row)
    return false
  end
  if row.cert == last.cert and row.key == last.key then
    return true
  end
  last.cert, last.key = row.cert, row.key
  local b = buffer.new()
  put_text(b, id)
  put_text(b, row.cert)
  put_text(b, row.key)
  send_frame(c, CERTIFICATE, b:tostring())
  return true
end

-- certificates looks up all certificates that a configuration names. If Kong has not got one, the next look is soon.
local function certificates(c, entry)
  entry.checked = now()
  local all = true
  for id, last in pairs(entry.certificates) do
    all = certificate(c, id, last) and all
  end
  if not all then
    entry.checked = entry.checked - CHECK + 1
  end
end

-- send_config sends a configuration, after the certificates that it names.
local function send_config(c, entry)
  if entry.certificates then
    certificates(c, entry)
  end
  local b = buffer.new()
  put_u32(b, entry.number)
  b:put(entry.json)
  entry.json = nil
  send_frame(c, CONFIG, b:tostring())
end

-- forget tells the plugin server of configurations that Kong no longer has.
local function forget(c)
  local b = buffer.new()
  for _, number in ipairs(c.forgotten) do
    put_u32(b, number)
  end
  c.forgotten = {}
  send_frame(c, FORGET, b:tostring())
end

-- guarded runs a thread of a connection.
local function guarded(thread, c, entry)
  local ok, err = pcall(thread, c, entry)
  if not ok then
    finish(c, err)
  end
end

-- write_loop sends what is queued until the connection ends, or is not needed any more.
local function write_loop(c)
  while not c.done do
    if is_empty(c) and #c.named == 0 then
      c.awake = false
      c.wake:wait(TICK)
      c.awake = true
    end
    if #c.forgotten > 0 then
      forget(c)
    end
    while #c.named > 0 do -- by a thread of its own, because Kong may look up a certificate for long
      ngx.thread.spawn(guarded, send_config, c, remove(c.named))
    end
    if c.done then
      return
    end
    if not is_empty(c) then
      local data = c.out:get()
      if #c.parts > 0 then
        c.parts[#c.parts + 1] = data
        data, c.parts = c.parts, {}
      end
      c.queued, c.sent = 0, c.seq
      local ok, err = c.sock:send(data)
      if not ok then
        return finish(c, err)
      end
    elseif c.inflight == 0 and (c.retired or exiting() and waiting(opened) == 0) then
      return finish(c)
    end
  end
end

-- serve runs a connection to its end. Of requests that are then without an answer, those that
-- were not sent are sent over another one.
local function serve(c)
  local reader = ngx.thread.spawn(guarded, read_loop, c)
  guarded(write_loop, c)
  for _, slot in ipairs(c.slots) do
    answered(c, slot, slot.seq > c.sent and NOT_SENT or BROKEN)
  end
  for _, entry in pairs(c.asked) do
    wake(entry.sema)
  end
  ngx.thread.wait(reader)
  c.sock:close()
  if c.err and c.err ~= "closed" then
    log(ngx.WARN, "ended", "the connection to the plugin server has ended: ", c.err)
  end
end

-- greet sends the first frame, and reads the first one of the plugin server.
local function greet(sock)
  local b = buffer.new()
  put_header(b, 8 + #RELEASE, HELLO)
  put_u32(b, FRAMES)
  put_text(b, RELEASE)
  local ok, err = sock:send(b:tostring())
  if not ok then
    return nil, err
  end
  sock:settimeout(10000)
  local header
  header, err = sock:receive(8)
  if not header then
    return nil, err
  end
  local p = cast(u8p, header)
  if p[4] ~= WELCOME or u32(p) < 8 or u32(p) > 256 then
    return nil, "what listens there is not kafka-upstream"
  end
  local payload
  payload, err = sock:receive(u32(p))
  if not payload then
    return nil, err
  end
  p = cast(u8p, payload)
  local frames, release = u32(p), fstring(p + 8, min(u32(p + 4), #payload - 8))
  if frames ~= FRAMES then
    unusable = "the handler in Kong is of release " .. RELEASE .. ", and the plugin server of release " .. release
      .. ", and they do not understand each other: run \"kafka-upstream -companion\" of the latter, and restart Kong"
    return nil, unusable
  end
  if release ~= RELEASE then
    ngx.log(ngx.WARN, "[kafka-upstream] the handler in Kong is of release ", RELEASE, ", and the plugin server of release ",
      release, ": run \"kafka-upstream -companion\" of the latter, and restart Kong")
  end
  return true
end

local function connect(path)
  local sock = ngx.socket.tcp()
  sock:settimeouts(1000, STALLED * 1000, TICK * 1000)
  local ok, err = sock:connect("unix:" .. path)
  if not ok then
    return nil, path .. ": " .. err
  end
  ok, err = greet(sock)
  if not ok then
    sock:close()
    return nil, path .. ": " .. err
  end
  sock:settimeouts(1000, STALLED * 1000, TICK * 1000)
  ngx.log(ngx.NOTICE, "[kafka-upstream] requests go through the companion handler, over ", path)
  return {
    sock = sock, out = buffer.new(), parts = {}, queued = 0, wake = semaphore.new(), awake = true,
    slots = {}, free = {}, inflight = 0,
    seq = 0, sent = 0, -- the numbers of the request that was queued last, and of the one that was sent last
    configs = setmetatable({}, { __mode = "k" }), asked = {}, number = 0, named = {}, forgotten = {},
  }
end

-- connected tries until there is a connection, or nobody waits for one: nginx logs each attempt that fails. It asks a
-- plugin server of another version again for as long as that is there, because no request waits for it.
local function connected()
  local delay = 0.02
  failing = failing or now()
  while true do
    unusable = nil
    for _, path in ipairs(paths()) do
      local c, err = connect(path)
      if c then
        failing = nil
        return c
      end
      cause = err
    end
    if unusable then
      wake(opened)
    end
    if waiting(opened) == 0 and (exiting() or not unusable) then
      return nil
    end
    if now() - failing >= 1 then -- Kong starts the plugin server after its workers
      log(ngx.ERR, "connect", "no connection to the plugin server: ", cause)
    end
    ngx.sleep(delay)
    delay = min(delay * 2, unusable and 1 or 0.2)
  end
end

local function life()
  local ok, c = pcall(connected)
  opening = false
  if not ok then
    ngx.log(ngx.ERR, "[kafka-upstream] connecting to the plugin server failed: ", c)
  end
  if not ok or not c then
    return
  end
  current = c
  wake(opened)
  serve(c)
end

function open()
  if opening then
    return
  end
  local ok, err = ngx.timer.at(0, life)
  if ok then
    opening = true
  else
    cause = err
  end
end

-- Configurations.

-- named returns the certificates that a configuration names, by their ids; nil for none.
local function named(conf)
  local registry = type(conf.schema_registry) == "table" and conf.schema_registry.confluent
  local all
  for _, record in ipairs({ conf.security or false, registry or false }) do
    local id = type(record) == "table" and record.certificate_id
    if type(id) == "string" then
      all = all or {}
      all[id] = {}
    end
  end
  return all
end

-- token returns a value whose end has the configuration with that number forgotten. It ends with
-- the entry, which ends with Kong's configuration.
local function token(c, number)
  local t = newproxy(true)
  getmetatable(t).__gc = function()
    c.forgotten[#c.forgotten + 1] = number
  end
  return t
end

-- find_secrets lists the fields that Kong fills in from a vault, and changes in place when they
-- are rotated. It does not keep conf itself, which would never be forgotten then.
local function find_secrets(conf, t, found)
  local refs = t["$refs"]
  for name in pairs(type(refs) == "table" and refs or {}) do
    found[#found + 1] = { t ~= conf and t or nil, name, t[name] }
  end
  for name, v in pairs(t) do
    if type(v) == "table" and name ~= "$refs" then
      find_secrets(conf, v, found)
    end
  end
  return found
end

local function is_rotated(entry, conf)
  for _, secret in ipairs(entry.secrets) do
    if (secret[1] or conf)[secret[2]] ~= secret[3] then
      return true
    end
  end
  return false
end

-- configure has a configuration sent over a connection that does not know it yet. It does not yield: a request may
-- end while it does, and others would wait for its configuration.
local function configure(c, conf)
  c.number = c.number + 1
  local entry = { number = c.number, sema = semaphore.new(), token = token(c, c.number), certificates = named(conf) }
  local secrets = find_secrets(conf, conf, {})
  entry.secrets = #secrets > 0 and secrets or nil
  c.configs[conf] = entry
  c.asked[entry.number] = entry
  local json, err = cjson.encode(conf)
  if json and #json > MAX_CONFIG then
    json, err = nil, "it is larger than " .. MAX_CONFIG .. " bytes"
  end
  entry.json = json or cjson.encode({ error = err }) -- which is refused, with a line in the log
  if entry.certificates then
    c.named[#c.named + 1] = entry
    queue(c)
  else
    send_config(c, entry)
  end
  return entry
end

-- ready returns a connection and the entry of a configuration whose needs are known, or nothing
-- if there is none by the deadline.
local function ready(conf, deadline)
  while true do
    local c = current
    local entry = c and c.configs[conf]
    if entry and entry.secrets and is_rotated(entry, conf) then
      entry = nil -- sent again
    end
    if entry and entry.needs then
      return c, entry
    end
    if unusable then
      return
    end
    if c and not entry then
      entry = configure(c, conf)
    end
    local left = deadline - now()
    if left <= 0 then
      return
    end
    if entry then
      if current == c and not entry.needs then
        entry.sema:wait(left)
      end
    else
      if waiting(opened) >= MAX_WAITING then
        cause = MAX_WAITING .. " requests wait for it"
        return
      end
      open()
      -- Not earlier: Kong loads handlers in the master process, and a semaphore that is made there
      -- points into memory of nginx's that is gone in the workers after a reload.
      opened = opened or semaphore.new()
      opened:wait(left)
    end
  end
end

-- take returns a slot for a request's answer.
local function take(c)
  local id = c.free[#c.free]
  local slot
  if id then
    c.free[#c.free] = nil
    slot = c.slots[id]
  else
    id = #c.slots + 1
    slot = { id = id, sema = semaphore.new() }
    c.slots[id] = slot
  end
  c.seq = c.seq + 1
  c.inflight = c.inflight + 1
  slot.seq, slot.busy, slot.status = c.seq, true, nil
  slot.body, slot.headers, slot.lines = nil, nil, nil
  return slot
end

local function unavailable(...)
  log(ngx.ERR, "unavailable", ...)
  return kong.response.exit(503, UNAVAILABLE, JSON_RETRY)
end

-- LEVELS are those of kong.log.
local LEVELS = { debug = true, info = true, notice = true, warn = true, err = true, crit = true, alert = true, emerg = true }

-- respond answers the client.
local function respond(status, body, headers, lines)
  if body then
    for _, line in ipairs(lines) do
      kong.log[LEVELS[line[1]] and line[1] or "err"](line[2])
    end
  end
  if status == 204 then
    return kong.response.exit(204)
  end
  return kong.response.exit(status, body or SENT, headers or JSON)
end

local Handler = { VERSION = RELEASE, PRIORITY = 751 }

function Handler:access(conf) -- luacheck: no unused args
  local deadline = now() + CONNECT
  local flags, body, facts
  while true do
    local c, entry = ready(conf, deadline)
    if not c then
      return unavailable("a request was answered with 503: no connection to the plugin server: ", unusable or cause)
    end
    local needs = entry.needs
    if needs.body and not flags then
      local began = now()
      flags, body = read_body(needs.max)
      deadline = deadline + (now() - began) -- the client's own time
    end
    if needs.facts and not facts then
      facts = encode_facts(needs.facts)
    end
    if entry.certificates and now() - entry.checked > CHECK then
      certificates(c, entry)
    end
    if c.queued > MAX_QUEUED then
      return unavailable("a request was answered with 503: the plugin server does not read its requests")
    end
    if not c.retired then
      local slot = take(c)
      put_request(c, slot.id, entry, facts or "", flags or 0, body or "")
      if not slot.sema:wait(ANSWER) then
        return unavailable("a request was answered with 503: no answer from the plugin server within ", ANSWER, " s; it may still be sent")
      end
      local status = slot.status
      local answer, headers, lines = slot.body, slot.headers, slot.lines
      c.free[#c.free + 1] = slot.id
      if status == BROKEN then
        return unavailable("requests were answered with 503: the connection to the plugin server has ended; they may have been sent")
      elseif status == LEAVING then
        retire(c)
      elseif status == UNKNOWN_CONFIG then
        if c.configs[conf] == entry then
          c.configs[conf] = nil
        end
      elseif status ~= NOT_SENT then
        return respond(status, answer, headers, lines)
      end
    end
  end
end

return Handler

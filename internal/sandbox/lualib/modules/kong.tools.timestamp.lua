-- Times above are milliseconds: the begin of the year 20000 in seconds.
local most_seconds = 568971820800

local function get_utc() return ngx.time() * 1000 end
local function get_utc_ms() return ngx.now() * 1000 end

-- days since 1970 of a date of the Gregorian calendar.
local function days(year, month, day)
  if month <= 2 then
    year = year - 1
  end
  local era = math.floor(year / 400)
  local y = year - era * 400
  local d = math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  return era * 146097 + y * 365 + math.floor(y / 4) - math.floor(y / 100) + d - 719468
end

local mt = { __index = {} }

function mt.__index:timestamp()
  return days(self.year, self.month, self.day) * 86400 + self.hour * 3600 + self.min * 60 + self.sec
end

local function get_timetable(now)
  now = now or get_utc()
  if now > most_seconds then
    now = now / 1000
  end
  local seconds = math.floor(now)
  local t = os.date("!*t", seconds)
  return setmetatable({
    year = t.year, month = t.month, day = t.day, hour = t.hour, min = t.min,
    sec = t.sec + (now - seconds), wday = t.wday, yday = t.yday,
  }, mt)
end

local function get_timestamps(now)
  local t = get_timetable(now)
  local stamps = {}
  t.sec = math.floor(t.sec)
  stamps.second = t:timestamp() * 1000
  for _, step in ipairs({ { "sec", 0, "minute" }, { "min", 0, "hour" }, { "hour", 0, "day" }, { "day", 1, "month" }, { "month", 1, "year" } }) do
    t[step[1]] = step[2]
    stamps[step[3]] = t:timestamp() * 1000
  end
  return stamps
end

return {
  get_utc = get_utc,
  get_utc_ms = get_utc_ms,
  get_timetable = get_timetable,
  get_timestamps = get_timestamps,
  timestamp_table_fields = require("pl.tablex").readonly({ "second", "minute", "hour", "day", "month", "year" }),
}

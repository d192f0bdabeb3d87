package lualib

import (
	"math"
	"strings"
	"time"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/sandbox"
)

const (
	httpTime   = "Mon, 02 Jan 2006 15:04:05 GMT"
	cookieTime = "Mon, 02-Jan-06 15:04:05 GMT"
	longCookie = "Mon, 02-Jan-2006 15:04:05 GMT" // nginx: for years after 2037
	dateTime   = "2006-01-02 15:04:05"
)

// started is where the monotonic time begins.
var started = time.Now()

// ngxNow is ngx.now: seconds, with milliseconds.
func ngxNow(l *glua.LState) int {
	l.Push(glua.LNumber(float64(time.Now().UnixMilli()) / 1000))
	return 1
}

func ngxTime(l *glua.LState) int {
	l.Push(glua.LNumber(time.Now().Unix()))
	return 1
}

func ngxToday(l *glua.LState) int     { return pushString(l, time.Now().Format(time.DateOnly)) }
func ngxLocaltime(l *glua.LState) int { return pushString(l, time.Now().Format(dateTime)) }
func ngxUtctime(l *glua.LState) int   { return pushString(l, time.Now().UTC().Format(dateTime)) }

// maxTime is the end of the year 9999, the last that has four digits.
const maxTime = 253402300799

func secondsArg(l *glua.LState, function string) time.Time {
	oneArgument(l)
	f := numberArg(l, 1, function)
	if math.IsNaN(f) || f < -62135596800 || f > maxTime {
		l.RaiseError("bad argument #1 to '%s' (the time is out of range)", function)
	}
	return time.Unix(int64(math.Floor(f)), 0).UTC()
}

func oneArgument(l *glua.LState) {
	if l.GetTop() != 1 {
		l.RaiseError("expecting one argument")
	}
}

func ngxHTTPTime(l *glua.LState) int {
	return pushString(l, secondsArg(l, "http_time").Format(httpTime))
}

func ngxCookieTime(l *glua.LState) int {
	t := secondsArg(l, "cookie_time")
	if t.Year() > 2037 {
		return pushString(l, t.Format(longCookie))
	}
	return pushString(l, t.Format(cookieTime))
}

// ngxParseHTTPTime takes the three forms of RFC 9110, section 5.6.7, and the form that
// cookie_time writes.
func ngxParseHTTPTime(l *glua.LState) int {
	oneArgument(l)
	s := stringArg(l, 1, "parse_http_time")
	if len(s) <= 64 {
		sandbox.Charge(l, 20, 0)
		s = strings.TrimSpace(s)
		for _, layout := range []string{httpTime, "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC, cookieTime, longCookie} {
			if t, err := time.Parse(layout, s); err == nil {
				l.Push(glua.LNumber(t.Unix()))
				return 1
			}
		}
	}
	l.Push(glua.LNil)
	return 1
}

// timeFunctions are for kong.tools.time and kong.tools.timestamp.
var timeFunctions = map[string]glua.LGFunction{
	"time_ns": func(l *glua.LState) int {
		l.Push(glua.LNumber(time.Now().UnixNano()))
		return 1
	},
	"monotonic_ms": func(l *glua.LState) int {
		l.Push(glua.LNumber(time.Since(started).Milliseconds()))
		return 1
	},
	"nginx_conf_time_to_seconds": func(l *glua.LState) int {
		seconds, ok := nginxTime(stringArg(l, 1, "nginx_conf_time_to_seconds"))
		if !ok {
			l.RaiseError("bad argument #1 'str'")
		}
		l.Push(glua.LNumber(seconds))
		return 1
	},
}

// nginxUnits are the units of a time in nginx's configuration, in seconds.
const nginxUnits = "yMwdhms"

var nginxSeconds = [len(nginxUnits)]float64{365 * 86400, 30 * 86400, 7 * 86400, 86400, 3600, 60, 1}

// nginxTime reads a time as nginx writes it in its configuration, such as "1h 30m": units
// from the largest to the smallest, seconds without a unit at the end.
func nginxTime(s string) (float64, bool) {
	if s == "" || len(s) > 64 {
		return 0, false
	}
	total, value, digits, last := 0.0, 0.0, false, -1
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch unit := strings.IndexByte(nginxUnits, c); {
		case c >= '0' && c <= '9':
			value, digits = value*10+float64(c-'0'), true
		case c == ' ' && !digits:
		case (c == ' ' || unit >= 0) && digits:
			if c == ' ' {
				unit = len(nginxUnits) - 1
			}
			if unit <= last || value > math.MaxInt32 {
				return 0, false
			}
			total, value, digits, last = total+value*nginxSeconds[unit], 0, false, unit
		default:
			return 0, false
		}
	}
	if digits && last == len(nginxUnits)-1 || value > math.MaxInt32 || total+value > math.MaxInt32 {
		return 0, false
	}
	return total + value, true
}

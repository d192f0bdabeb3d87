package sandbox

import (
	"fmt"
	"math"
	"strings"
	"time"

	glua "github.com/yuin/gopher-lua"
)

var osFunctions = map[string]glua.LGFunction{
	"clock": osClock, "date": osDate,
	"difftime": func(l *glua.LState) int {
		l.Push(glua.LNumber(numberArg(l, 1) - numberArg(l, 2)))
		return 1
	},
	"time": osTime,
}

var started = time.Now()

// osClock is os.clock. It counts the time of the clock since the start of the program: the
// time of the processor is that of all requests.
func osClock(l *glua.LState) int {
	l.Push(glua.LNumber(time.Since(started).Seconds()))
	return 1
}

// maxTime bounds times in seconds, to years that a date can have.
const maxTime = 1 << 40

func osTime(l *glua.LState) int {
	if l.Get(1) == glua.LNil {
		l.Push(glua.LNumber(time.Now().Unix()))
		return 1
	}
	t := tableArg(l, 1)
	field := func(name string, def int) int {
		v := t.RawGetString(name)
		var f float64
		switch v := v.(type) {
		case glua.LNumber:
			f = float64(v)
		case glua.LString:
			var ok bool
			if f, ok = parseNumber(string(v)); !ok {
				l.RaiseError("field '%s' is not a number", name)
			}
		default:
			if def < 0 {
				l.RaiseError("field '%s' missing in date table", name)
			}
			return def
		}
		if math.IsNaN(f) || math.Abs(f) > 1<<31 {
			l.RaiseError("field '%s' is out of range", name)
		}
		return int(f)
	}
	at := time.Date(field("year", -1), time.Month(field("month", -1)), field("day", -1),
		field("hour", 12), field("min", 0), field("sec", 0), 0, time.Local)
	if t.RawGetString("isdst") == glua.LTrue && !at.IsDST() {
		at = at.Add(-time.Hour)
	}
	l.Push(glua.LNumber(at.Unix()))
	return 1
}

func osDate(l *glua.LState) int {
	format := stringOr(l, 1, "%c")
	at := time.Now()
	if l.Get(2) != glua.LNil {
		f := numberArg(l, 2)
		if math.IsNaN(f) || math.Abs(f) > maxTime {
			l.RaiseError("time is out of range")
		}
		at = time.Unix(int64(math.Floor(f)), 0)
	}
	if rest, utc := strings.CutPrefix(format, "!"); utc {
		format, at = rest, at.UTC()
	}
	if strings.HasPrefix(format, "*t") {
		Charge(l, 10, tableBytes+9*entryBytes)
		l.Push(dateTable(at))
		return 1
	}
	l.Push(glua.LString(strftime(l, format, at)))
	return 1
}

func dateTable(at time.Time) *glua.LTable {
	t := &glua.LTable{Metatable: glua.LNil}
	for name, v := range map[string]int{
		"year": at.Year(), "month": int(at.Month()), "day": at.Day(), "hour": at.Hour(),
		"min": at.Minute(), "sec": at.Second(), "wday": int(at.Weekday()) + 1, "yday": at.YearDay(),
	} {
		t.RawSetString(name, glua.LNumber(v))
	}
	t.RawSetString("isdst", glua.LBool(at.IsDST()))
	return t
}

// goFormats are strftime's conversions in the locale C that Go has as well.
var goFormats = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'h': "Jan",
	'c': "Mon Jan _2 15:04:05 2006", 'd': "02", 'D': "01/02/06", 'e': "_2", 'F': "2006-01-02",
	'H': "15", 'I': "03", 'm': "01", 'M': "04", 'p': "PM", 'r': "03:04:05 PM", 'R': "15:04",
	'S': "05", 'T': "15:04:05", 'x': "01/02/06", 'X': "15:04:05", 'y': "06", 'Y': "2006",
	'z': "-0700", 'Z': "MST",
}

func strftime(l *glua.LState, format string, at time.Time) []byte {
	var out []byte
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			out = append(out, format[i])
			continue
		}
		i++
		if c := format[i]; (c == 'E' || c == 'O') && i+1 < len(format) {
			i++ // the locale's own forms, which are the same in the locale C
		}
		chargeText(l, 256, 64)
		year, week := at.ISOWeek()
		switch c := format[i]; c {
		case '%':
			out = append(out, '%')
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'C':
			out = fmt.Appendf(out, "%02d", at.Year()/100)
		case 'g':
			out = fmt.Appendf(out, "%02d", year%100)
		case 'G':
			out = fmt.Appendf(out, "%d", year)
		case 'j':
			out = fmt.Appendf(out, "%03d", at.YearDay())
		case 's':
			out = fmt.Appendf(out, "%d", at.Unix())
		case 'u':
			out = fmt.Appendf(out, "%d", (int(at.Weekday())+6)%7+1)
		case 'U':
			out = fmt.Appendf(out, "%02d", (at.YearDay()+6-int(at.Weekday()))/7)
		case 'V':
			out = fmt.Appendf(out, "%02d", week)
		case 'w':
			out = fmt.Appendf(out, "%d", at.Weekday())
		case 'W':
			out = fmt.Appendf(out, "%02d", (at.YearDay()+6-(int(at.Weekday())+6)%7)/7)
		default:
			if f, ok := goFormats[c]; ok {
				out = at.AppendFormat(out, f)
			} else {
				out = append(out, '%', c)
			}
		}
	}
	chargeText(l, len(out), int64(2*len(out)))
	return out
}

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
	Charge(l, 5, 0)
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
		Charge(l, 30, tableBytes+9*entryBytes)
		l.Push(dateTable(at))
		return 1
	}
	out := text{l: l}
	strftime(&out, format, at)
	return out.push()
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

func strftime(out *text, format string, at time.Time) {
	number := func(format string, n int) { out.string(fmt.Sprintf(format, n)) }
	for i := 0; i < len(format); i++ {
		if n := literal(format[i:]); n > 0 {
			out.string(format[i : i+n])
			i += n - 1
			continue
		}
		if i+1 == len(format) {
			out.byte('%')
			break
		}
		i++
		if c := format[i]; (c == 'E' || c == 'O') && i+1 < len(format) {
			i++ // the locale's own forms, which are the same in the locale C
		}
		Charge(out.l, 10, 64)
		year, week := at.ISOWeek()
		switch c := format[i]; c {
		case '%':
			out.byte('%')
		case 'n':
			out.byte('\n')
		case 't':
			out.byte('\t')
		case 'C':
			number("%02d", at.Year()/100)
		case 'g':
			number("%02d", year%100)
		case 'G':
			number("%d", year)
		case 'j':
			number("%03d", at.YearDay())
		case 's':
			number("%d", int(at.Unix()))
		case 'u':
			number("%d", (int(at.Weekday())+6)%7+1)
		case 'U':
			number("%02d", (at.YearDay()+6-int(at.Weekday()))/7)
		case 'V':
			number("%02d", week)
		case 'w':
			number("%d", int(at.Weekday()))
		case 'W':
			number("%02d", (at.YearDay()+6-(int(at.Weekday())+6)%7)/7)
		default:
			if f, ok := goFormats[c]; ok {
				out.string(at.Format(f))
			} else {
				out.byte('%')
				out.byte(c)
			}
		}
	}
}

// Package logs makes the loggers of the process: each event is one line of bounded length,
// repeated lines are limited, and a slow reader of the log delays nothing.
package logs

import (
	"encoding"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"kafka-upstream/internal/foreign"
)

// Format is the format of a log. It implements flag.Value.
type Format string

// The formats.
const (
	Text Format = "text" // key=value
	JSON Format = "json"
)

// String implements flag.Value.
func (f *Format) String() string { return string(*f) }

// Set implements flag.Value.
func (f *Format) Set(s string) error {
	if s != string(Text) && s != string(JSON) {
		return errors.New("use text or json")
	}
	*f = Format(s)
	return nil
}

// maxStack is how many bytes of a stack (the attribute "stack") a line may contain.
const maxStack = 32 << 10

// New returns a logger to w. It may write from a goroutine of its own, up to two seconds
// after the last line was logged.
//
// Repeated lines are limited, at every level. At level warn and above, lines with the same
// message and topic, of a logger with the same attributes (With), are logged at most once a
// second. Below, lines with the same message are logged at most ten times a second, whatever
// their attributes. The next line has the number that was suppressed; if none follows, the
// last suppressed line is logged with it.
//
// Every value is cut, and made one line of printable characters: see [foreign.Line].
func New(w io.Writer, level slog.Leveler, format Format) *slog.Logger {
	return slog.New(limit(handler(w, level, format), interval))
}

func handler(w io.Writer, level slog.Leveler, format Format) slog.Handler {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: clean}
	if format == JSON {
		return slog.NewJSONHandler(w, o)
	}
	return slog.NewTextHandler(w, o)
}

// clean is a slog.HandlerOptions.ReplaceAttr. Values that cannot be long stay as they are.
func clean(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = bounded(a.Key, a.Value.String())
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case nil, slog.Level, *slog.Source:
		case error:
			a.Value = bounded(a.Key, v.Error())
		case encoding.TextMarshaler:
			b, err := v.MarshalText()
			if err != nil {
				b = []byte(err.Error())
			}
			a.Value = bounded(a.Key, string(b))
		default:
			a.Value = bounded(a.Key, fmt.Sprintf("%+v", v))
		}
	}
	return a
}

// bounded returns the value that is logged for s. A stack keeps its line feeds, which the
// handlers write as \n.
func bounded(key, s string) slog.Value {
	if key == "stack" {
		return slog.StringValue(s[:min(len(s), maxStack)])
	}
	return slog.StringValue(foreign.Line(s))
}

// Package logs makes the process's logger: one line of bounded length per event on
// stderr, and no flood of lines when a broker is down and every request fails.
package logs

import (
	"encoding"
	"fmt"
	"io"
	"log/slog"

	"kafka-upstream/internal/foreign"
)

// maxStack is how many bytes of a stack (the attribute "stack") a line may hold.
const maxStack = 32 << 10

// New returns a logger that writes to w in that format, text or json. It may write
// from a goroutine of its own, up to two seconds after the last line was logged.
//
// Repeated lines are limited, at every level. At level warn and above, lines with the
// same message and topic, of a logger with the same attributes (With), are logged at most
// once in [Every]. Below, lines with the same message are logged at most [Burst] times in
// [Every], whatever their attributes. The next line has the number that was suppressed;
// if none follows, the last suppressed line is logged with it.
//
// Every value is cut, and made one line of printable characters: see [foreign.Line].
func New(w io.Writer, level slog.Leveler, format string) (*slog.Logger, error) {
	h, err := handler(w, level, format)
	if err != nil {
		return nil, err
	}
	return slog.New(limit(h, Every)), nil
}

func handler(w io.Writer, level slog.Leveler, format string) (slog.Handler, error) {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: clean}
	switch format {
	case "text":
		return slog.NewTextHandler(w, o), nil
	case "json":
		return slog.NewJSONHandler(w, o), nil
	}
	return nil, fmt.Errorf("the log format %q is not known: use text or json", format)
}

// clean is a slog.HandlerOptions.ReplaceAttr. Values that cannot be long stay as
// they are.
func clean(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = text(a.Key, a.Value.String())
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case nil, slog.Level, *slog.Source:
		case error:
			a.Value = text(a.Key, v.Error())
		case encoding.TextMarshaler:
			b, err := v.MarshalText()
			if err != nil {
				b = []byte(err.Error())
			}
			a.Value = text(a.Key, string(b))
		default:
			a.Value = text(a.Key, fmt.Sprintf("%+v", v))
		}
	}
	return a
}

// text returns the value that is logged for s. A stack keeps its line feeds, which the
// handlers write as \n.
func text(key, s string) slog.Value {
	if key == "stack" {
		return slog.StringValue(s[:min(len(s), maxStack)])
	}
	return slog.StringValue(foreign.Line(s))
}

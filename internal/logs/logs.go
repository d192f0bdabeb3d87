// Package logs makes the process's logger: one line per event on stderr, and no
// flood of lines when a broker is away and every request says so.
package logs

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Every is the shortest time between two lines that say the same.
const Every = time.Second

// New returns a logger that writes to w in that format, text or json.
//
// Lines of level warn and above with the same message, of a logger with the same
// attributes (With), come at most once in [Every]; the next one says how many
// were suppressed. Which attributes a line has besides does not matter: they
// differ from request to request.
func New(w io.Writer, level slog.Leveler, format string) (*slog.Logger, error) {
	h, err := handler(w, level, format)
	if err != nil {
		return nil, err
	}
	return slog.New(limit(h, Every)), nil
}

func handler(w io.Writer, level slog.Leveler, format string) (slog.Handler, error) {
	o := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		return slog.NewTextHandler(w, o), nil
	case "json":
		return slog.NewJSONHandler(w, o), nil
	}
	return nil, fmt.Errorf("the log format %q is not known: use text or json", format)
}

// limited is a slog.Handler. Those made by WithAttrs and WithGroup have counts
// of their own.
type limited struct {
	slog.Handler
	every time.Duration

	mu   sync.Mutex
	seen map[string]*line // by message, of which there are as many as in the code
}

type line struct {
	at         time.Time
	suppressed int
}

var _ slog.Handler = (*limited)(nil)

func limit(h slog.Handler, every time.Duration) *limited {
	return &limited{Handler: h, every: every, seen: make(map[string]*line)}
}

// Handle implements slog.Handler.
func (l *limited) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return l.Handler.Handle(ctx, r)
	}
	l.mu.Lock()
	s := l.seen[r.Message]
	if s == nil {
		s = new(line)
		l.seen[r.Message] = s
	}
	if r.Time.Sub(s.at) < l.every {
		s.suppressed++
		l.mu.Unlock()
		return nil
	}
	if s.suppressed > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("suppressed", s.suppressed))
	}
	s.at, s.suppressed = r.Time, 0
	l.mu.Unlock()
	return l.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (l *limited) WithAttrs(attrs []slog.Attr) slog.Handler {
	return limit(l.Handler.WithAttrs(attrs), l.every)
}

// WithGroup implements slog.Handler.
func (l *limited) WithGroup(name string) slog.Handler {
	return limit(l.Handler.WithGroup(name), l.every)
}

package logs

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"kafka-upstream/internal/foreign"
)

const (
	// interval is the shortest time between two lines of the same kind.
	interval = time.Second
	// burst is how many lines of the same kind below level warn are logged in an interval: a
	// reload of Kong starts an instance for each of its routes.
	burst = 10
	// maxKinds is how many kinds of lines are counted one by one.
	maxKinds = 1 << 14
)

// limited is a slog.Handler that passes on only some of the lines of the same kind, and the
// number of the others.
type limited struct {
	slog.Handler
	failures *limiter // level warn and above; each derived handler has its own
	others   *limiter // lower levels; shared by all derived handlers
}

var _ slog.Handler = (*limited)(nil)

func limit(h slog.Handler, every time.Duration) *limited {
	return &limited{Handler: h, failures: newLimiter(1, every), others: newLimiter(burst, every)}
}

// Handle implements slog.Handler.
func (l *limited) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return l.others.handle(ctx, l.Handler, r, kind{level: r.Level, message: r.Message})
	}
	return l.failures.handle(ctx, l.Handler, r, kind{r.Level, r.Message, topicOf(&r)})
}

// WithAttrs implements slog.Handler.
func (l *limited) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &limited{Handler: l.Handler.WithAttrs(attrs), failures: newLimiter(1, l.failures.every), others: l.others}
}

// WithGroup implements slog.Handler.
func (l *limited) WithGroup(name string) slog.Handler {
	return &limited{Handler: l.Handler.WithGroup(name), failures: newLimiter(1, l.failures.every), others: l.others}
}

// kind is what lines that are limited together have in common. Losses of one topic must not
// hide those of another.
type kind struct {
	level   slog.Level
	message string
	topic   string // an attribute of the line, not of the logger
}

func topicOf(r *slog.Record) (topic string) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "topic" {
			return true
		}
		topic = a.Value.String()
		return false
	})
	return topic
}

// limiter counts lines by their kind, and passes on burst of each in every interval.
type limiter struct {
	burst int
	every time.Duration

	mu    sync.Mutex
	kinds map[kind]*count // nil before the first line
	swept time.Time       // when expired kinds were last removed
}

func newLimiter(burst int, every time.Duration) *limiter {
	return &limiter{burst: burst, every: every}
}

// count is what was logged of one kind. The limiter's mutex guards it.
type count struct {
	since      time.Time // the begin of the current interval
	passed     int       // lines in the current interval
	suppressed int       // lines not reported yet
	last       slog.Record
	handler    slog.Handler // of last
	timer      *time.Timer  // calls flush; nil while nothing is suppressed
}

// handle passes r on to h, or counts it as suppressed.
func (l *limiter) handle(ctx context.Context, h slog.Handler, r slog.Record, k kind) error {
	l.mu.Lock()
	c := l.count(k, r.Time)
	if r.Time.Sub(c.since) >= l.every {
		c.since, c.passed = r.Time, 0
	}
	if c.passed >= l.burst {
		c.suppressed++
		c.last, c.handler = cleaned(&r), h
		if c.timer == nil {
			c.timer = time.AfterFunc(2*l.every, func() { l.flush(c) })
		}
		l.mu.Unlock()
		return nil
	}
	c.passed++
	suppressed := c.take()
	l.mu.Unlock()
	return pass(ctx, h, r, suppressed)
}

// cleaned returns a copy of r whose values are bounded, so that it may be kept.
func cleaned(r *slog.Record) slog.Record {
	c := slog.NewRecord(r.Time, r.Level, foreign.Line(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		a.Value = a.Value.Resolve()
		c.AddAttrs(clean(nil, a))
		return true
	})
	return c
}

// take returns how many lines were suppressed, and stops the timer that would report them.
func (c *count) take() int {
	n := c.suppressed
	if n > 0 {
		c.timer.Stop()
		c.suppressed, c.last, c.handler, c.timer = 0, slog.Record{}, nil, nil
	}
	return n
}

// flush passes on the last suppressed line with the number of the others, unless another
// line has reported them.
func (l *limiter) flush(c *count) {
	l.mu.Lock()
	r, h := c.last, c.handler
	n := c.take()
	if n > 0 {
		c.since, c.passed = time.Now(), 1
	}
	l.mu.Unlock()
	if n > 0 {
		_ = pass(context.Background(), h, r, n-1)
	}
}

func pass(ctx context.Context, h slog.Handler, r slog.Record, suppressed int) error {
	if suppressed > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("suppressed", suppressed))
	}
	return h.Handle(ctx, r)
}

// count returns the count of a kind. Beyond maxKinds, new kinds share one by level and
// message; beyond twice as many, they all share one.
func (l *limiter) count(k kind, now time.Time) *count {
	if c := l.kinds[k]; c != nil {
		return c
	}
	if len(l.kinds) >= maxKinds && now.Sub(l.swept) >= l.every {
		l.swept = now
		for k, c := range l.kinds {
			if c.suppressed == 0 && now.Sub(c.since) >= l.every {
				delete(l.kinds, k)
			}
		}
	}
	switch n := len(l.kinds); {
	case n >= 2*maxKinds:
		k = kind{}
	case n >= maxKinds:
		k.topic = ""
	}
	c := l.kinds[k]
	if c == nil {
		if l.kinds == nil {
			l.kinds = make(map[kind]*count)
		}
		c = new(count)
		l.kinds[k] = c
	}
	return c
}

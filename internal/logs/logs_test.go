package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"kafka-upstream/internal/foreign"
)

func TestSameFailureIsLoggedOncePerSecondWithTheNumberSuppressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		log := New(&b, slog.LevelInfo, Text)
		time.Sleep(time.Hour)
		one, two := log.With("topic", "one"), log.With("topic", "two")
		for i := range 100 {
			one.Error("lost", "n", i)
			two.Error("lost", "n", i)
			one.Warn("slow", "n", i)
		}
		if n := strings.Count(b.String(), "\n"); n != 3 {
			t.Errorf("%d lines, want 3:\n%s", n, &b)
		}
		b.Reset()
		time.Sleep(interval)
		one.Error("lost", "n", 100)
		if s := b.String(); !strings.Contains(s, "topic=one n=100 suppressed=99") {
			t.Errorf("a second later: %s", s)
		}
	})
}

func TestLinesOfEveryLevelAreLimitedAndCounted(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		for _, format := range []Format{Text, JSON} {
			t.Run(level.String()+" "+string(format), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var b lockedBuffer
					log := New(&b, slog.LevelDebug, format)
					const lines = 10_000
					for i := range lines { // 4,800 in a second
						log.Log(t.Context(), level, "an instance was started", "topic", "t", "n", i)
						log.With("socket", "s").Info("serving") // another kind
						time.Sleep(time.Second / 4800)
					}
					time.Sleep(3 * time.Second) // nothing follows
					told, told2 := b.tell(t, "an instance was started"), b.tell(t, "serving")
					if told.lines > 3*burst+2 || told.lines < 3 || told.lines+told.suppressed != lines || told.first != "0" || told.last != "9999" {
						t.Errorf("of %d lines: %+v", lines, told)
					}
					if told2.lines > 3*burst+2 || told2.lines+told2.suppressed != lines {
						t.Errorf("of %d lines of another kind: %+v", lines, told2)
					}
				})
			})
		}
	}
}

func TestFirstFailureOfEachTopicIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b lockedBuffer
		log := New(&b, slog.LevelInfo, Text)
		for i := range 10_000 {
			log.Error("records lost", "records", i, "topic", fmt.Sprint("topic-", i%1000))
		}
		if n := strings.Count(b.String(), "\n"); n != 1000 {
			t.Errorf("%d lines of 1000 topics", n)
		}
		time.Sleep(3 * time.Second)
		if told := b.tell(t, "records lost"); told.lines+told.suppressed != 10_000 {
			t.Errorf("%+v", told)
		}
	})
}

// Whoever makes up topics or messages gets no memory by that.
func TestKindsOfLinesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1, interval)
		h := slog.DiscardHandler
		for i := range 3 * maxKinds {
			for _, k := range []kind{{slog.LevelError, "m", fmt.Sprint(i)}, {slog.LevelError, fmt.Sprint(i), ""}} {
				if err := l.handle(t.Context(), h, slog.NewRecord(time.Now(), k.level, k.message, 0), k); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n := len(l.kinds); n > 2*maxKinds+1 {
			t.Errorf("%d kinds", n)
		}
		time.Sleep(4 * interval)
		if err := l.handle(t.Context(), h, slog.NewRecord(time.Now(), slog.LevelError, "another", 0), kind{slog.LevelError, "another", ""}); err != nil {
			t.Fatal(err)
		}
		if n := len(l.kinds); n != 1 {
			t.Errorf("%d kinds are left when they are over", n)
		}
	})
}

func TestValuesAreCutAndStayOnOneLine(t *testing.T) {
	long := "\nforged\x1b[31m\u202e\xff" + strings.Repeat("x", 1<<20)
	for _, format := range []Format{Text, JSON} {
		var b bytes.Buffer
		log := New(&b, slog.LevelInfo, format)
		log = log.With("topic", long)
		log.Info(long, "string", long, "error", errors.New(long), "any", struct{ S string }{long}, "bytes", []byte(long[:100]), slog.Group("g", "in", long), "level", slog.LevelWarn, "n", 5, "nil", nil)
		s := b.String()
		switch {
		case strings.Count(s, "\n") != 1 || !strings.HasSuffix(s, "\n"):
			t.Errorf("%s: %d lines", format, strings.Count(s, "\n"))
		case len(s) > 8*foreign.MaxLine:
			t.Errorf("%s: a line of %d bytes", format, len(s))
		case !utf8.ValidString(s) || strings.ContainsAny(s, "\x1b\u202e"):
			t.Errorf("%s: %.300q", format, s)
		case format == JSON && !json.Valid([]byte(s)):
			t.Errorf("not JSON: %.300q", s)
		}
	}
}

// lockedBuffer may be written by several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// told is what the lines with a message say.
type told struct {
	lines, suppressed int
	first, last       string // their n
}

func (l *lockedBuffer) tell(t *testing.T, message string) (all told) {
	t.Helper()
	value := func(line, key string) string {
		m := regexp.MustCompile(`\b` + key + `"?[=:](\d+)`).FindStringSubmatch(line)
		if m == nil {
			return ""
		}
		return m[1]
	}
	for line := range strings.Lines(l.String()) {
		if !strings.Contains(line, message) {
			continue
		}
		if all.lines++; all.lines == 1 {
			all.first = value(line, "n")
		}
		all.last = value(line, "n")
		n, _ := strconv.Atoi(value(line, "suppressed"))
		all.suppressed += n
	}
	return all
}

func TestFormatThatIsNotKnownIsRefused(t *testing.T) {
	f := Text
	if err := f.Set("xml"); err == nil || f != Text {
		t.Errorf("%s, %v", f, err)
	}
	if err := f.Set("json"); err != nil || f != JSON {
		t.Errorf("%s, %v", f, err)
	}
}

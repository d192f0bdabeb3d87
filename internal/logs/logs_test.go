package logs

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestSameFailureIsLoggedOncePerSecondWithTheNumberSuppressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		log, err := New(&b, slog.LevelInfo, "text")
		if err != nil {
			t.Fatal(err)
		}
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
		time.Sleep(Every)
		one.Error("lost", "n", 100)
		if s := b.String(); !strings.Contains(s, "topic=one n=100 suppressed=99") {
			t.Errorf("a second later: %s", s)
		}
	})
}

func TestWhatIsNoFailureIsAlwaysLogged(t *testing.T) {
	var b bytes.Buffer
	log, err := New(&b, slog.LevelInfo, "json")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { log.Info("started") })
	}
	wg.Wait()
	log.Debug("nobody wants to know")
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 10 {
		t.Errorf("%d lines, want 10", len(lines))
	}
	for _, l := range lines {
		if !json.Valid([]byte(l)) {
			t.Errorf("%s is not JSON", l)
		}
	}
}

func TestFormatThatIsNotKnownIsRefused(t *testing.T) {
	if _, err := New(nil, slog.LevelInfo, "xml"); err == nil || !strings.Contains(err.Error(), "use text or json") {
		t.Errorf("error is %v", err)
	}
}

package oauth

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logbook is a log that a test reads. The zero value is an empty one.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logbook) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.FieldsFunc(l.text.String(), func(r rune) bool { return r == '\n' })
}

func (l *logbook) String() string { return strings.Join(l.lines(), "\n") }

// open returns a Source with these options, which is closed with the test.
func open(t *testing.T, o Options, env Env) *Source {
	t.Helper()
	if env.Log == nil {
		env.Log = new(logbook).logger()
	}
	s, err := New(o, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// token returns a token of s.
func token(t *testing.T, s *Source) string {
	t.Helper()
	token, err := s.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// wantError fails unless there is no token, with an error of one line that holds all texts.
func wantError(t *testing.T, ctx context.Context, s *Source, texts ...string) {
	t.Helper()
	token, err := s.Token(ctx)
	if err == nil || token != "" {
		t.Fatalf("got a token of %d bytes, and error %v", len(token), err)
	}
	if _, ok := err.(*TokenError); !ok {
		t.Errorf("the error is a %T", err)
	}
	for _, text := range append(texts, "could not get token from "+s.endpoint+": ") {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q lacks %q", err, text)
		}
	}
	if len(err.Error()) > 1200 || strings.ContainsAny(err.Error(), "\n\r\x1b") {
		t.Errorf("error %q is not one short line", err)
	}
}

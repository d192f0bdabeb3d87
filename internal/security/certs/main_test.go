package certs

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"kafka-upstream/internal/test/testcert"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	id1 = "6c1e7a3e-0b4f-4d0e-9a53-1f0c2b7d9e11"
	id2 = "0D5C2f6a-77aa-4b3e-8d21-aa0e55b1c202"
)

// logs is a log kept in memory.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// lines returns how many lines hold the text.
func (l *logs) lines(text string) int {
	n := 0
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// write makes a file and returns its path.
func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// wantNoKey fails if a text holds any line of a key.
func wantNoKey(t *testing.T, text string, pair testcert.Pair) {
	t.Helper()
	for line := range strings.Lines(string(pair.Key)) {
		if line = strings.TrimSpace(line); len(line) > 8 && strings.Contains(text, line) {
			t.Errorf("a key shows in: %s", text)
		}
	}
}

// wantError fails unless the error is one line that holds all the texts.
func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", texts)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q lacks %q", err, text)
		}
	}
	if strings.ContainsAny(err.Error(), "\n\r") {
		t.Errorf("error %q is more than one line", err)
	}
}

package logs

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stalled is a reader that reads nothing until it is freed.
type stalled struct {
	free chan struct{}
	mu   sync.Mutex
	b    bytes.Buffer
}

func (s *stalled) Write(p []byte) (int, error) {
	<-s.free
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func TestNobodyWaitsForWhoeverReadsTheLog(t *testing.T) {
	s := &stalled{free: make(chan struct{})}
	w := NewWriter(s, Text)
	const lines = queueSize + 500
	for i := range lines { // would never end
		fmt.Fprintf(w, "line %d\n", i)
	}
	close(s.free)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	got := s.b.String()
	if !strings.Contains(got, "log lines were lost") {
		t.Errorf("it says nothing of the lines that were lost: %.300s", got)
	}
	for _, want := range []string{"line 0\n", "line 999\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

func TestLinesComeInTheirOrderAndAreAllThereAtTheEnd(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b, JSON)
	want := ""
	for i := range 900 {
		want += fmt.Sprintln("line", i)
		fmt.Fprintln(w, "line", i)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	fmt.Fprintln(w, "after the end")
	if got := b.String(); got != want+"after the end\n" {
		t.Errorf("got %q", got)
	}
}

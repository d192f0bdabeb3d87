package metrics

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// journal is a log that a test reads while it is written.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// fetch gets a page over a connection of its own.
func fetch(t *testing.T, address net.Addr, path string) (status int, body string, header http.Header) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := c.Get("http://" + address.String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}

func TestPagesAreServed(t *testing.T) {
	m := everything()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := m.Serve(ctx, "127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Wait()
	defer cancel()
	for _, c := range []struct {
		path   string
		status int
		want   string // in the page
	}{
		{"/metrics", 200, "\nkafka_upstream_accepted_records_total{topic=\"orders\"} 10\n"},
		{"/metrics", 200, "\ngo_goroutines "},
		{"/healthz", 200, "ok\n"},
		{"/readyz", 200, "ready\n"},
		{"/", 200, "kafka-upstream 1.2.3\n\nready\n"},
		{"/", 200, "accepted  delivered  sent  failed  undelivered  buffered  buffer  topic\n        10          2     1       1            1         3    30 %  orders\n"},
		{"/debug/pprof/", 404, ""},
		{"/metrics/more", 404, ""},
	} {
		status, body, header := fetch(t, s.Addr(), c.path)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d\n%s", c.path, status, body)
		}
		if got := header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain") {
			t.Errorf("%s: the content type is %q", c.path, got)
		}
	}
	m.NotReady("the server is shutting down")
	if status, body, _ := fetch(t, s.Addr(), "/readyz"); status != 503 || body != "the server is shutting down\n" {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if status, _, _ := fetch(t, s.Addr(), "/healthz"); status != 200 {
		t.Errorf("/healthz: %d while it shuts down", status)
	}
	if status, body, _ := fetch(t, s.Addr(), "/"); status != 200 || !strings.Contains(body, "not ready:\n  the server is shutting down\n") {
		t.Errorf("/: %d %s", status, body)
	}
}

func TestOnlyGetAndHeadAreServed(t *testing.T) {
	res := new(recorder)
	r, _ := http.NewRequest(http.MethodPost, "/metrics", nil)
	New("1.2.3", none).Handler().ServeHTTP(res, r)
	if res.status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", res.status)
	}
}

type recorder struct{ status int }

func (r *recorder) Header() http.Header         { return http.Header{} }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }
func (r *recorder) WriteHeader(status int)      { r.status = status }

func TestServerEndsWithItsContext(t *testing.T) {
	m := New("1.2.3", none)
	ctx, cancel := context.WithCancel(t.Context())
	var j journal
	s, err := m.Serve(ctx, "127.0.0.1:0", j.logger())
	if err != nil {
		t.Fatal(err)
	}
	idle, err := net.Dial("tcp", s.Addr().String()) // holds nothing up
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	fetch(t, s.Addr(), "/healthz")
	cancel()
	s.Wait()
	if nc, err := net.Dial("tcp", s.Addr().String()); err == nil {
		nc.Close()
		t.Error("it still listens")
	}
	if strings.Contains(j.String(), "ERROR") || !strings.Contains(j.String(), "serving metrics") {
		t.Errorf("the log is %s", j.String())
	}
}

func TestAddressThatCannotBeListenedOnIsExplained(t *testing.T) {
	for address, want := range map[string]string{
		"":                 "host:port",
		"9542":             "host:port",
		"127.0.0.1":        "host:port",
		"127.0.0.1:http-x": "choose another address",
		"127.0.0.1:70000":  "choose another address",
		"192.0.2.1:9542":   "cannot assign requested address",
	} {
		s, err := New("1.2.3", none).Serve(t.Context(), address, slog.New(slog.DiscardHandler))
		if err == nil {
			t.Errorf("%q is served on %v", address, s.Addr())
			continue
		}
		if text := err.Error(); !strings.Contains(text, want) || !strings.Contains(text, address) || strings.Contains(text, "\n") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// A server that takes over from another does so while that still drains.
func TestAddressOfThePredecessorIsTakenOver(t *testing.T) {
	oldContext, end := context.WithCancel(t.Context())
	old, err := New("1", none).Serve(oldContext, "127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var j journal
	next, err := New("2", none).Serve(ctx, old.Addr().String(), j.logger())
	if err != nil {
		t.Fatal(err)
	}
	defer next.Wait()
	defer cancel()
	eventually(t, "it says that it waits", func() bool { return strings.Contains(j.String(), "in use") })
	if next.Addr() != nil {
		t.Errorf("it has the address %v", next.Addr())
	}
	end()
	old.Wait()
	eventually(t, "it has the address", func() bool { return next.Addr() != nil })
	if _, body, _ := fetch(t, next.Addr(), "/"); !strings.HasPrefix(body, "kafka-upstream 2\n") {
		t.Errorf("the page is %s", body)
	}
}

func TestWaitForAnAddressEndsWithTheContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := New("1.2.3", none).Serve(ctx, l.Addr().String(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	s.Wait()
}

package registry

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const avroUser = `{"type":"record","name":"User","fields":[{"name":"name","type":"string"},{"name":"age","type":"int"}]}`

const jsonUser = `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","required":["name","age"],
	"properties":{"name":{"type":"string","minLength":3},"age":{"type":"integer","minimum":0}}}`

// direct is a way to a registry without a network, for tests in a bubble.
type direct struct {
	handler http.Handler

	mu       sync.Mutex
	requests []string // their paths
	fail     error
}

func (d *direct) RoundTrip(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	d.requests = append(d.requests, r.URL.EscapedPath())
	fail, handler := d.fail, d.handler
	d.mu.Unlock()
	if fail != nil {
		return nil, fail
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Result(), r.Context().Err()
}

func (d *direct) CloseIdleConnections() {}

// serves makes requests go to that handler from now on.
func (d *direct) serves(h http.Handler) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.handler = h
}

// fails makes requests fail from now on, or succeed again with nil.
func (d *direct) fails(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = err
}

func (d *direct) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.requests)
}

// logged is a log that can be read.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// inBubble runs f with a pool whose registry is fake, in a bubble of synctest.
func inBubble(t *testing.T, f func(t *testing.T, p *Pool, d *direct, fake *srfake.Registry, log *logged)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fake := srfake.NewRegistry()
		d, log := &direct{handler: fake.Handler()}, new(logged)
		p := NewPool(Env{Log: slog.New(slog.NewTextHandler(log, nil)), transport: d})
		defer p.Close()
		f(t, p, d, fake, log)
	})
}

// newPool returns a pool for registries in the network.
func newPool(t *testing.T, env Env) (*Pool, *logged) {
	t.Helper()
	log := new(logged)
	env.Log = slog.New(slog.NewTextHandler(log, nil))
	p := NewPool(env)
	t.Cleanup(p.Close)
	return p, log
}

func acquire(t *testing.T, p *Pool, o Options) *Schemas {
	t.Helper()
	s, err := p.Acquire(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// blocks counts the calls of WillBlock.
type blocks int

func (b *blocks) WillBlock() { *b++ }

func ready(t *testing.T, s *Schemas) error { return s.Ready(context.Background(), new(blocks)) }

func value(subject string) Options {
	return Options{URL: "http://registry:8081/", TTL: DefaultTTL, Value: Subject{Name: subject}}
}

func schemaOf(kind sr.SchemaType, text string, refs ...sr.SchemaReference) sr.Schema {
	return sr.Schema{Type: kind, Schema: text, References: refs}
}

var (
	discard = slog.New(slog.DiscardHandler)
	quiet   = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
)

// write returns a file with that content.
func write(t *testing.T, b []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

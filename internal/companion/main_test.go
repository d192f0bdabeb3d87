package companion

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/request"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeHandler records requests, and answers as handle says, or else as to a success.
type fakeHandler struct {
	needs  request.Fields
	handle func(x plugin.Exchange, r *request.Request) plugin.Response

	mu   sync.Mutex
	seen []string
	ends int
}

// handled returns the requests that were handled, and how often the handler was closed.
func (h *fakeHandler) handled() (seen []string, closed int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.seen), h.ends
}

func (h *fakeHandler) Needs() request.Fields { return h.needs }

func (h *fakeHandler) Handle(_ context.Context, x plugin.Exchange, r *request.Request) plugin.Response {
	h.mu.Lock()
	h.seen = append(h.seen, show(r))
	h.mu.Unlock()
	if h.handle == nil {
		return plugin.Sent.Response()
	}
	return h.handle(x, r)
}

func (h *fakeHandler) Refuse(err error) plugin.Response {
	a := plugin.Unexpected.Response()
	switch body, ok := errors.AsType[*request.BodyError](err); {
	case ok:
		a = plugin.BodyUnreadable.Response()
		a.Log = []string{body.Reason}
	case errors.Is(err, request.ErrTooLarge):
		a = plugin.TooLarge.Response()
	case errors.Is(err, memory.ErrFull):
		a = plugin.MemoryFull.Response()
	default:
		a.Log = []string{err.Error()}
	}
	return a
}

func (h *fakeHandler) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ends++
}

// show is a request in a line.
func show(r *request.Request) string {
	b := fmt.Appendf(nil, "%s %s ?%s", r.Method, r.URI, r.Query)
	for _, h := range r.Headers {
		b = fmt.Appendf(b, " %s=%s", h.Name, h.Value)
	}
	b = fmt.Appendf(b, " {%s}", r.Body)
	for _, f := range r.Facts {
		b = fmt.Appendf(b, " %s(%s)=%v", f.Call, f.Name, f.Value)
	}
	return string(b)
}

// everything are needs of every part.
var everything = request.Fields{Method: true, URI: true, Query: true, Headers: true, Body: true, MaxBody: 1000}

// Frames of a worker.

func frameOf(k kind, flags uint8, payload []byte) []byte {
	return append(appendHeader(nil, header{len(payload), k, flags}), payload...)
}

func hello() []byte {
	return frameOf(kindHello, 0, appendText(binary.LittleEndian.AppendUint32(nil, version), "1.2.3"))
}

func configOf(number uint32, text string) []byte {
	return frameOf(kindConfig, 0, append(binary.LittleEndian.AppendUint32(nil, number), text...))
}

func forget(numbers ...uint32) []byte {
	var b []byte
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return frameOf(kindForget, 0, b)
}

// sentRequest is a request as a worker sends it.
type sentRequest struct {
	id, config         uint32
	method, uri, query string
	headers            []string // names and values
	facts              []byte
	body               string
	flags              uint8
}

func (r sentRequest) frame() []byte {
	var b []byte
	for _, n := range []int{int(r.id), int(r.config), len(r.method), len(r.uri), len(r.query), len(r.facts), len(r.body), len(r.headers) / 2} {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	for _, h := range r.headers {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(h)))
	}
	b = append(b, r.method+r.uri+r.query+strings.Join(r.headers, "")...)
	b = append(append(b, r.facts...), r.body...)
	return frameOf(kindRequest, r.flags, b)
}

func post(id, config uint32, body string) []byte {
	return sentRequest{id: id, config: config, method: "POST", uri: "/a?b", query: "b", headers: []string{"content-type", "application/json"}, body: body}.frame()
}

// answer is an answer as a worker reads it.
type answer struct {
	id      uint32
	status  int
	body    string // "" without details
	headers []string
	lines   []string
}

// received is what a worker has read.
type received struct {
	welcome string
	needs   map[uint32][]byte
	answers []answer
	left    bool
}

// parse reads whole frames, and returns the rest.
func (r *received) parse(b []byte) (rest []byte, err error) {
	for len(b) >= headerSize {
		h := parseHeader(b)
		if len(b) < headerSize+h.size {
			break
		}
		p := reader{b: b[headerSize : headerSize+h.size]}
		b = b[headerSize+h.size:]
		switch h.kind {
		case kindWelcome:
			_, release, err := parseHello(p.b)
			if err != nil {
				return nil, err
			}
			r.welcome = string(release)
		case kindNeeds:
			if r.needs == nil {
				r.needs = map[uint32][]byte{}
			}
			n := p.uint32()
			r.needs[n] = p.b
		case kindLeave:
			r.left = true
		case kindAnswers:
			if err := r.parseAnswers(&p); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("a frame of kind %d", h.kind)
		}
	}
	return b, nil
}

func (r *received) parseAnswers(p *reader) error {
	n := int(p.uint32())
	entries := reader{b: p.bytes(8 * n)}
	for range n {
		a := answer{id: entries.uint32()}
		rest := entries.uint32()
		a.status = int(rest & 0xffff)
		if rest>>16 != 0 {
			d := reader{b: p.text()}
			counts := d.uint32()
			a.body = string(d.text())
			for range counts & 0xffff {
				a.headers = append(a.headers, string(d.text()), string(d.text()))
			}
			for range counts >> 16 {
				a.lines = append(a.lines, string(d.text())+": "+string(d.text()))
			}
			if err := d.err("details"); err != nil {
				return err
			}
		}
		r.answers = append(r.answers, a)
	}
	return p.err("answers")
}

// worker is a connection of a worker.
type worker struct {
	t *testing.T
	net.Conn
	received
	rest []byte
}

func (w *worker) send(frames ...[]byte) {
	w.t.Helper()
	if _, err := w.Write(slices.Concat(frames...)); err != nil {
		w.t.Fatal(err)
	}
}

// until reads until done says so.
func (w *worker) until(what string, done func() bool) {
	w.t.Helper()
	_ = w.SetReadDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, 64<<10)
	for !done() {
		n, err := w.Read(b)
		if err != nil {
			w.t.Fatalf("waiting for %s: %v", what, err)
		}
		if w.rest, err = w.parse(append(w.rest, b[:n]...)); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *worker) answered(n int) []answer {
	w.t.Helper()
	w.until(fmt.Sprintf("%d answers", n), func() bool { return len(w.answers) >= n })
	return w.answers
}

// ended waits until the server closes the connection.
func (w *worker) ended() {
	w.t.Helper()
	_ = w.SetReadDeadline(time.Now().Add(20 * time.Second))
	rest, err := io.ReadAll(w)
	if err != nil && strings.Contains(err.Error(), "timeout") {
		w.t.Fatal("the server does not close the connection")
	}
	if _, err := w.parse(append(w.rest, rest...)); err != nil {
		w.t.Fatal(err)
	}
}

// rig is a running server.
type rig struct {
	t *testing.T
	*Server
	socket string
	log    *lockedBuffer
	served chan error

	mu       sync.Mutex
	answered map[plugin.Reason]int
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
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

// start starts a server in which each configuration has the handler that start returns.
func start(t *testing.T, start func(config string) plugin.Handler, change func(*Server)) *rig {
	t.Helper()
	r := &rig{t: t, socket: filepath.Join(t.TempDir(), "s"), log: new(lockedBuffer), served: make(chan error, 1), answered: map[plugin.Reason]int{}}
	r.Server = NewServer(&Plugin{
		Version: "1.2.3",
		Start:   func(b []byte) plugin.Handler { return start(string(b)) },
		Answered: func(reason plugin.Reason, _ time.Duration) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.answered[reason]++
		},
	}, slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Options{})
	if change != nil {
		change(r.Server)
	}
	l, err := net.Listen("unix", r.socket)
	if err != nil {
		t.Fatal(err)
	}
	go func() { r.served <- r.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = r.Shutdown(ctx)
		if err := <-r.served; err != nil {
			t.Error(err)
		}
		r.serving.Wait()
		if n := r.held.Load(); n != 0 {
			t.Errorf("%d bytes are held", n)
		}
		if n := r.Memory.Used(); n != 0 {
			t.Errorf("%d bytes of the limit are taken", n)
		}
	})
	return r
}

func (r *rig) count(reason plugin.Reason) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answered[reason]
}

// dial connects a worker.
func (r *rig) dial() *worker {
	r.t.Helper()
	nc, err := net.Dial("unix", r.socket)
	if err != nil {
		r.t.Fatal(err)
	}
	w := &worker{t: r.t, Conn: nc}
	r.t.Cleanup(func() { _ = w.Close() })
	return w
}

// connect connects a worker that has sent a configuration, whose number is 1.
func (r *rig) connect() *worker {
	r.t.Helper()
	w := r.dial()
	w.send(hello(), configOf(1, "{}"))
	w.until("the needs", func() bool { return w.needs[1] != nil })
	return w
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not happen", what)
		}
	}
}

package kongpdk

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/request"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a connection of Kong's side.
type peer struct {
	t *testing.T
	net.Conn
}

func (p *peer) send(frames ...[]byte) {
	p.t.Helper()
	var b []byte
	for _, f := range frames {
		b = appendFrame(b, f)
	}
	if _, err := p.Write(b); err != nil {
		p.t.Fatalf("writing to the server: %v", err)
	}
}

func (p *peer) frame() ([]byte, error) {
	var h [4]byte
	if _, err := io.ReadFull(p, h[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.LittleEndian.Uint32(h[:]))
	_, err := io.ReadFull(p, b)
	return b, err
}

func (p *peer) read() []byte {
	p.t.Helper()
	b, err := p.frame()
	if err != nil {
		p.t.Fatalf("reading from the server: %v", err)
	}
	return b
}

func (p *peer) readReturn() *pb.RpcReturn {
	p.t.Helper()
	m := new(pb.RpcReturn)
	if err := proto.Unmarshal(p.read(), m); err != nil {
		p.t.Fatal(err)
	}
	return m
}

// closed fails the test unless the server closes the connection without a word.
func (p *peer) closed() {
	p.t.Helper()
	if b, err := p.frame(); err == nil {
		p.t.Fatalf("got the frame %q, want the connection closed", b)
	} else if err, ok := err.(net.Error); ok && err.Timeout() {
		p.t.Fatal("the connection is still open")
	}
}

// exit reads the exit, and log lines before it.
func (p *peer) exit() (a *pb.ExitArgs, logs int) {
	p.t.Helper()
	for {
		switch method, args := string(p.read()), p.read(); method {
		case "kong.log.err":
			logs++
		case "kong.response.exit":
			a = new(pb.ExitArgs)
			if err := proto.Unmarshal(args, a); err != nil {
				p.t.Fatal(err)
			}
			return a, logs
		default:
			p.t.Fatalf("unexpected call of %q", method)
		}
	}
}

func startCall(sequence int64, config string) []byte {
	return marshal(&pb.RpcCall{Sequence: sequence, Call: &pb.RpcCall_CmdStartInstance{
		CmdStartInstance: &pb.CmdStartInstance{Name: "test", Config: []byte(config)}}})
}

func eventCall(sequence int64, instance int32, phase string) []byte {
	return marshal(&pb.RpcCall{Sequence: sequence, Call: &pb.RpcCall_CmdHandleEvent{
		CmdHandleEvent: &pb.CmdHandleEvent{InstanceId: instance, EventName: phase}}})
}

func closeCall(sequence int64, instance int32) []byte {
	return marshal(&pb.RpcCall{Sequence: sequence, Call: &pb.RpcCall_CmdCloseInstance{
		CmdCloseInstance: &pb.CmdCloseInstance{InstanceId: instance}}})
}

func (p *peer) start(config string) int32 {
	p.t.Helper()
	p.send(startCall(1, config))
	return p.readReturn().GetInstanceStatus().GetInstanceId()
}

// conversation is a handler whose part of the conversation is the test's own.
type conversation struct {
	plugin.Handler
	config string
	calls  *calls
	access func(*Exchange)
	onStop func()

	nextCalls func(*Exchange) *calls
}

func (c *conversation) Close() {
	if c.onStop != nil {
		c.onStop()
	}
}

// open makes an instance of a conversation, or of a real handler.
func (f *fixture) open(h plugin.Handler) *instance {
	if c, ok := h.(*conversation); ok {
		return &instance{calls: c.calls, nextCalls: c.nextCalls, access: c.access, close: c.Close, started: time.Now()}
	}
	return f.openInstance(h)
}

// handler answers each request with the same.
type handler struct {
	response plugin.Response
	needs    request.Fields
	handle   func(x plugin.Exchange, r *request.Request)
	refused  func(error)
}

func (h *handler) Needs() request.Fields { return h.needs }
func (h *handler) Close()                {}

func (h *handler) Handle(_ context.Context, x plugin.Exchange, r *request.Request) plugin.Response {
	if h.handle != nil {
		h.handle(x, r)
	}
	return h.response
}

func (h *handler) Refuse(err error) plugin.Response {
	h.refused(err)
	return h.response
}

// fixture is a server with its plugin.
type fixture struct {
	*Server
	t         *testing.T
	path      string
	calls     *calls
	nextCalls func(*Exchange) *calls
	access    func(*Exchange)

	mu                        sync.Mutex
	started, closed, answered []string
}

var ok = plugin.Response{Status: 200, Body: "fine", Headers: []plugin.Header{{Name: "X-Test", Value: "1"}}}

func response(status int, body string) plugin.Response {
	return plugin.Response{Status: status, Body: body}
}

// way is how fixtures serve.
var way func(*Server)

// eachWay runs a test with one loop and with several, where there are any, and with
// the net package.
func eachWay(t *testing.T, test func(*testing.T)) {
	for name, w := range map[string]func(*Server){
		"loop":  func(s *Server) { s.loops = 1 },
		"loops": func(s *Server) { s.loops = 3 },
		"net":   func(s *Server) { s.Portable = true },
	} {
		t.Run(name, func(t *testing.T) {
			way = w
			test(t)
		})
	}
}

func newFixture(t *testing.T, options ...func(*Server)) *fixture {
	f := &fixture{t: t, path: filepath.Join(t.TempDir(), "s"), calls: new(calls)}
	f.access = func(x *Exchange) { x.exit(ok) }
	f.Server = NewServer(&Plugin{Name: "test", Start: func(config []byte) plugin.Handler {
		f.mu.Lock()
		defer f.mu.Unlock()
		c := string(config)
		f.started = append(f.started, c)
		return &conversation{config: c, calls: f.calls, nextCalls: f.nextCalls, access: func(x *Exchange) { f.access(x) }, onStop: func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.closed = append(f.closed, c)
		}}
	}, Invalid: func(reason error) plugin.Handler {
		return &handler{response: plugin.Response{Status: 500, Log: []string{reason.Error()}}}
	}, Answered: func(r plugin.Reason, _ time.Duration) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.answered = append(f.answered, r.String())
	}}, slog.New(slog.DiscardHandler), Options{})
	f.Server.open = f.open
	if way != nil {
		way(f.Server)
	}
	for _, option := range options {
		option(f.Server)
	}
	l, err := Listen(f.path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- f.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = f.Shutdown(ctx)
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return f
}

func (f *fixture) seen(list *[]string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(*list)
}

func (f *fixture) dial() *peer {
	f.t.Helper()
	c, err := dialPath(f.path)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = c.Close() })
	return &peer{f.t, c}
}

func dialPath(path string) (net.Conn, error) {
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	}
	return c, err
}

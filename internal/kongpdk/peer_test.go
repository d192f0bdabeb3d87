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

// testInstance does what the test says.
type testInstance struct {
	config string
	asks   *Asks
	access func(*Exchange)
	onStop func()
}

func (i *testInstance) Asks() *Asks        { return i.asks }
func (i *testInstance) Access(x *Exchange) { i.access(x) }
func (i *testInstance) Close() {
	if i.onStop != nil {
		i.onStop()
	}
}

// fixture is a server with its plugin.
type fixture struct {
	*Server
	t      *testing.T
	path   string
	asks   *Asks
	access func(*Exchange)

	mu              sync.Mutex
	started, closed []string
}

var ok = NewAnswer(200, "fine", map[string]string{"X-Test": "1"})

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
	f := &fixture{t: t, path: filepath.Join(t.TempDir(), "s"), asks: new(Asks)}
	f.access = func(x *Exchange) { _ = x.Exit(ok) }
	f.Server = NewServer(&Plugin{Name: "test", Start: func(config []byte) Instance {
		f.mu.Lock()
		defer f.mu.Unlock()
		c := string(config)
		f.started = append(f.started, c)
		return &testInstance{config: c, asks: f.asks, access: func(x *Exchange) { f.access(x) }, onStop: func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.closed = append(f.closed, c)
		}}
	}}, slog.New(slog.DiscardHandler))
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

package kongpdk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/plugin"
)

// logged is what a server logs.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logged) option(s *Server) { s.log = slog.New(slog.NewTextHandler(l, nil)) }

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.Write(b); err != nil {
		p.t.Fatalf("writing to the server: %v", err)
	}
}

// announced is the beginning of a frame of n bytes.
func announced(n, come int) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(n)), make([]byte, come)...)
}

func TestReplyWithoutMemoryIsPassedOverAndTheNextOneRead(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		limit := memory.NewLimit(256 << 10)
		f := newFixture(t, func(s *Server) { s.Memory = limit })
		i := f.calls.add("kong.request.get_raw_body", nil, 0)
		next := f.calls.add("kong.request.get_method", nil, 0)
		var small atomic.Bool
		f.access = func(x *Exchange) {
			b, err := x.reply(i)
			if small.Load() != (err == nil) || err != nil && !errors.Is(err, memory.ErrFull) {
				t.Errorf("a reply of %d bytes, %v", len(b), err)
			}
			if b, err := x.reply(next); string(b) != "next" || err != nil {
				t.Errorf("next reply is %q, %v", b, err)
			}
			if used := limit.Used(); used > limit.Size() {
				t.Errorf("%d bytes are taken", used)
			}
			x.exit(ok)
		}
		id := f.dial().start("{}")
		for _, size := range []int{300 << 10, 8 << 20, 200 << 10} {
			small.Store(size < 256<<10)
			p := f.dial()
			p.send(eventCall(1, id, "access"))
			for range 4 {
				p.read()
			}
			p.send(bytes.Repeat([]byte("x"), size), []byte("next"))
			if a, _ := p.exit(); a.Status != 200 {
				t.Errorf("exit is %v", a)
			}
			until(t, "all memory is given back", func() bool { return limit.Used() == 0 })
		}
	})
}

// Where not a byte is to be had, what is short is still served.
func TestShortRequestsNeedNoMemoryOfTheLimit(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		limit := memory.NewLimit(1)
		f := newFixture(t, func(s *Server) { s.Memory = limit })
		i := f.calls.add("kong.request.get_raw_body", nil, 0)
		j := f.calls.add("kong.request.get_headers", nil, 0)
		f.access = func(x *Exchange) {
			if _, err := x.reply(i); err != nil {
				t.Error(err)
			}
			if _, err := x.reply(j); err != nil && !errors.Is(err, memory.ErrFull) {
				t.Error(err)
			}
			x.exit(ok)
		}
		id := f.dial().start("{}")
		for _, size := range []int{0, 1, 10_000, bufferFree - 100, bufferFree - 40} {
			for second := range 12 { // the header of a frame falls on either side of the buffer's end
				p := f.dial()
				p.send(eventCall(1, id, "access"), make([]byte, size), make([]byte, second*10))
				for range 4 {
					p.read()
				}
				if a, _ := p.exit(); a.Status != 200 {
					t.Errorf("exit is %v", a)
				}
			}
		}
	})
}

func TestReservedMemoryIsGivenBack(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		limit := memory.NewLimit(1 << 20)
		f := newFixture(t, func(s *Server) { s.Memory = limit })
		i := f.calls.add("kong.request.get_raw_body", nil, 0)
		var panics atomic.Bool
		f.access = func(x *Exchange) {
			held := limit.Used()
			if held == 0 || !x.Reserve(1000) || !x.Reserve(2000) || x.Reserve(1<<20) || limit.Used() != held+3000 {
				t.Errorf("%d bytes are taken, %d before", limit.Used(), held)
			}
			if panics.Load() {
				panic("on purpose")
			}
			x.Release()
			if limit.Used() != 0 {
				t.Errorf("%d bytes are taken after the release", limit.Used())
			}
			if b, err := x.reply(i); b != nil || err != nil {
				t.Errorf("after the release the reply is %d bytes, %v", len(b), err)
			}
			x.exit(ok)
		}
		id := f.dial().start("{}")
		for _, fails := range []bool{false, true} {
			panics.Store(fails)
			p := f.dial()
			p.send(eventCall(1, id, "access"))
			p.read()
			p.read()
			p.send(make([]byte, 100<<10))
			p.exit()
			until(t, "all memory is given back", func() bool { return limit.Used() == 0 })
		}
	})
}

// Unfinished commands take no more memory than the limit has, and it goes back with
// their end.
func TestUnfinishedCommandsAreBoundedByTheMemoryLimit(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		limit := memory.NewLimit(4 << 20)
		var log logged
		f := newFixture(t, func(s *Server) { s.Memory, s.commandTimeout = limit, time.Second }, log.option)
		before := heap()
		var peers []*peer
		for range 30 {
			p := f.dial()
			_, _ = p.Write(announced(maxCommand, maxCommand-1)) // an error where it was closed meanwhile
			peers = append(peers, p)
			if used := limit.Used(); used > limit.Size() {
				t.Fatalf("%d bytes are taken", used)
			}
		}
		if grown := int64(heap()) - int64(before); grown > 32<<20 {
			t.Errorf("the heap has grown by %d bytes", grown)
		}
		for _, p := range peers {
			p.closed()
		}
		until(t, "all memory is given back", func() bool { return limit.Used() == 0 })
		if !strings.Contains(log.String(), "memory limit") {
			t.Errorf("the log is %s", log.String())
		}
		f.dial().start("{}")
	})
}

// A command that does not go on is given up, wherever it stops; a connection on which
// none has begun is kept.
func TestUnfinishedCommandIsGivenUp(t *testing.T) {
	command := appendFrame(nil, startCall(1, `{"a":"configuration"}`))
	eachWay(t, func(t *testing.T) {
		var log logged
		f := newFixture(t, func(s *Server) { s.commandTimeout = 100 * time.Millisecond }, log.option)
		idle, used := f.dial(), f.dial()
		used.start("{}")
		for _, n := range []int{1, 3, 4, 5, len(command) - 1} {
			fresh := f.dial()
			fresh.write(command[:n])
			fresh.closed()
		}
		used.write(command[:1])
		used.closed()
		if !strings.Contains(log.String(), "the rest of a command did not arrive") {
			t.Errorf("the log is %s", log.String())
		}
		idle.start("{}")
	})
}

// A command may come in pieces, for as long as it is whole in time.
func TestCommandInPiecesIsServed(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		p := f.dial()
		for range 3 {
			for _, b := range appendFrame(nil, startCall(1, "{}")) {
				p.write([]byte{b})
			}
			p.readReturn()
		}
	})
}

// What a peer still has to send or to read is waited for no longer than endTimeout when
// the server ends, and leaves no error.
func TestShutdownDoesNotWaitForPeersThatStall(t *testing.T) {
	command := appendFrame(nil, startCall(1, "{}"))
	for name, stall := range map[string]func(f *fixture, id int32, p *peer){
		"a byte of a command": func(_ *fixture, _ int32, p *peer) { p.write(command[:1]) },
		"most of a command":   func(_ *fixture, _ int32, p *peer) { p.write(command[:len(command)-1]) },
		"a large command":     func(_ *fixture, _ int32, p *peer) { p.write(announced(maxCommand, 1<<20)) },
		"no reply":            func(_ *fixture, id int32, p *peer) { p.send(eventCall(1, id, "access")) },
		"a byte of a reply":   func(_ *fixture, id int32, p *peer) { p.send(eventCall(1, id, "access")); p.write([]byte{9}) },
		"a reply that is refused": func(_ *fixture, id int32, p *peer) {
			p.send(eventCall(1, id, "access"))
			p.write(announced(maxReply+1, 99))
		},
		"no end after a log line": func(_ *fixture, id int32, p *peer) { p.send(eventCall(1, id, "access"), nil); p.exit2() },
		"calls are not read": func(f *fixture, id int32, p *peer) {
			_ = p.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
			for {
				if _, err := p.Write(appendFrame(appendFrame(nil, eventCall(1, id, "access")), nil)); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T) {
				f := newFixture(t, func(s *Server) { s.endTimeout = 100 * time.Millisecond })
				f.calls.add("kong.request.get_method", nil, 0)
				f.access = func(x *Exchange) {
					if name == "calls are not read" {
						return
					}
					x.logError("a line")
					x.exit(ok)
				}
				id := f.dial().start("{}")
				f.dial()
				stall(f, id, f.dial())
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				if err := f.Shutdown(ctx); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// exit2 reads the calls, and the exit without an end.
func (p *peer) exit2() {
	p.read()
	p.read()
	p.exit()
}

// A request that the instance works on is answered however long that takes, and the
// log line before the exit is waited for: it is no stall of the peer's.
func TestShutdownWaitsForRequestsLongerThanForPeers(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t, func(s *Server) { s.endTimeout = 300 * time.Millisecond })
		f.calls.add("kong.request.get_method", nil, 0)
		entered, free := make(chan struct{}), make(chan struct{})
		f.access = func(x *Exchange) {
			x.WillBlock()
			close(entered)
			<-free
			if path, err := x.PDK().Request.GetPath(); path != "/" || err != nil {
				t.Errorf("a late call: %q, %v", path, err)
			}
			x.logError("a line")
			x.exit(ok)
		}
		id := f.dial().start("{}")
		p := f.dial()
		p.send(eventCall(1, id, "access"), []byte("GET"))
		p.read()
		p.read()
		<-entered
		var ending sync.WaitGroup
		ending.Go(func() {
			if err := f.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
		<-time.After(600 * time.Millisecond) // longer than any peer is waited for
		close(free)
		p.read()
		p.read()
		p.send(marshal(&pb.String{V: "/"}))
		if a, logs := p.exit(); a.Status != 200 || logs != 1 {
			t.Errorf("exit is %v after %d lines", a, logs)
		}
		p.send(nil) // the reply to the log line, as Kong sends it
		_ = p.Close()
		ending.Wait()
	})
}

func TestInstanceOfAnotherPluginRefusesAndSaysWhy(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		var log logged
		f := newFixture(t, log.option)
		f.calls.add("kong.request.get_method", nil, 0)
		for _, name := range []string{"another", "", strings.Repeat("n", 1<<20), "a\nb\xff"} {
			p := f.dial()
			b := marshal(&pb.RpcCall{Call: &pb.RpcCall_CmdStartInstance{CmdStartInstance: &pb.CmdStartInstance{Name: strings.ToValidUTF8(name, ""), Config: []byte("{}")}}})
			p.send(b)
			id := p.readReturn().GetInstanceStatus().GetInstanceId()
			if id == 0 {
				t.Fatal("no instance was started")
			}
			p.send(eventCall(2, id, "access"))
			if a, logs := p.exit(); a.Status != 500 || logs != 1 {
				t.Errorf("exit is %v after %d lines", a, logs)
			}
		}
		if len(f.seen(&f.started)) > 0 {
			t.Errorf("started %q", f.started)
		}
		for _, want := range []string{`\"another\"`, `\"test\"`, "pluginserver_names"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %s: %.1000s", want, log.String())
			}
		}
		if log := log.String(); len(log) > 5000 {
			t.Errorf("the log has %d bytes", len(log))
		}
	})
}

func TestRefusalIsThePlugins(t *testing.T) {
	f := newFixture(t)
	var reason error
	f.plugin.Invalid = func(err error) plugin.Handler {
		reason = err
		return &conversation{calls: new(calls), access: func(x *Exchange) { x.exit(response(418, "")) }}
	}
	p := f.dial()
	p.send(marshal(&pb.RpcCall{Call: &pb.RpcCall_CmdStartInstance{CmdStartInstance: &pb.CmdStartInstance{Name: "another"}}}))
	p.send(eventCall(2, p.readReturn().GetInstanceStatus().GetInstanceId(), "access"))
	if a, _ := p.exit(); a.Status != 418 || reason == nil {
		t.Errorf("exit is %v, the reason %v", a, reason)
	}
}

// A peer may start any number of instances: the oldest are closed, and started anew
// when Kong has an event for them.
func TestInstancesAreBoundedByTheMemoryLimit(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		var log logged
		f := newFixture(t, func(s *Server) { s.Memory = memory.NewLimit(instancesShare * 10 * (instanceSize + 2)) }, log.option)
		p := f.dial()
		first := p.start("{}")
		for range 50 {
			p.start("{}")
		}
		if n := len(f.seen(&f.started)) - len(f.seen(&f.closed)); n != 10 {
			t.Errorf("%d instances are open", n)
		}
		p.start(strings.Repeat(" ", 100<<10)) // larger than all that may be: it is alone then
		if n := len(f.seen(&f.started)) - len(f.seen(&f.closed)); n != 1 {
			t.Errorf("%d instances are open", n)
		}
		last := p.start("{}")
		p.send(eventCall(1, last, "access"))
		if a, _ := p.exit(); a.Status != 200 {
			t.Errorf("exit is %v", a)
		}
		p = f.dial()
		p.send(eventCall(1, first, "access"))
		p.closed() // before any call: Kong starts it anew
		if !strings.Contains(log.String(), "oldest instances") {
			t.Errorf("the log is %s", log.String())
		}
	})
}

func TestPeerIsTheUserWhoHasConnected(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		f.access = func(x *Exchange) {
			for range 2 {
				if uid, err := x.PeerUID(); err != nil && !errors.Is(err, errors.ErrUnsupported) || err == nil && uid != uint32(os.Geteuid()) {
					t.Errorf("the peer is %d, %v", uid, err)
				}
			}
			x.exit(ok)
		}
		p := f.dial()
		p.send(eventCall(1, f.dial().start("{}"), "access"))
		if a, _ := p.exit(); a.Status != 200 {
			t.Errorf("exit is %v", a)
		}
	})
}

// fileLimit has the server serve so many connections at a time.
func fileLimit(n int) func(*Server) {
	return func(s *Server) {
		for s.Files = n; s.Files-reservedFiles(s.Files) < n; s.Files++ {
		}
	}
}

// Connections that cannot be served yet wait, and each is answered in its turn.
func TestMoreConnectionsThanFilesWait(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		var log logged
		f := newFixture(t, fileLimit(12), log.option)
		var now, most atomic.Int64
		gate := make(chan struct{})
		f.access = func(x *Exchange) {
			x.WillBlock()
			for n := now.Add(1); ; {
				if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
					break
				}
			}
			<-gate
			now.Add(-1)
			x.exit(ok)
		}
		id := f.dial().start("{}")
		var answered atomic.Int64
		var clients sync.WaitGroup
		for range 100 {
			p := f.dial()
			clients.Go(func() {
				if _, err := p.Write(appendFrame(nil, eventCall(1, id, "access"))); err != nil {
					t.Error(err)
					return
				}
				if b, err := p.frame(); err != nil || string(b) != "kong.response.exit" {
					t.Errorf("%q, %v", b, err)
				}
				answered.Add(1)
				_ = p.Close()
			})
		}
		until(t, "the slots are taken", func() bool { return now.Load() >= 11 })
		until(t, "the log says so", func() bool { return strings.Contains(log.String(), "are waiting") })
		if n := answered.Load(); n > 0 {
			t.Errorf("%d are answered", n)
		}
		for range 100 {
			gate <- struct{}{}
		}
		clients.Wait()
		if n := most.Load(); n > 12 {
			t.Errorf("%d were served at once", n)
		}
		until(t, "all slots are free", func() bool { return f.slots.taken.Load() <= 2 }) // the one for START, and that of an accept
		if n := strings.Count(log.String(), "\n"); n > 300 {
			t.Errorf("%d lines were logged", n)
		}
	})
}

// Kong keeps connections that have nothing to do: they do not keep others out.
func TestIdleConnectionsMakeRoomForOthers(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t, fileLimit(8))
		var idle []*peer
		id := f.dial().start("{}")
		for i := range 8 { // those that have left the loop, those in it, and those that never said a word
			p := f.dial()
			switch i % 3 {
			case 0:
				p.start("{}")
			case 1:
				p.send(eventCall(1, id, "other"))
				p.read()
				p.readReturn()
			}
			idle = append(idle, p)
		}
		for range 30 {
			p := f.dial()
			p.send(eventCall(1, id, "access"))
			if a, _ := p.exit(); a.Status != 200 {
				t.Fatalf("exit is %v", a)
			}
		}
		resets := 0
		for _, p := range idle {
			_ = p.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			if _, err := p.frame(); errors.Is(err, syscall.ECONNRESET) {
				resets++
			}
		}
		if resets > 0 {
			t.Errorf("%d idle connections were reset", resets)
		}
	})
}

func TestShutdownWhileConnectionsWait(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t, fileLimit(4), func(s *Server) { s.endTimeout = 50 * time.Millisecond })
		f.calls.add("kong.request.get_method", nil, 0)
		id := f.dial().start("{}")
		for range 20 {
			f.dial().send(eventCall(1, id, "access"))
		}
		until(t, "connections wait", func() bool { return f.slots.waiting.Load() > 0 })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := f.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if n := f.slots.waiting.Load(); n != 0 && !f.Portable { // a part that accepts alone may not be done yet
			t.Errorf("%d wait", n)
		}
	})
}

func TestFilesAreKeptForOthersThanKong(t *testing.T) {
	for n, kept := range map[int]int{8: 6, 32: 24, 64: 40, 256: 64, 1024: 256, 20000: 4096, 1 << 20: 4096} {
		if got := reservedFiles(n); got != kept {
			t.Errorf("of %d files %d are kept, want %d", n, got, kept)
		}
	}
	for _, c := range []struct {
		files  int
		memory *memory.Limit
		most   int64
		why    string
	}{
		{64, nil, 24, "64 open files"},
		{20000, memory.NewLimit(64 << 20), 512, "the memory limit of 67108864 bytes"},
		{0, memory.NewLimit(1), minConnections, "memory limit"},
		{4, nil, minConnections, "4 open files"},
	} {
		s := &Server{Options: Options{Files: c.files, Memory: c.memory}}
		if most, why := s.connectionLimit(); most != c.most || !strings.Contains(why, c.why) {
			t.Errorf("%+v: %d, %s", c, most, why)
		}
	}
}

func TestLowLimitOfFilesIsSaid(t *testing.T) {
	for files, want := range map[int]bool{64: true, 1023: true, 1024: false, 0: false} {
		var log logged
		f := newFixture(t, func(s *Server) { s.Files = files }, log.option)
		f.dial().start("{}")
		if got := strings.Contains(log.String(), "limit of open files is low"); got != want {
			t.Errorf("%d files: %s", files, log.String())
		}
	}
}

// A socket's path may have 107 bytes, however short its last part is.
func TestListenTakesEachPathThatASocketMayHave(t *testing.T) {
	root, err := os.MkdirTemp("", "l")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	for last := 1; last <= 20; last++ {
		dir := filepath.Join(root, strings.Repeat("d", maxPath-len(root)-1-last-1))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, base := range []string{strings.Repeat("s", last), "." + strings.Repeat("1", last-1), strings.Repeat("@", last)} {
			if base == "." || base == ".." {
				continue
			}
			path := filepath.Join(dir, base)
			if len(path) != maxPath {
				t.Fatal(len(path))
			}
			for range 2 { // a second server takes it over
				listenAt(t, path)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
				t.Errorf("%v is left, %v", entries, err)
			}
			_ = os.Remove(path)
		}
	}
}

func TestListenTakesPathsThatAreRelative(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("real/deep/@x", 0o700); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("d", maxPath-4)
	if err := errors.Join(os.Symlink("real/deep", "link"), os.Mkdir("@dir", 0o700), os.Mkdir(long, 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"s", "./s", "real/s", "link/../s2", "@s", "@dir/s", "real/deep/@x/@", long + "/abc", strings.Repeat("./", 53) + "z"} {
		listenAt(t, path)
	}
	if _, err := Listen("real/", 0o600); err == nil {
		t.Error("a directory was taken for a socket")
	}
}

func listenAt(t *testing.T, path string) {
	t.Helper()
	l, err := Listen(path, 0o600)
	if err != nil {
		t.Errorf("%d bytes: %v", len(path), err)
		return
	}
	defer l.Close()
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%s: %v, %v", path, info, err)
	}
	if strings.HasPrefix(path, "@") {
		path = "./" + path // to Go that were no path
	}
	if len(path) > maxPath {
		return
	}
	if c, err := dialPath(path); err != nil {
		t.Errorf("%s: %v", path, err)
	} else {
		_ = c.Close()
	}
}

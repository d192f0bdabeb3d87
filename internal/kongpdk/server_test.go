package kongpdk

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/encoding/protowire"

	"kafka-upstream/internal/plugin"
)

func TestCallsGoOutTogetherBeforeAnyReply(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		a := f.calls.add("kong.request.get_method", nil, 0)
		b := f.calls.add("kong.request.get_header", &pb.String{V: "x"}, 0)
		f.access = func(x *Exchange) {
			one, err1 := x.reply(a)
			two, err2 := x.reply(b)
			if string(one) != "first" || string(two) != "" || err1 != nil || err2 != nil {
				t.Errorf("replies are %q, %v and %q, %v", one, err1, two, err2)
			}
			x.exit(ok)
		}
		p := f.dial()
		p.send(eventCall(7, f.dial().start("{}"), "access"))
		var got []string
		for range 4 { // all of them, though none has been answered
			got = append(got, string(p.read()))
		}
		if want := []string{"kong.request.get_method", "", "kong.request.get_header", "\n\x01x"}; !slices.Equal(got, want) {
			t.Fatalf("calls are %q, want %q", got, want)
		}
		p.send([]byte("first"), nil)
		if a, _ := p.exit(); a.Status != 200 || string(a.Body) != "fine" || a.Headers.AsMap()["X-Test"] != "1" {
			t.Errorf("exit is %v", a)
		}
	})
}

func TestExitAfterALogLineKeepsTheConnectionUntilKongClosesIt(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		over := make(chan struct{})
		f.access = func(x *Exchange) {
			x.logError("a line")
			x.exit(ok)
			x.exit(response(500, "")) // only the first counts
			close(over)
		}
		p := f.dial()
		p.send(eventCall(1, f.dial().start("{}"), "access"))
		<-over // nobody has read the exit, let alone answered the log line
		if a, logs := p.exit(); a.Status != 200 || logs != 1 {
			t.Errorf("exit is %v after %d lines of log", a, logs)
		}
		_ = p.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := p.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the exit: %v, want silence and an open connection", err)
		}
		p.send(nil) // the reply to the log line, as Kong sends it
	})
}

// Kong says nothing to an exit. It may read it when the connection is closed
// already.
func TestExitClosesTheConnectionAndIsStillRead(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		f.calls.add("kong.request.get_method", nil, 0)
		over := make(chan struct{})
		f.access = func(x *Exchange) {
			x.exit(ok)
			close(over)
		}
		id := f.dial().start("{}")
		p := f.dial()
		p.send(eventCall(1, id, "access"), []byte("GET"))
		<-over
		if err := f.Shutdown(t.Context()); err != nil { // which waits for the end of the connection
			t.Error(err)
		}
		p.read()
		p.read()
		if a, _ := p.exit(); a.Status != 200 {
			t.Errorf("exit is %v", a)
		}
		p.closed()
	})
}

func TestInstanceThatDoesNotExitEndsTheConversationAndKeepsTheConnection(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		f.access = func(*Exchange) {}
		p := f.dial()
		id := f.dial().start("{}")
		for i := range int64(3) {
			p.send(eventCall(i, id, "access"))
			if b := p.read(); len(b) != 0 {
				t.Fatalf("got %q, want the empty frame", b)
			}
			if got := p.readReturn().Sequence; got != i {
				t.Fatalf("sequence is %d, want %d", got, i)
			}
		}
	})
}

func TestPhaseThatIsNotServedIsPassedOver(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		f.access = func(*Exchange) { t.Error("Access was called") }
		p := f.dial()
		p.send(eventCall(3, f.dial().start("{}"), "log"))
		if b := p.read(); len(b) != 0 {
			t.Fatalf("got %q, want the empty frame", b)
		}
		p.readReturn()
	})
}

func TestCommandsAreUnderstoodWhateverTheOrderOfTheirFields(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		p := f.dial()
		var b []byte
		b = protowire.AppendTag(b, cmdStartInstance, protowire.BytesType)
		b = protowire.AppendBytes(b, marshal(&pb.CmdStartInstance{Name: "test", Config: []byte(`{"a":1}`)}))
		b = protowire.AppendTag(b, 99, protowire.BytesType) // of a later Kong
		b = protowire.AppendBytes(b, []byte("unknown"))
		b = protowire.AppendTag(b, 1, protowire.VarintType)
		b = protowire.AppendVarint(b, 41)
		p.send(b)
		if r := p.readReturn(); r.Sequence != 41 || r.GetInstanceStatus().GetInstanceId() == 0 {
			t.Errorf("got %v", r)
		}
		if !slices.Equal(f.seen(&f.started), []string{`{"a":1}`}) {
			t.Errorf("started with %q", f.started)
		}
	})
}

func TestInstancesStartAndCloseInAnyOrder(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		one, two := f.dial(), f.dial()
		a, b, c := one.start("a"), two.start("b"), one.start("c")
		if a == b || b == c || a == c || a <= 0 || b <= 0 || c <= 0 {
			t.Fatalf("ids are %d, %d, %d", a, b, c)
		}
		for i, id := range []int32{b, b, 12345, a} { // twice, and one that never was
			two.send(closeCall(int64(i), id))
			if got := two.readReturn().GetInstanceStatus().GetInstanceId(); got != id {
				t.Errorf("closing %d: status of %d", id, got)
			}
		}
		if !slices.Equal(f.seen(&f.closed), []string{"b", "a"}) {
			t.Errorf("closed are %q", f.closed)
		}
		one.send(eventCall(1, c, "access"))
		if a, _ := one.exit(); a.Status != 200 {
			t.Errorf("the instance that is left answers %d", a.Status)
		}
	})
}

func TestIdsDifferBetweenServersSoThatNoWorkerMeetsAnothersInstance(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f, g := newFixture(t), newFixture(t)
		if a, b := f.dial().start("{}"), g.dial().start("{}"); a == b {
			t.Errorf("both servers began with id %d", a)
		}
	})
}

func TestUnknownInstanceClosesTheConnectionBeforeAnyCall(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		f.calls.add("kong.request.get_method", nil, 0)
		p := f.dial()
		p.send(eventCall(1, f.dial().start("{}")+1, "access"))
		p.closed()
		p = f.dial()
		p.send(marshal(&pb.RpcCall{Call: &pb.RpcCall_CmdGetInstanceStatus{CmdGetInstanceStatus: &pb.CmdGetInstanceStatus{InstanceId: 5}}}))
		p.closed()
	})
}

func TestStatusAndInfoAreAnswered(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		f.plugin.Version, f.plugin.Schema = "1.2.3", json.RawMessage(`{"name":"test"}`)
		p := f.dial()
		id := f.dial().start("{}")
		p.send(marshal(&pb.RpcCall{Sequence: 2, Call: &pb.RpcCall_CmdGetInstanceStatus{CmdGetInstanceStatus: &pb.CmdGetInstanceStatus{InstanceId: id}}}))
		if s := p.readReturn().GetInstanceStatus(); s.InstanceId != id || s.Name != "test" || s.StartedAt == 0 {
			t.Errorf("status is %v", s)
		}
		p.send(marshal(&pb.RpcCall{Sequence: 3, Call: &pb.RpcCall_CmdGetPluginNames{CmdGetPluginNames: &pb.CmdGetPluginNames{}}}))
		if n := p.readReturn().GetPluginNames().GetNames(); !slices.Equal(n, []string{"test"}) {
			t.Errorf("names are %q", n)
		}
		p.send(marshal(&pb.RpcCall{Sequence: 4, Call: &pb.RpcCall_CmdGetPluginInfo{CmdGetPluginInfo: &pb.CmdGetPluginInfo{Name: "test"}}}))
		if i := p.readReturn().GetPluginInfo(); i.Version != "1.2.3" || i.Schema != `{"name":"test"}` {
			t.Errorf("info is %v", i)
		}
	})
}

func TestPanicIsAnsweredAndHarmsNobodyElse(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		first := true
		f.access = func(x *Exchange) {
			if first {
				first = false
				panic("of a test")
			}
			x.exit(ok)
		}
		p := f.dial()
		id := f.dial().start("{}")
		p.send(eventCall(1, id, "access"))
		a, _ := p.exit()
		if a.Status != 500 || string(a.Body) != `{"message":"An unexpected error occurred"}` {
			t.Errorf("exit is %v", a)
		}
		p = f.dial()
		p.send(eventCall(2, id, "access"))
		if a, _ := p.exit(); a.Status != 200 {
			t.Errorf("the next request is answered %d", a.Status)
		}
	})
}

func TestPanicAfterTheExitAddsNoSecondExit(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		f.access = func(x *Exchange) { x.exit(ok); panic("of a test") }
		p := f.dial()
		p.send(eventCall(1, f.dial().start("{}"), "access"))
		if a, _ := p.exit(); a.Status != 200 {
			t.Errorf("exit is %v", a)
		}
		_ = p.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if n, err := p.Read(make([]byte, 1)); n != 0 {
			t.Errorf("more came: %d bytes, %v", n, err)
		}
	})
}

func TestPanicAtStartEndsThatConnectionAlone(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		start := f.plugin.Start
		f.plugin.Start = func(config []byte) plugin.Handler {
			if string(config) == "bad" {
				panic("of a test")
			}
			return start(config)
		}
		p := f.dial()
		p.send(startCall(1, "bad"))
		p.closed()
		f.dial().start("good")
	})
}

func TestReplyAboveItsLimitIsThrownAwayAndTheNextOneRead(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		big := f.calls.add("kong.request.get_raw_body", nil, 100)
		next := f.calls.add("kong.request.get_method", nil, 0)
		f.access = func(x *Exchange) {
			if _, err := x.reply(big); !errors.Is(err, errReplyTooLarge) {
				t.Errorf("error is %v", err)
			}
			if b, err := x.reply(next); string(b) != "next" || err != nil {
				t.Errorf("next reply is %q, %v", b, err)
			}
			if n := cap(x.session.in.buf); n > 64<<10 {
				t.Errorf("%d bytes were kept of a reply above its limit", n)
			}
			x.exit(ok)
		}
		p := f.dial()
		id := p.start("{}")
		for _, size := range []int{101, 1 << 20} {
			p := f.dial()
			p.send(eventCall(1, id, "access"))
			for range 4 {
				p.read()
			}
			frames := appendFrame(appendFrame(nil, bytes.Repeat([]byte("x"), size)), []byte("next"))
			go p.Write(frames) // it fails if the server hangs up
			if a, _ := p.exit(); a.Status != 200 {
				t.Errorf("exit is %v", a)
			}
		}
	})
}

func TestAbsurdLengthsAreRefusedWithoutTakingMemory(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		f.calls.add("kong.request.get_method", nil, 0)
		id := f.dial().start("{}")
		before := heap()
		for _, n := range []uint32{maxCommand + 1, 1 << 31, 1<<32 - 1} {
			p := f.dial()
			if _, err := p.Write(binary.LittleEndian.AppendUint32(nil, n)); err != nil {
				t.Fatal(err)
			}
			p.closed()
		}
		// Announced and never sent: the memory that is taken is for what came.
		var peers []*peer
		for range 20 {
			p := f.dial()
			if _, err := p.Write(binary.LittleEndian.AppendUint32(nil, maxCommand)); err != nil {
				t.Fatal(err)
			}
			peers = append(peers, p)
		}
		for _, p := range peers {
			p.send(bytes.Repeat([]byte("x"), 10)) // somebody reads
		}
		if grown := int64(heap()) - int64(before); grown > 20<<20 {
			t.Errorf("the heap grew by %d bytes", grown)
		}
		// A reply of an absurd length is no reply of Kong's.
		p := f.dial()
		p.send(eventCall(1, id, "access"))
		p.read()
		p.read()
		if _, err := p.Write(binary.LittleEndian.AppendUint32(nil, 1<<32-1)); err != nil {
			t.Fatal(err)
		}
		p.closed()
	})
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestJunkClosesTheConnection(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		for _, b := range [][]byte{{0xff}, []byte("GET / HTTP/1.1"), {}, marshal(&pb.RpcCall{Sequence: 1})} {
			p := f.dial()
			p.send(b)
			p.closed()
		}
	})
}

func TestSlowAndVanishingPeersHarmNobody(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		f.calls.add("kong.request.get_raw_body", nil, 0)
		var mu sync.Mutex
		handled := 0
		f.access = func(x *Exchange) {
			mu.Lock()
			handled++
			mu.Unlock()
			x.exit(ok)
		}
		id := f.dial().start("{}")
		for i := range 30 { // at every step of the conversation
			p := f.dial()
			event := appendFrame(nil, eventCall(1, id, "access"))
			switch i % 3 {
			case 0: // half a command
				_, _ = p.Write(event[:len(event)/2])
			case 1: // no reply
				_, _ = p.Write(event)
			case 2: // half a reply
				_, _ = p.Write(append(event, 100, 0, 0, 0, 1))
			}
			if i%2 == 0 {
				_ = p.Close()
			}
		}
		p := f.dial()
		p.send(eventCall(1, id, "access"))
		p.read()
		p.read()
		p.send(nil)
		if a, _ := p.exit(); a.Status != 200 {
			t.Errorf("exit is %v", a)
		}
		mu.Lock()
		defer mu.Unlock()
		if handled != 1 {
			t.Errorf("%d requests were handled, want the one whose replies came", handled)
		}
	})
}

func TestRepliesInSmallPiecesAreRead(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		i := f.calls.add("kong.request.get_raw_body", nil, 0)
		want := strings.Repeat("0123456789", 3000)
		f.access = func(x *Exchange) {
			if b, err := x.reply(i); string(b) != want || err != nil {
				t.Errorf("reply has %d bytes, %v", len(b), err)
			}
			x.exit(ok)
		}
		p := f.dial()
		p.send(eventCall(1, f.dial().start("{}"), "access"))
		p.read()
		p.read()
		b := appendFrame(nil, []byte(want))
		for len(b) > 0 {
			n := min(len(b), 997)
			if _, err := p.Write(b[:n]); err != nil {
				t.Fatal(err)
			}
			b = b[n:]
		}
		if a, _ := p.exit(); a.Status != 200 {
			t.Errorf("exit is %v", a)
		}
	})
}

func TestFurtherCallsFollowTheFirst(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		first := f.calls.add("kong.request.get_method", nil, 0)
		more := new(calls)
		more.add("kong.request.get_path", nil, 0)
		f.nextCalls = func(x *Exchange) *calls {
			if len(x.replies) > 1 {
				return nil
			}
			return more
		}
		f.access = func(x *Exchange) {
			a, _ := x.reply(first)
			b, _ := x.reply(1)
			x.exit(response(200, string(a)+string(b)))
		}
		p := f.dial()
		p.send(eventCall(1, f.dial().start("{}"), "access"))
		p.read()
		p.read()
		p.send([]byte("one"))
		if got := string(p.read()); got != "kong.request.get_path" {
			t.Fatalf("called %q", got)
		}
		p.read()
		p.send([]byte("two"))
		if a, _ := p.exit(); string(a.Body) != "onetwo" {
			t.Errorf("body is %q", a.Body)
		}
	})
}

func TestPDKIsGoPdks(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		f.access = func(x *Exchange) {
			ip, err := x.PDK().Client.GetIp()
			if err != nil {
				t.Error(err)
			}
			x.exit(response(200, ip))
		}
		p := f.dial()
		p.send(eventCall(1, f.dial().start("{}"), "access"))
		if got := string(p.read()); got != "kong.client.get_ip" {
			t.Fatalf("called %q", got)
		}
		p.read()
		p.send(marshal(&pb.String{V: "10.0.0.1"}))
		if a, _ := p.exit(); string(a.Body) != "10.0.0.1" {
			t.Errorf("body is %q", a.Body)
		}
	})
}

func TestShutdownAnswersWhatIsUnderWayAndLeavesTheSocket(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		entered, leave := make(chan struct{}), make(chan struct{})
		f.access = func(x *Exchange) {
			close(entered)
			<-leave
			x.exit(ok)
		}
		idle, p := f.dial(), f.dial()
		id := idle.start("{}")
		p.send(eventCall(1, id, "access"))
		<-entered
		done := make(chan error, 1)
		go func() { done <- f.Shutdown(t.Context()) }()
		idle.closed()
		close(leave)
		if a, _ := p.exit(); a.Status != 200 {
			t.Errorf("exit is %v", a)
		}
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if info, err := os.Lstat(f.path); err != nil || info.Mode().Type() != os.ModeSocket {
			t.Errorf("the socket is gone: %v", err)
		}
		if !slices.Equal(f.seen(&f.closed), []string{"{}"}) {
			t.Errorf("closed are %q", f.closed)
		}
	})
}

func TestShutdownCutsWhatDoesNotEndInTime(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		f.calls.add("kong.request.get_method", nil, 0)
		p := f.dial()
		p.send(eventCall(1, f.dial().start("{}"), "access"))
		p.read() // the call, which stays without a reply
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := f.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "1 connections") {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

func TestListenTakesOverAPathAndNeverUnlinksIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, err := Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Listen(path, 0o606)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	_ = first.Close()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatalf("the first server took the second one's socket with it: %v", err)
	}
	if got := info.Mode().Perm(); got != 0o606 {
		t.Errorf("mode is %o, want 606", got)
	}
}

func TestListenRefusesWhatIsNoSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, 0o600); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("error is %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Error("the file was touched")
	}
	if _, err := Listen(filepath.Join(dir, "missing", "s"), 0o600); err == nil {
		t.Error("no error for a directory that is missing")
	}
}

func TestListenTakesTheLongestPathAndExplainsOneThatIsLonger(t *testing.T) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	longest := filepath.Join(dir, strings.Repeat("s", maxPath-len(dir)-1))
	l, err := Listen(longest, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left are %v", entries)
	}
	if _, err := Listen(longest+"s", 0o600); err == nil || !strings.Contains(err.Error(), "108 bytes") {
		t.Errorf("error is %v", err)
	}
}

func TestDumpIsWhatKongReads(t *testing.T) {
	p := &Plugin{Name: "n", Version: "v", Priority: 3, Schema: json.RawMessage(`{"name":"n"}`)}
	b, err := p.Dump("/s")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Protocol":"ProtoBuf:1","SocketPath":"/s","Plugins":[{"Name":"n","Version":"v","Priority":3,"Phases":["access"],"Schema":{"name":"n"}}]}`
	if string(b) != want {
		t.Errorf("dump is\n%s\nwant\n%s", b, want)
	}
}

func TestManyWorkersAtOnce(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		i := f.calls.add("kong.request.get_method", nil, 0)
		f.access = func(x *Exchange) {
			b, _ := x.reply(i)
			x.exit(response(200, string(b)))
		}
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				id := f.dial().start(fmt.Sprint(worker))
				for n := range 50 {
					p := f.dial()
					p.send(eventCall(int64(n), id, "access"))
					p.read()
					p.read()
					want := fmt.Sprintf("%d/%d", worker, n)
					p.send([]byte(want))
					if a, _ := p.exit(); string(a.Body) != want {
						t.Errorf("body is %q, want %q", a.Body, want)
					}
					_ = p.Close()
				}
			})
		}
		wg.Wait()
	})
}

package kongpdk

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/plugin"
)

// aDriver serves a session by hand: what a test sends goes in, and what the session sends
// and wants done is noted.
type aDriver struct {
	s        *session
	detached int
	actions  []string
	sent     []byte
}

func (d *aDriver) detach() *netConn {
	d.detached++
	d.s.blocking = true
	return nil
}

func (d *aDriver) deferral() *deferral { return &deferral{session: d.s} }

// put sends bytes to the session, some at a time, and does what it wants.
func (d *aDriver) put(b []byte, atOnce int) {
	for {
		act := d.s.step()
		if d.s.send != nil {
			d.sent = append(d.sent, d.s.send...)
			d.s.sent()
		}
		d.actions = append(d.actions, []string{"read", "begin", "detach", "run", "wait", "done", "end"}[act])
		switch act {
		case read:
			if len(b) == 0 {
				return
			}
			n := copy(d.s.in.room(), b[:min(len(b), atOnce)])
			d.s.in.add(n)
			b = b[n:]
		case begin:
			d.s.begin(time.Unix(1, 0))
		case detach:
			d.detach()
		case run:
			d.s.run()
		case end:
			return
		}
	}
}

// steps returns the actions, of those that read only one at the end.
func (d *aDriver) steps() string {
	last := len(d.actions) - 1
	other := slices.DeleteFunc(slices.Clone(d.actions[:last]), func(a string) bool { return a == "read" })
	return strings.Join(append(other, d.actions[last]), " ")
}

// frames returns what was sent, frame by frame.
func (d *aDriver) frames(t *testing.T) (all []string) {
	in := buffer{buf: d.sent}
	for in.pending() > 0 {
		f, err := in.frame(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(in.bytes(f)))
	}
	return all
}

func frames(all ...[]byte) (b []byte) {
	for _, f := range all {
		b = appendFrame(b, f)
	}
	return b
}

// One connection's conversation with Kong, whole and byte by byte.
func TestSession(t *testing.T) {
	const method = "kong.request.get_method"
	ended := string(marshal(&pb.RpcReturn{Sequence: 7}))
	event := func(id int32) []byte { return eventCall(7, id, "access") }
	type row struct {
		access func(x *Exchange) // of an instance that calls get_method with a limit of 100 bytes
		more   bool              // and then calls get_method again
		memory int64             // 0: no limit
		in     func(id int32) []byte
		steps  string
		sent   []string // exit is written as its name alone
		err    string   // why it is over
		quiet  bool
	}
	exits := func(x *Exchange) { x.exit(ok) }
	replied := func(want string) func(x *Exchange) {
		return func(x *Exchange) {
			if b, err := x.reply(0); string(b) != want || err != nil {
				panic("the reply is " + string(b))
			}
			x.exit(ok)
		}
	}
	rows := map[string]row{
		"nothing":      {in: func(int32) []byte { return nil }, steps: "read"},
		"half a frame": {in: func(int32) []byte { return []byte{9, 0, 0, 0, 1} }, steps: "read"},
		"an event": {access: replied("GET"), in: func(id int32) []byte { return frames(event(id), []byte("GET")) },
			steps: "begin run end", sent: []string{method, "", "kong.response.exit", "…"}, err: errDone.Error()},
		"an event with two rounds of calls, and replies before either": {more: true, in: func(id int32) []byte { return frames(event(id), nil, nil) },
			steps: "begin run end", sent: []string{method, "", method, "", "kong.response.exit", "…"}, err: errDone.Error()},
		"an event that waits for its reply": {in: func(id int32) []byte { return frames(event(id)) },
			steps: "begin read", sent: []string{method, ""}},
		"an event with a log line": {access: func(x *Exchange) { x.logError("line"); x.exit(ok) },
			in:    func(id int32) []byte { return frames(event(id), nil, nil) }, // the reply to the line, too
			steps: "begin run read", sent: []string{method, "", "kong.log.err", "…", "kong.response.exit", "…"}},
		"an event without an answer, and the next": {access: func(*Exchange) {}, in: func(id int32) []byte { return frames(event(id), nil, event(id)) },
			steps: "begin run done begin read", sent: []string{method, "", "", ended, method, ""}},
		"an event of another phase": {in: func(id int32) []byte { return frames(eventCall(7, id, "log")) },
			steps: "begin done read", sent: []string{"", ended}},
		"an event of an instance that is not known": {in: func(id int32) []byte { return frames(event(id + 1)) },
			steps: "begin end", err: errUnknownInstance.Error()},
		"a panic": {access: func(*Exchange) { panic("of a test") }, in: func(id int32) []byte { return frames(event(id), nil) },
			steps: "begin run end", sent: []string{method, "", "kong.response.exit", "…"}, err: errDone.Error()},
		"a panic after the exit": {access: func(x *Exchange) { x.exit(ok); panic("of a test") }, in: func(id int32) []byte { return frames(event(id), nil) },
			steps: "begin run end", sent: []string{method, "", "kong.response.exit", "…"}, err: errDone.Error()},
		"a reply above its limit": {access: func(x *Exchange) {
			if _, err := x.reply(0); err != errReplyTooLarge {
				panic(err)
			}
			x.exit(ok)
		}, in: func(id int32) []byte { return frames(event(id), make([]byte, 200)) },
			steps: "", sent: []string{method, "", "kong.response.exit", "…"}, err: errDone.Error()},
		"a reply of an absurd length": {in: func(id int32) []byte { return append(frames(event(id)), 0xff, 0xff, 0xff, 0xff) },
			steps: "begin end", sent: []string{method, ""}, err: "reading Kong's reply: a frame of 4294967295 bytes where at most 1073741824 are allowed"},
		"a command of an absurd length": {in: func(int32) []byte { return []byte{0xff, 0xff, 0xff, 0xff} },
			steps: "end", err: "a frame of 4294967295 bytes where at most 4194304 are allowed", quiet: true},
		"a command without memory": {memory: 1, in: func(int32) []byte { return announced(1<<20, 100<<10) },
			steps: "end", err: memory.ErrFull.Error(), quiet: true},
		"junk": {in: func(int32) []byte { return frames([]byte{0xff}) }, steps: "begin end", err: errCommand.Error()},
		"a command that is not an event": {in: func(id int32) []byte { return frames(closeCall(7, id)) },
			steps: "begin detach run done read", sent: []string{"…"}},
		"a command that is not known": {in: func(int32) []byte { return frames(marshal(&pb.RpcCall{Sequence: 1})) },
			steps: "begin detach run end", err: "unknown command"},
	}
	for name, row := range rows {
		for _, atOnce := range []int{1 << 20, 1000, 1} {
			if atOnce == 1 && row.memory > 0 {
				continue
			}
			t.Run(name, func(t *testing.T) {
				answers := 0
				server := NewServer(&Plugin{Name: "test", Answered: func(plugin.Reason, time.Duration) { answers++ }}, slog.New(slog.DiscardHandler), Options{})
				if row.memory > 0 {
					server.Memory = memory.NewLimit(row.memory)
				}
				c := new(calls)
				c.add(method, nil, 100)
				if row.access == nil {
					row.access = exits
				}
				in := &instance{calls: c, access: row.access, close: func() {}}
				if row.more {
					in.nextCalls = func(x *Exchange) *calls {
						if len(x.replies) > 1 {
							return nil
						}
						return c
					}
				}
				id, _ := server.instances.add(in, 0)
				d := &aDriver{s: &session{server: server, in: buffer{buf: getBuffer(), memory: server.Memory}}}
				d.s.driver = d
				d.put(row.in(id), atOnce)
				if got := d.steps(); got != row.steps && row.steps != "" {
					t.Errorf("%d at once: it does %q, want %q", atOnce, got, row.steps)
				}
				got := d.frames(t)
				if len(got) != len(row.sent) {
					t.Fatalf("%d at once: it sends %q, want %q", atOnce, got, row.sent)
				}
				for i, want := range row.sent {
					if got[i] != want && want != "…" {
						t.Errorf("%d at once: it sends %q, want %q", atOnce, got, row.sent)
					}
				}
				if err := d.s.err; (err == nil) != (row.err == "") || err != nil && (err.Error() != row.err || d.s.quiet != row.quiet) {
					t.Errorf("%d at once: it is over for %v (quiet: %v), want %s", atOnce, err, d.s.quiet, row.err)
				}
				if exit := slices.Contains(row.sent, "kong.response.exit"); exit != (answers == 1) {
					t.Errorf("%d answers were counted", answers)
				}
			})
		}
	}
}

// A message of large replies may take long, so its session leaves the loop.
func TestSessionWithLargeRepliesIsDetached(t *testing.T) {
	server := NewServer(&Plugin{Name: "test", Answered: func(plugin.Reason, time.Duration) {}}, slog.New(slog.DiscardHandler), Options{})
	c := new(calls)
	c.add("m", nil, 0)
	id, _ := server.instances.add(&instance{calls: c, access: func(x *Exchange) { x.exit(ok) }, close: func() {}}, 0)
	for size, want := range map[int]int{maxInLoop / 2: 0, maxInLoop + 1: 1} {
		d := &aDriver{s: &session{server: server, in: buffer{buf: getBuffer()}}}
		d.put(frames(eventCall(1, id, "access"), bytes.Repeat([]byte("x"), size)), 1<<20)
		if d.detached != want || d.s.err != errDone {
			t.Errorf("%d bytes: detached %d times, %v", size, d.detached, d.s.err)
		}
	}
}

// How a session ends that loses its connection, and what of that is an error.
func TestSessionThatLosesItsConnection(t *testing.T) {
	for name, c := range map[string]struct {
		in    func(id int32) []byte
		err   error
		want  string
		quiet bool
	}{
		"between two commands": {func(int32) []byte { return nil }, io.EOF, "EOF", true},
		"in a command":         {func(int32) []byte { return []byte{9, 0} }, io.EOF, "unexpected EOF", true},
		"a slow command":       {func(int32) []byte { return []byte{9, 0} }, os.ErrDeadlineExceeded, errUnfinished.Error(), true},
		"an idle one":          {func(int32) []byte { return nil }, os.ErrDeadlineExceeded, "i/o timeout", true},
		"before a reply":       {func(id int32) []byte { return frames(eventCall(1, id, "access")) }, io.EOF, "reading Kong's reply: EOF", false},
		"in a reply":           {func(id int32) []byte { return append(frames(eventCall(1, id, "access")), 1) }, io.EOF, "reading Kong's reply: unexpected EOF", false},
		"after the exit":       {func(id int32) []byte { return frames(eventCall(1, id, "access"), nil) }, io.EOF, errDone.Error(), false},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			server := NewServer(&Plugin{Name: "test", Answered: func(plugin.Reason, time.Duration) {}}, slog.New(slog.NewTextHandler(&log, nil)), Options{})
			calls := new(calls)
			calls.add("m", nil, 0)
			id, _ := server.instances.add(&instance{calls: calls, access: func(x *Exchange) { x.logError("line"); x.exit(ok) }, close: func() {}}, 0)
			d := &aDriver{s: &session{server: server, in: buffer{buf: getBuffer()}}}
			d.put(c.in(id), 1<<20)
			d.s.unread(c.err)
			if d.s.err.Error() != c.want || d.s.quiet != c.quiet || d.s.step() != end {
				t.Errorf("it is over for %v (quiet: %v)", d.s.err, d.s.quiet)
			}
			d.s.report()
			if logged := log.Len() > 0; logged != (!c.quiet && c.want != errDone.Error() || c.want == errUnfinished.Error()) {
				t.Errorf("the log is %s", log.String())
			}
		})
	}
}

//go:build !race

package kongpdk

import (
	"log/slog"
	"testing"
	"time"

	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/request"
)

// Reading a request and answering it allocates nothing, in a session that has served one;
// but not under the race detector, which has sync.Pool drop what it is given.
func TestRequestAllocatesNothing(t *testing.T) {
	server := NewServer(&Plugin{Name: "test", Answered: func(plugin.Reason, time.Duration) {}}, slog.New(slog.DiscardHandler), Options{})
	h := &handler{response: plugin.Sent.Response(), needs: request.Fields{Method: true, URI: true, Headers: true, Body: true, MaxBody: 1 << 20}}
	id, _ := server.instances.add(server.openInstance(h), 0)
	k := kongRepliesOf(t, 10, 1024)
	in := frames(eventCall(7, id, "access"), k.method, k.uri, k.query, k.headers, k.body)
	s := &session{server: server, in: buffer{buf: getBuffer()}}
	n := testing.AllocsPerRun(100, func() {
		s.reset()
		for rest := in; ; {
			switch s.step() {
			case read:
				n := copy(s.in.room(), rest)
				s.in.add(n)
				rest = rest[n:]
			case begin:
				s.begin(time.Unix(1, 0))
			case run:
				s.run()
			case end:
				s.sent()
				if s.err != errDone || !s.x.counted {
					t.Fatal(s.err)
				}
				return
			default:
				t.Fatal("it does something else")
			}
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

package e2e

import (
	frames "encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"github.com/twmb/franz-go/pkg/kfake"
	"google.golang.org/protobuf/proto"

	"kafka-upstream/internal/test/kafkatest"

	"kafka-upstream/internal/test/e2e/rig"
)

// wire is a connection whose every byte the test decides.
type wire struct {
	t *testing.T
	net.Conn
}

func dialWire(t *testing.T, s *rig.Server) *wire {
	t.Helper()
	c, err := net.Dial("unix", s.Socket)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return &wire{t, c}
}

func (w *wire) send(m proto.Message) {
	w.t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		w.t.Fatal(err)
	}
	w.sendBytes(b)
}

func (w *wire) sendBytes(b []byte) {
	w.t.Helper()
	if _, err := w.Write(append(frames.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) frame() []byte {
	w.t.Helper()
	var h [4]byte
	if _, err := io.ReadFull(w, h[:]); err != nil {
		w.t.Fatal(err)
	}
	b := make([]byte, frames.LittleEndian.Uint32(h[:]))
	if _, err := io.ReadFull(w, b); err != nil {
		w.t.Fatal(err)
	}
	return b
}

// Kong sends an event again when its connection closes early. So none that was
// cut before its exit may leave a record, or the record would be there twice.
// The connection is cut here at every step of the conversation.
func TestRequestCutBeforeItsRepliesLeavesNoRecord(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	s := rig.Start(t)
	first := dialWire(t, s)
	defer first.Close()
	first.send(&pb.RpcCall{Sequence: 1, Call: &pb.RpcCall_CmdStartInstance{CmdStartInstance: &pb.CmdStartInstance{
		Name: "kafka-upstream", Config: rig.Settings(t, f.Addrs(), all(map[string]any{"producer_async_flush_timeout": 1}))}}})
	ret := new(pb.RpcReturn)
	if err := proto.Unmarshal(first.frame(), ret); err != nil {
		t.Fatal(err)
	}
	event := &pb.RpcCall{Sequence: 2, Call: &pb.RpcCall_CmdHandleEvent{CmdHandleEvent: &pb.CmdHandleEvent{
		InstanceId: ret.GetInstanceStatus().InstanceId, EventName: "access"}}}
	const asks = 5
	k := new(rig.Kong)
	want := 0
	for step := 0; step <= 2*asks+2; step++ {
		w := dialWire(t, s)
		done := 0
		next := func() bool { done++; return done <= step } // whether this step is taken
		if next() {
			w.send(event)
		}
		var methods [][]byte
		if step > 0 {
			for range asks {
				methods = append(methods, w.frame())
				w.frame()
			}
		}
		replied := 0
		for _, method := range methods {
			if !next() {
				break
			}
			reply, _ := k.Answer(string(method), nil)
			b := append(frames.LittleEndian.AppendUint32(nil, uint32(len(reply))), reply...)
			if _, err := w.Write(b[:3]); err != nil { // the length alone, in part
				t.Fatal(err)
			}
			if !next() {
				break
			}
			if _, err := w.Write(b[3:]); err != nil {
				t.Fatal(err)
			}
			replied++
		}
		if replied == asks { // the record is made now, whether the exit is read or not
			want++
			if next() {
				if got := string(w.frame()); got != "kong.response.exit" {
					t.Fatalf("after all replies came %q", got)
				}
				w.frame()
				if b, err := io.ReadAll(w); err != nil || len(b) != 0 {
					t.Errorf("after the exit: %q, %v, want the end", b, err)
				}
			}
		}
		_ = w.Close()
	}
	// Whatever the cut conversations could still produce they have by now: the
	// server ends when all of them have.
	_ = s.Stdin.Close()
	if code := s.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := len(f.Records(t, "t", want)); got != want || want == 0 {
		t.Errorf("%d records, want %d", got, want)
	}
}

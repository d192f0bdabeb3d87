package kongpdk

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
)

// Whatever go-pdk's own decoder takes, ours takes alike.
func FuzzParseCommand(f *testing.F) {
	f.Add(startCall(1, "{}"))
	f.Add(eventCall(2, 3, "access"))
	f.Add([]byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCommand(b)
		m := new(pb.RpcCall)
		if proto.Unmarshal(b, m) != nil {
			return // ours looks no deeper than it must
		}
		if err != nil {
			t.Fatalf("go-pdk reads %v, ours says %v", m, err)
		}
		if c.sequence != m.Sequence {
			t.Fatalf("sequence is %d, want %d", c.sequence, m.Sequence)
		}
		if e := m.GetCmdHandleEvent(); e != nil && c.kind == cmdHandleEvent {
			id, phase, err := parseEvent(c.body)
			if err != nil {
				t.Fatal(err)
			}
			// Of an event given in two parts protobuf makes one; Kong gives one.
			if proto.Equal(e, decodeEvent(c.body)) && (id != e.InstanceId || string(phase) != e.EventName) {
				t.Fatalf("event is %d %q, want %v", id, phase, e)
			}
		}
	})
}

func decodeEvent(b []byte) *pb.CmdHandleEvent {
	e := new(pb.CmdHandleEvent)
	_ = proto.Unmarshal(b, e)
	return e
}

// Frames come out as they were put in, however the stream is cut, and junk is
// an error and never a panic or a large piece of memory.
func FuzzBuffer(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, []byte("one")), []byte("two")), uint16(10))
	f.Add([]byte{1, 2, 3}, uint16(0))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0}, uint16(100))
	f.Fuzz(func(t *testing.T, b []byte, limit uint16) {
		var whole, pieces [][]byte
		read := func(src io.Reader) (frames [][]byte) {
			var r buffer
			skip := 0
			for {
				s, err := span{}, errMore
				if skip > 0 {
					skip = r.skip(skip)
				}
				if skip == 0 {
					s, err = r.frame(int(limit))
				}
				if _, ok := err.(frameSizeError); ok {
					if skip, err = r.unread(); err != nil {
						return frames
					}
					frames = append(frames, nil)
					continue
				}
				if err == errMore {
					n, err := src.Read(r.room())
					if r.add(n); err != nil && n == 0 {
						return frames
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				frames = append(frames, bytes.Clone(r.bytes(s)))
				if len(frames)%3 == 0 {
					r.next()
				}
			}
		}
		whole = read(bytes.NewReader(b))
		pieces = read(iotest.OneByteReader(bytes.NewReader(b)))
		if len(whole) != len(pieces) {
			t.Fatalf("%d frames in one piece, %d byte by byte", len(whole), len(pieces))
		}
		for i := range whole {
			if !bytes.Equal(whole[i], pieces[i]) {
				t.Fatalf("frame %d differs", i)
			}
		}
	})
}

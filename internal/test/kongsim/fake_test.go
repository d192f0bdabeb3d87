package kongsim

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// fakePlugin is a plugin server made by hand: it speaks the frames and does
// what a test tells it.
type fakePlugin struct {
	socket string
	// access handles an event. It may exit, return (the event ends then without
	// an exit) or close the connection.
	access func(c *fakeConn)
	// start, if set, replaces the answer to START; returning false closes the
	// connection.
	start func(config []byte) bool

	l  net.Listener
	wg sync.WaitGroup

	mu      sync.Mutex
	nextID  int32
	trace   []string // commands in the order of arrival
	configs map[int32][]byte
	conns   map[net.Conn]struct{}
	dials   int
}

func newFakePlugin() *fakePlugin {
	return &fakePlugin{configs: map[int32][]byte{}, conns: map[net.Conn]struct{}{}}
}

// startFake serves a plugin until the test is over.
func startFake(t testing.TB, access func(c *fakeConn)) *fakePlugin {
	t.Helper()
	p := newFakePlugin()
	p.access = access
	if err := p.listen(filepath.Join(t.TempDir(), "p.socket")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

func (p *fakePlugin) listen(socket string) error {
	p.socket = socket
	l, err := net.Listen("unix", socket+".new")
	if err != nil {
		return err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := rename(socket+".new", socket); err != nil {
		return err
	}
	p.l = l
	p.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns[conn] = struct{}{}
			p.dials++
			p.mu.Unlock()
			p.wg.Go(func() {
				p.serve(&fakeConn{Conn: conn, r: bufio.NewReader(conn), p: p})
				conn.Close()
				p.mu.Lock()
				delete(p.conns, conn)
				p.mu.Unlock()
			})
		}
	})
	return nil
}

func (p *fakePlugin) close() {
	p.l.Close()
	p.mu.Lock()
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// commands returns what arrived so far.
func (p *fakePlugin) commands() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.trace...)
}

func (p *fakePlugin) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trace = append(p.trace, fmt.Sprintf(format, args...))
}

// fakeConn is one connection, and while access runs the conversation about one
// event.
type fakeConn struct {
	net.Conn
	r        *bufio.Reader
	p        *fakePlugin
	instance int32
	event    string
	over     bool // nothing more is to be said on this connection
	// firstField is the first field of the RpcCall that arrived.
	firstField protowire.Number
}

// config returns the configuration of the event's instance.
func (c *fakeConn) config() []byte {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	return c.p.configs[c.instance]
}

func (p *fakePlugin) serve(c *fakeConn) {
	for {
		b, err := readFrame(c.r, nil)
		if err != nil {
			return
		}
		var seq int64
		var command protowire.Number
		var body []byte
		c.firstField = 0
		eachField(b, func(n protowire.Number, f field) error {
			if c.firstField == 0 {
				c.firstField = n
			}
			if n == 1 {
				seq = int64(f.num)
			} else {
				command, body = n, f.bytes
			}
			return nil
		})
		fields := map[protowire.Number]field{}
		eachField(body, func(n protowire.Number, f field) error { fields[n] = f; return nil })
		id := int32(fields[1].num)
		switch command {
		case cmdStartInstance:
			if p.start != nil && !p.start(fields[2].bytes) {
				p.note("START refused")
				return
			}
			p.mu.Lock()
			p.nextID++
			id = p.nextID
			p.configs[id] = append([]byte(nil), fields[2].bytes...)
			p.mu.Unlock()
			p.note("START %d %s", id, fields[1].bytes)
		case cmdCloseInstance:
			p.note("CLOSE %d", id)
		case cmdHandleEvent:
			p.note("EVENT %d", id)
			c.instance, c.event, c.over = id, string(fields[2].bytes), false
			p.access(c)
			if c.over {
				return
			}
			writeFrame(c, nil)
			writeFrame(c, protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(seq)))
			continue
		}
		status := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), uint64(id))
		ret := protowire.AppendBytes(protowire.AppendTag(nil, 33, protowire.BytesType), status)
		ret = protowire.AppendVarint(protowire.AppendTag(ret, 1, protowire.VarintType), uint64(seq))
		if writeFrame(c, ret) != nil {
			return
		}
	}
}

func frames(parts ...[]byte) []byte {
	var b writeBuffer
	for _, p := range parts {
		writeFrame(&b, p)
	}
	return b
}

type writeBuffer []byte

func (b *writeBuffer) Write(p []byte) (int, error) { *b = append(*b, p...); return len(p), nil }

// ask makes one call and returns its reply, nil if the connection ended.
func (c *fakeConn) ask(method string, args []byte) []byte {
	return c.askAll(Call{Method: method, Args: args})[0]
}

// askAll makes all calls in one write and reads the replies afterwards.
func (c *fakeConn) askAll(calls ...Call) [][]byte {
	var b []byte
	for _, call := range calls {
		b = append(b, frames([]byte(call.Method), call.Args)...)
	}
	replies := make([][]byte, len(calls))
	if _, err := c.Write(b); err != nil {
		c.over = true
		return replies
	}
	for i := range calls {
		reply, err := readFrame(c.r, nil)
		if err != nil {
			c.over = true
			return replies
		}
		replies[i] = append([]byte{}, reply...)
	}
	return replies
}

// exit ends the request and waits until Kong closes the connection.
func (c *fakeConn) exit(status int, body []byte, headers ...Header) {
	args := int32Field(1, int32(status))
	args = protowire.AppendBytes(protowire.AppendTag(args, 2, protowire.BytesType), body)
	args = protowire.AppendBytes(protowire.AppendTag(args, 3, protowire.BytesType), structReply(group(headers)))
	c.Write(frames([]byte("kong.response.exit"), args))
	c.over = true
	c.r.ReadByte()
}

// hangUp closes the connection in the middle of the event.
func (c *fakeConn) hangUp() {
	c.over = true
	c.Conn.Close()
}

func rename(from, to string) error { return os.Rename(from, to) }

// field is one field of a message: num for varint and fixed types, bytes for
// length-delimited ones.
type field struct {
	typ   protowire.Type
	num   uint64
	bytes []byte
}

func eachField(b []byte, f func(protowire.Number, field) error) error {
	for len(b) > 0 {
		n, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errBadMessage
		}
		b = b[size:]
		v := field{typ: typ}
		switch typ {
		case protowire.VarintType:
			v.num, size = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v.num, size = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			var x uint32
			x, size = protowire.ConsumeFixed32(b)
			v.num = uint64(x)
		case protowire.BytesType:
			v.bytes, size = protowire.ConsumeBytes(b)
		default:
			return errBadMessage
		}
		if size < 0 {
			return errBadMessage
		}
		b = b[size:]
		if err := f(n, v); err != nil {
			return err
		}
	}
	return nil
}

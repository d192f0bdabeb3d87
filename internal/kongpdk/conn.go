package kongpdk

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/plugin"
)

// A peer that stalls holds no resource forever.
const (
	// eventTimeout bounds a request's conversation. It is above the 60 s after
	// which Kong itself gives up.
	eventTimeout = 65 * time.Second
	// commandTimeout bounds how long it takes to receive a command, from its first
	// byte on. Kong sends one in two writes, without a pause between them.
	commandTimeout = 10 * time.Second
	// endTimeout bounds how long Shutdown waits for a peer to send or to read. Kong
	// replies within milliseconds. An event whose connection closes before its replies
	// have come had no effect, and Kong sends it to the successor.
	endTimeout = 2 * time.Second
)

// stream is what a conn needs of a connection.
type stream interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
}

// lastRead is how long an idle connection is still read when it is to end.
const lastRead = 5 * time.Millisecond

// conn is one connection from a worker of Kong. A worker keeps a few for its
// commands, and every request that is answered with an exit ends one.
//
// It is served by a goroutine of its own, in serve, or as one of many by a loop,
// until it leaves the loop for such a goroutine.
type conn struct {
	server *Server
	nc     stream
	in     reader
	poll   *polled // what a loop keeps of it; nil once a goroutine serves it

	// Of the command at hand.
	x        Exchange
	began    time.Time
	sequence int64

	uid     uint32 // of the peer, once it is known
	uidRead bool

	mu       sync.Mutex
	busy     bool // with a command or a request
	stopping bool // as soon as it is not busy
	idleSeen bool // was idle when idle connections were last looked for
}

// serve runs until the connection ends.
func (c *conn) serve() {
	for {
		s, err := c.next()
		if err != nil {
			c.report(err)
			return // closed, or idle when we stop
		}
		if !c.begin() {
			return
		}
		cmd, err := parseCommand(c.in.bytes(s))
		if err == nil {
			err = c.safely(cmd)
		}
		if err != nil {
			c.report(err)
			return
		}
		if !c.end() {
			return
		}
	}
}

// next waits without limit for a command to begin, and reads it.
func (c *conn) next() (span, error) {
	c.in.next()
	if !c.in.whole() {
		if err := c.in.fill(1); err != nil {
			return span{}, err
		}
		if !c.in.whole() {
			c.mu.Lock()
			if !c.stopping { // else there is a deadline
				_ = c.nc.SetReadDeadline(time.Now().Add(c.server.commandTimeout))
			}
			c.mu.Unlock()
		}
	}
	s, err := c.in.frame(maxCommand)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errUnfinished
	}
	return s, err
}

// leave has the connection served by a goroutine of its own from now on.
func (c *conn) leave() {
	if c.poll != nil {
		c.poll.leave(c)
	}
}

// close ends the connection and gives back its buffer.
func (c *conn) close() {
	_ = c.nc.Close()
	c.in.release()
}

// begin marks the connection busy, unless it is to stop: Kong gets no answer
// then, and puts the command to our successor. Nothing has been done for it.
func (c *conn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return false
	}
	c.busy, c.idleSeen = true, false
	c.began = time.Now()
	_ = c.nc.SetDeadline(c.began.Add(c.server.eventTimeout))
	return true
}

func (c *conn) end() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
	_ = c.nc.SetDeadline(time.Time{})
	return !c.stopping
}

// stopWhenIdle is for a connection that has a goroutine of its own.
func (c *conn) stopWhenIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	if c.busy {
		_ = c.nc.SetDeadline(time.Now().Add(c.server.endTimeout)) // see await
		return
	}
	// Wakes the reader, after it has read what was received: closing with unread data
	// would reset the connection, and Kong sends a command to our successor only if the
	// connection was closed.
	_ = c.nc.SetReadDeadline(time.Now().Add(lastRead))
}

// await is called before each wait for the peer to send or to read. While the server
// shuts down, it bounds each such wait by endTimeout; what the instance does between them
// is not bounded here.
func (c *conn) await() {
	if c.poll != nil {
		return // the loop bounds it
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		_ = c.nc.SetDeadline(time.Now().Add(c.server.endTimeout))
	}
}

// closeIfIdle closes a connection that has a goroutine of its own, if it was idle the
// last time and still is.
func (c *conn) closeIfIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.busy || c.stopping:
	case c.idleSeen:
		c.stopping = true
		_ = c.nc.SetReadDeadline(time.Now().Add(lastRead)) // as in stopWhenIdle
	default:
		c.idleSeen = true
	}
}

var (
	// errUnknownInstance ends the connection before anything was asked. That is
	// how Kong is told to start the instance anew and to send the event again.
	errUnknownInstance = errors.New("unknown instance")
	errOver            = errors.New("the request is over")
	errUnfinished      = errors.New("a part of a command came, and the rest of it did not")
	errSilent          = errors.New("its peer neither sent nor read anything while the server shut down")
)

// report logs why the connection ends, where that is not its usual end.
func (c *conn) report(err error) {
	_, tooLarge := errors.AsType[errTooLarge](err)
	switch {
	case tooLarge:
		c.server.log.Error("closing a connection: its peer does not speak Kong's protocol", "error", err)
	case errors.Is(err, errUnknownInstance):
		c.server.log.Info("Kong named an instance that is not known here, and will start it anew")
	case errors.Is(err, errUnfinished), !c.busy && errors.Is(err, memory.ErrFull):
		c.server.log.Warn("closing a connection of Kong", "error", err)
	case !c.busy, errors.Is(err, errOver), errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrClosed):
	default:
		c.server.log.Warn("a connection of Kong ended early", "error", err)
	}
}

// safely does the command. A panic outside of a request's handling ends this
// connection alone.
func (c *conn) safely(cmd command) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.server.log.Error("a command of Kong has panicked; the server goes on", "panic", v, "stack", string(debug.Stack()))
			err = errOver
		}
	}()
	return c.do(cmd)
}

func (c *conn) do(cmd command) error {
	s := c.server
	c.sequence = cmd.sequence
	ret := &pb.RpcReturn{Sequence: cmd.sequence}
	switch cmd.kind {
	case cmdHandleEvent:
		in, err := c.lookUp(cmd)
		if err != nil {
			return err
		}
		if in == nil {
			return c.endEvent()
		}
		c.x.begin(c)
		if c.x.call(in.calls) == nil {
			c.access(in)
		}
		return c.over()

	case cmdStartInstance:
		m := new(pb.CmdStartInstance)
		if err := proto.Unmarshal(cmd.body, m); err != nil {
			return errCommand
		}
		started := s.start(m)
		id, closed := s.instances.add(started, len(m.Config))
		if len(closed) > 0 {
			s.log.Warn("closing the oldest instances, which exceed their share of the memory limit; Kong starts those that it needs again", "instances", len(closed))
		}
		for _, in := range closed {
			in.close()
		}
		ret.Return = s.status(id, started)

	case cmdGetInstanceStatus:
		m := new(pb.CmdGetInstanceStatus)
		if err := proto.Unmarshal(cmd.body, m); err != nil {
			return errCommand
		}
		in := s.instances.get(m.InstanceId)
		if in == nil {
			return errUnknownInstance
		}
		ret.Return = s.status(m.InstanceId, in)

	case cmdCloseInstance:
		m := new(pb.CmdCloseInstance)
		if err := proto.Unmarshal(cmd.body, m); err != nil {
			return errCommand
		}
		in := s.instances.remove(m.InstanceId)
		if in != nil { // else it is closed already, as Kong wants it
			in.close()
		}
		ret.Return = s.status(m.InstanceId, in)

	case cmdGetPluginNames:
		ret.Return = &pb.RpcReturn_PluginNames{PluginNames: &pb.PluginNames{Names: []string{s.plugin.Name}}}

	case cmdGetPluginInfo:
		ret.Return = &pb.RpcReturn_PluginInfo{PluginInfo: &pb.PluginInfo{
			Name: s.plugin.Name, Phases: []string{phase}, Version: s.plugin.Version,
			Priority: int32(s.plugin.Priority), Schema: string(s.plugin.Schema),
		}}

	default:
		return errors.New("a command that is not known")
	}
	return c.write(appendReturn(nil, ret))
}

// start starts an instance. One of another plugin is started too, but refuses each
// request: if the connection were closed instead, no log would have the reason.
func (s *Server) start(m *pb.CmdStartInstance) *instance {
	if m.Name == s.plugin.Name {
		return s.open(s.plugin.Start(m.Config))
	}
	err := fmt.Errorf("Kong wants the plugin %.100q of this plugin server, which serves %q alone: see pluginserver_names and the sockets in kong.conf", m.Name, s.plugin.Name)
	s.log.Error("starting an instance of another plugin: its requests are answered 500", "error", err)
	return s.open(s.plugin.Invalid(err))
}

func (s *Server) status(id int32, in *instance) *pb.RpcReturn_InstanceStatus {
	status := &pb.InstanceStatus{Name: s.plugin.Name, InstanceId: id}
	if in != nil {
		status.StartedAt = in.started.Unix()
	}
	return &pb.RpcReturn_InstanceStatus{InstanceStatus: status}
}

func (c *conn) write(b []byte) error {
	c.await()
	_, err := c.nc.Write(b)
	return err
}

// lookUp returns the instance that an event is for, nil if there is nothing to
// do in its phase.
func (c *conn) lookUp(cmd command) (*instance, error) {
	id, name, err := parseEvent(cmd.body)
	if err != nil {
		return nil, err
	}
	in := c.server.instances.get(id)
	if in == nil {
		return nil, errUnknownInstance
	}
	if string(name) != phase {
		return nil, nil
	}
	return in, nil
}

// over does what follows Access, in the connection's own goroutine. It returns
// nil where the conversation goes on, because the instance did not exit.
func (c *conn) over() error {
	if c.x.err != nil {
		return c.x.err
	}
	if !c.x.exited {
		return c.endEvent()
	}
	if !c.x.logged {
		return errOver
	}
	return c.drain()
}

// drain waits for Kong to close the connection, as it does when the request is
// over, after an exit with log lines before it: Kong answers those, and were the
// connection closed by then it would fail with "closed" and send the same request
// again. To the exit it says nothing, and what it has not read yet of it stays
// readable. So else the connection is closed at once.
func (c *conn) drain() error {
	c.await()
	for {
		c.in.buf, c.in.at = c.in.buf[:0], 0
		if err := c.in.more(1); err != nil {
			if errors.Is(err, io.EOF) {
				err = errOver
			}
			return err
		}
	}
}

// endEvent ends the conversation without an answer to the client: the empty
// frame says that there is nothing more to ask.
func (c *conn) endEvent() error {
	return c.write(appendReturn(appendFrame(nil), &pb.RpcReturn{Sequence: c.sequence}))
}

// access calls the instance. A panic is this request's alone: it is answered,
// and never by closing the connection, because then Kong would send the same
// request again, without limit.
func (c *conn) access(in *instance) {
	defer c.x.unreserve()
	defer func() {
		if v := recover(); v != nil {
			c.server.log.Error("a request has panicked; the server goes on", "panic", v, "stack", string(debug.Stack()))
			if !c.x.exited {
				c.server.answer(&c.x, plugin.Panic.Response())
			}
		}
	}()
	in.access(&c.x)
}

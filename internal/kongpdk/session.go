package kongpdk

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"time"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/plugin"
)

// session is one connection from a worker of Kong, without its I/O: a driver reads into its
// buffer, calls step, writes s.send, and does the action. A worker keeps a few connections
// for its commands, and every request that is answered ends one.
type session struct {
	server   *Server
	driver   driver // that serves the session now
	blocking bool   // the driver's goroutine serves no other session
	in       buffer
	send     []byte // to be written before the action; read-only

	state   state
	frame   span // of the command
	command command
	err     error // why the session has ended
	quiet   bool  // the session ended between two commands, as is usual

	// Of the current event.
	x        Exchange
	instance *instance
	limits   []int // of the sizes of the replies to the last calls
	first    int   // the number of the first of these replies
	skip     int   // how many bytes of a reply are still to be skipped
}

// driver serves a session.
type driver interface {
	// detach makes the calling goroutine the session's own, unless it is already, and returns
	// the driver that serves the session from then on.
	detach() *netConn
	// deferral returns the deferral of the session's request.
	deferral() *deferral
}

// action is what a driver must do next for a session, after writing s.send.
type action uint8

const (
	read   action = iota // read into s.in, and step again
	begin                // a command has come: begin it with s.begin, or close the connection
	detach               // give the session a goroutine of its own, and step again
	run                  // call s.run, and step again
	wait                 // for the deferred answer: call s.answer, and step again
	done                 // the command is done: step again, or close the connection
	end                  // close the connection, because of s.err
)

// state is what a session waits for, or what step must do.
type state uint8

const (
	idle      state = iota // for a command
	received               // to parse the command
	replies                // for the replies to calls
	ready                  // to run the command
	performed              // the command is done
	deferred               // the event was handled, and its answer comes later
	handled                // the event was handled, and its answer is there, if it has one
	answered               // the client was answered: for Kong to close the connection
	ended
)

// maxInLoop is how many bytes a connection may have received for its request to be
// handled in a loop: the message of more alone would hold up the others.
const maxInLoop = 64 << 10

var (
	// errUnknownInstance ends the connection before any call, which makes Kong start the
	// instance again and resend the event.
	errUnknownInstance = errors.New("unknown instance")
	errDone            = errors.New("the request is over")
	errUnfinished      = errors.New("the rest of a command did not arrive in time")
	errSilent          = errors.New("the peer neither sent nor read anything while the server shut down")
)

// hasCommand reports whether the session has a command to do.
func (s *session) hasCommand() bool { return s.state != idle }

// began returns when the current command came.
func (s *session) began() time.Time { return s.x.began }

// begin begins the command that has come at that time.
func (s *session) begin(now time.Time) {
	s.state = received
	s.x.begin(s, now)
}

// step goes as far as the received bytes allow, and returns the next action. s.send must be
// written before that.
func (s *session) step() action {
	for {
		switch s.state {
		case idle:
			s.in.next()
			var err error
			switch s.frame, err = s.in.frame(maxCommand); err {
			case nil:
				return begin
			case errMore:
				return read
			}
			return s.fail(err)

		case received:
			if err := s.take(); err != nil {
				return s.fail(err)
			}

		case replies:
			if act, err := s.readReplies(); err != nil {
				return s.fail(fmt.Errorf("reading Kong's reply: %w", err))
			} else if act != run {
				return act
			}
			if s.instance.nextCalls != nil {
				if more := s.instance.nextCalls(&s.x); more != nil {
					s.call(more)
					continue
				}
			}
			s.state = ready

		case ready:
			slow := s.command.kind != cmdHandleEvent || len(s.in.buf) > maxInLoop
			if slow && !s.blocking {
				return detach
			}
			return run

		case deferred:
			return wait

		case handled:
			switch {
			case !s.x.exited:
				s.endEvent()
				continue
			case !s.x.logged:
				return s.fail(errDone)
			}
			// Kong replies to log lines. If the connection is closed by then, Kong fails
			// with "closed" and sends the same request again. To an exit it replies
			// nothing, and can still read it after the close.
			s.state = answered
		case performed:
			s.state = idle
			return done

		case answered:
			s.in.clear()
			return read

		default:
			return end
		}
	}
}

// fail ends the session.
func (s *session) fail(err error) action {
	s.quiet = s.state == idle
	s.state, s.err = ended, err
	return end
}

// take parses the command that has come, and sends the calls of an event.
func (s *session) take() (err error) {
	if s.command, err = parseCommand(s.in.bytes(s.frame)); err != nil {
		return err
	}
	if s.command.kind != cmdHandleEvent {
		s.state = ready
		return nil
	}
	id, name, err := parseEvent(s.command.body)
	if err != nil {
		return err
	}
	if s.instance = s.server.instances.get(id); s.instance == nil {
		return errUnknownInstance
	}
	if string(name) != phase {
		s.endEvent()
		return nil
	}
	s.call(s.instance.calls)
	return nil
}

// call sends calls, and has the session wait for their replies. Where a peer has sent the
// replies before the calls, earlier ones may not be written yet.
func (s *session) call(c *calls) {
	if len(s.send) == 0 {
		s.send = c.frames
	} else {
		s.send = append(slices.Clip(s.send), c.frames...)
	}
	s.limits, s.first, s.state = c.limits, len(s.x.replies), replies
}

// endEvent ends the event without an answer to the client: the empty frame tells Kong that
// no call follows.
func (s *session) endEvent() {
	s.send = appendReturn(appendFrame(nil), &pb.RpcReturn{Sequence: s.command.sequence})
	s.state = performed
}

// Marks of replies that were discarded.
var (
	replyTooLarge = span{-1, -1}
	replyNoMemory = span{-2, -2}
)

// readReplies reads the replies that have not been read yet. It returns run once all have.
func (s *session) readReplies() (action, error) {
	for {
		if s.skip > 0 {
			if s.skip = s.in.skip(s.skip); s.skip > 0 {
				if !s.blocking {
					return detach, nil
				}
				return read, nil
			}
		}
		i := len(s.x.replies) - s.first
		if i == len(s.limits) {
			return run, nil
		}
		f, err := s.in.frame(s.limits[i])
		if err == errMore {
			return read, nil
		}
		if err != nil {
			if _, ok := errors.AsType[frameSizeError](err); ok {
				f = replyTooLarge
			} else if errors.Is(err, memory.ErrFull) {
				f = replyNoMemory
			}
			if s.skip, err = s.in.unread(); err != nil {
				return end, err
			}
		}
		s.x.replies = append(s.x.replies, f)
	}
}

// run runs the command. A panic of an event's handler is answered; a panic of another
// command ends only this session.
func (s *session) run() {
	if s.command.kind == cmdHandleEvent {
		s.access()
		if s.state = handled; s.x.later != nil {
			s.state = deferred
		}
		return
	}
	defer func() {
		if v := recover(); v != nil {
			s.server.log.Error("panic while running a command from Kong; the server continues", "panic", v, "stack", string(debug.Stack()))
			s.fail(errDone)
		}
	}()
	ret, err := s.server.perform(&s.command)
	if err != nil {
		s.fail(err)
		return
	}
	s.send, s.state = appendReturn(nil, ret), performed
}

// access lets the instance handle the event. A panic concerns only this request: the client
// gets an answer. The connection is never closed instead, because then Kong would send the
// same request again, without limit.
func (s *session) access() {
	x := &s.x
	defer x.unreserve()
	defer func() {
		if v := recover(); v != nil {
			s.server.log.Error("panic while handling a request; the server continues", "panic", v, "stack", string(debug.Stack()))
			x.later = nil
			x.exit(plugin.Panic.Response())
		}
	}()
	s.instance.access(x)
}

// answer answers the event with its deferred answer.
func (s *session) answer(a plugin.Response) {
	s.x.later = nil
	s.x.exit(a)
	s.state = handled
}

// sent is called when s.send was written. It counts the answer only then: a client whose
// connection broke got none.
func (s *session) sent() {
	s.send = nil
	if s.x.exited && !s.x.counted {
		s.x.counted = true
		s.server.plugin.Answered(s.x.reason, time.Since(s.x.began))
	}
}

// unsent ends the session because its connection can no longer be written.
func (s *session) unsent(err error) {
	switch {
	case s.state == replies:
		err = fmt.Errorf("calling Kong: %w", err)
	case s.x.exited:
		err = fmt.Errorf("answering: %w", err)
	}
	s.fail(err)
	s.quiet = false
}

// unread ends the session because its connection can no longer be read.
func (s *session) unread(err error) {
	if errors.Is(err, io.EOF) && (s.skip > 0 || s.in.pending() > 0) {
		err = io.ErrUnexpectedEOF
	}
	switch {
	case s.state == answered && errors.Is(err, io.EOF):
		err = errDone
	case s.state == idle && errors.Is(err, os.ErrDeadlineExceeded) && s.in.pending() > 0:
		err = errUnfinished
	case s.state == replies:
		err = fmt.Errorf("reading Kong's reply: %w", err)
	}
	s.fail(err)
}

// recovered is deferred by drivers. A panic in neither a request nor a command ends only this
// session.
func (s *session) recovered() {
	if v := recover(); v != nil {
		s.server.log.Error("panic while serving a connection; the server continues", "panic", v, "stack", string(debug.Stack()))
		s.fail(errDone)
	}
}

// report logs why the session has ended, unless it is the usual end.
func (s *session) report() {
	_, notKong := errors.AsType[frameSizeError](s.err)
	switch log := s.server.log; {
	case notKong:
		log.Error("closing a connection: its peer does not speak Kong's protocol", "error", s.err)
	case errors.Is(s.err, errUnknownInstance):
		log.Info("Kong named an unknown instance, and will start it again")
	case errors.Is(s.err, errUnfinished), s.quiet && errors.Is(s.err, memory.ErrFull):
		log.Warn("closing a connection from Kong", "error", s.err)
	case s.quiet, errors.Is(s.err, errDone), errors.Is(s.err, net.ErrClosed), errors.Is(s.err, os.ErrClosed):
	default:
		log.Warn("a connection from Kong ended early", "error", s.err)
	}
}

// reset prepares the session for another connection, and keeps its memory.
func (s *session) reset() {
	in := s.in
	in.clear()
	*s = session{server: s.server, in: in, x: Exchange{replies: s.x.replies[:0], out: s.x.out}}
}

package kongpdk

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// sweepsPerEvent is how often, within eventTimeout, a loop looks for requests that take
	// too long.
	sweepsPerEvent = 13
	// maxAccepts is how many connections are accepted before the open ones are served again.
	maxAccepts = 32
	// One loop serves some 50,000 requests a second, which take several cores of Kong's: only
	// machines with many cores need more loops.
	coresPerLoop = 4
	maxLoops     = 8
	// maxFree is how many connections' memory a loop keeps for the next ones.
	maxFree = 256
)

// loop serves connections with epoll(7), by one goroutine at a time. Each step is short. A
// request that may block keeps the goroutine, and another one runs the loop from then on: see
// loopConn.detach. So after each step the goroutine must check whether it still runs the loop,
// and touch nothing of it if not.
type loop struct {
	server   *Server
	epoll    int
	listener int         // -1 once it is closed
	conns    []*loopConn // by file descriptor
	freeList []*loopConn
	accepted []*loopConn // not registered with epoll yet; those before seen are done
	seen     int
	handled  int // events of the last round
	swept    time.Time
	paused   time.Time // not accepting until then, unless zero
	full     bool      // not accepting until there is a slot
	reaped   time.Time // when idle connections were last closed, while full
	deadline time.Time // for peers, while the server shuts down
	events   [128]unix.EpollEvent

	open     atomic.Int64 // connections
	stopping atomic.Bool
	forced   atomic.Bool   // all connections are to be closed
	reap     atomic.Bool   // idle connections are to be closed
	done     chan struct{} // closed at the end
	err      error         // why it ended, unless it was stopped

	deliver    func(*deferral) // the method answered
	answers    []*deferral     // taken from arrived; those before nextAnswer are done
	nextAnswer int

	mu      sync.Mutex
	wakeFD  int         // an eventfd(2) that ends the wait
	arrived []*deferral // have their answer
	closed  bool
}

var _ acceptor = (*loop)(nil)

// serveLoops serves the connections to the listener, which it closes. It reports false if the
// listener cannot be served by loops.
func (s *Server) serveLoops(u *net.UnixListener) (served bool, err error) {
	raw, err := u.SyscallConn()
	if err != nil {
		return false, err
	}
	var loops []*loop
	var acceptors []acceptor
	closed := raw.Control(func(listener uintptr) {
		for range cmp.Or(s.loops, max(1, min(runtime.GOMAXPROCS(0)/coresPerLoop, maxLoops))) {
			var l *loop
			if l, err = newLoop(s, int(listener)); err != nil {
				return
			}
			loops, acceptors = append(loops, l), append(acceptors, l)
		}
	})
	err = cmp.Or(err, closed)
	served = err == nil
	if served {
		// While this listener is open, Go's own poller is woken for each connection, too.
		u.SetUnlinkOnClose(false)
		_ = u.Close()
	}
	if !served || !s.add(len(loops), acceptors...) {
		for _, l := range loops {
			l.closeFiles()
		}
		return served, err
	}
	for _, l := range loops {
		go l.run()
	}
	for _, l := range loops {
		<-l.done
		err = errors.Join(err, l.err)
	}
	return true, err
}

func newLoop(s *Server, listener int) (*loop, error) {
	l := &loop{server: s, listener: -1, epoll: -1, wakeFD: -1, swept: time.Now(), done: make(chan struct{})}
	l.deliver = l.answered
	var err error
	if l.listener, err = unix.FcntlInt(uintptr(listener), unix.F_DUPFD_CLOEXEC, 0); err == nil {
		err = unix.SetNonblock(l.listener, true)
	}
	if err == nil {
		l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	}
	if err == nil {
		l.wakeFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	}
	if err == nil {
		err = errors.Join(l.listen(), l.add(l.wakeFD, unix.EPOLLIN))
	}
	if err != nil {
		l.closeFiles()
		return nil, fmt.Errorf("preparing to serve connections: %w", err)
	}
	return l, nil
}

// listen registers the listener with epoll, which then wakes one loop for each connection, not
// all.
func (l *loop) listen() error { return l.add(l.listener, unix.EPOLLIN|unix.EPOLLEXCLUSIVE) }

func (l *loop) add(fd int, events uint32) error {
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// stop implements acceptor.
func (l *loop) stop() {
	l.stopping.Store(true)
	l.wake()
}

// forceClose implements acceptor.
func (l *loop) forceClose() int {
	open := l.open.Load()
	l.forced.Store(true)
	l.wake()
	return int(open)
}

// resume implements acceptor.
func (l *loop) resume() { l.wake() }

// reapIdle implements acceptor.
func (l *loop) reapIdle() {
	l.reap.Store(true)
	l.wake()
}

// answered is called with a deferral that has its answer. The loop is woken for the first one,
// and finds those that follow closely with it.
func (l *loop) answered(d *deferral) {
	l.mu.Lock()
	l.arrived = append(l.arrived, d)
	first := len(l.arrived) == 1
	l.mu.Unlock()
	if first {
		l.wake()
	}
}

// answerDeferred sends the deferred answers that have come. It reports false if another
// goroutine runs the loop by now.
func (l *loop) answerDeferred() bool {
	for {
		if l.nextAnswer == len(l.answers) {
			clear(l.answers)
			l.mu.Lock()
			l.answers, l.arrived, l.nextAnswer = l.arrived, l.answers[:0], 0
			l.mu.Unlock()
			if len(l.answers) == 0 {
				return true
			}
		}
		d := l.answers[l.nextAnswer]
		l.nextAnswer++
		// The session may serve another connection by now, or be another goroutine's.
		p, ok := d.session.driver.(*loopConn)
		if !ok || p.s.x.later != d {
			continue
		}
		if !l.deadline.IsZero() { // for Kong's replies to log lines
			l.deadline = time.Now().Add(l.server.endTimeout)
		}
		p.s.answer(d.answer)
		if !l.serve(p, 0) {
			return false
		}
	}
}

func (l *loop) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		_, _ = unix.Write(l.wakeFD, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// run runs the loop, until it ends or another goroutine runs it.
func (l *loop) run() {
	for {
		// The work that remains of the last round is done here, because another goroutine may
		// have run that round, and returned in the middle of it.
		if !l.answerDeferred() || !l.registerAccepted() {
			return
		}
		if l.stopping.Load() && l.ending() {
			l.end(nil)
			return
		}
		if l.reap.Load() && !l.closeIdle() {
			return
		}
		l.acceptAgain()
		l.sweep()
		n, err := l.wait()
		if err != nil {
			l.end(err)
			return
		}
		l.handled = n
		for i := range n {
			ev := &l.events[i]
			switch fd := int(ev.Fd); fd {
			case l.listener:
				if !l.accept() {
					return
				}
			case l.wakeFD:
				var b [8]byte
				_, _ = unix.Read(fd, b[:])
			default:
				// A connection that was detached or closed since has no entry, or the next
				// connection has it: that one finds nothing to read, which does no harm.
				if p := l.conns[fd]; p != nil && !l.serve(p, ev.Events) {
					return
				}
			}
		}
	}
}

func (l *loop) wait() (int, error) {
	timeout := -1
	switch {
	case !l.paused.IsZero():
		timeout = int(shortageTime / time.Millisecond)
	case l.full:
		timeout = int(reapInterval / time.Millisecond)
	case !l.deadline.IsZero():
		timeout = int(max(time.Until(l.deadline), 0)/time.Millisecond) + 1
	case l.open.Load() > 0:
		timeout = int(l.sweepTime() / time.Millisecond)
	}
	for {
		n, err := unix.EpollWait(l.epoll, l.events[:], timeout)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// accept accepts the waiting connections. It reports false if another goroutine runs the loop
// by now.
func (l *loop) accept() bool {
	for range maxAccepts {
		if !l.server.slots.take() {
			l.full = true
			_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, l.listener, nil)
			l.server.wait()
			return true
		}
		fd, ok := l.accept1()
		if !ok {
			l.server.slots.release()
			return true
		}
		// Kong has usually sent its command by now.
		if !l.serve(l.connOf(fd), 0) {
			return false
		}
	}
	return true
}

// acceptAgain resumes accepting connections if a slot is free. Until then it makes sure
// that idle connections are closed.
func (l *loop) acceptAgain() {
	if !l.full {
		return
	}
	if l.server.slots.free() {
		l.full = false
		l.server.slots.waiting.Add(-1)
		if l.listen() != nil {
			l.paused = time.Now() // sweep tries again
		}
		return
	}
	if now := time.Now(); now.Sub(l.reaped) >= reapInterval {
		l.reaped = now
		l.server.reapIdle()
	}
}

// closeIdle closes the connections that were idle at its last call and have been since.
// It reports false if another goroutine runs the loop by now.
func (l *loop) closeIdle() bool {
	l.reap.Store(false)
	for fd, p := range l.conns {
		switch {
		case p == nil || p.used():
		case !p.idleSeen:
			p.idleSeen = true
		case !l.serve(p, 0): // a command that has come meanwhile is done
			return false
		case l.conns[fd] == p && p.idleSeen && !p.used():
			l.drop(p)
		}
	}
	return true
}

// accept1 accepts one connection. It reports false if there is none, or none can be accepted
// for now.
func (l *loop) accept1() (fd int, ok bool) {
	for {
		// accept4(2) by hand, because unix.Accept4 allocates an address each time.
		r, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(l.listener), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch errno {
		case 0:
			return int(r), true
		case unix.EAGAIN:
			return -1, false
		case unix.EINTR, unix.ECONNABORTED:
		default:
			// A shortage of files or memory is temporary, and nothing else can be done about
			// other errors.
			l.server.log.Error(shortage, "error", errno)
			_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, l.listener, nil)
			l.paused = time.Now().Add(shortageTime)
			return -1, false
		}
	}
}

func (l *loop) connOf(fd int) *loopConn {
	var p *loopConn
	if n := len(l.freeList); n > 0 {
		p, l.freeList = l.freeList[n-1], l.freeList[:n-1]
		p.s.reset()
	} else {
		p = &loopConn{s: &session{server: l.server, in: buffer{buf: getBuffer(), memory: l.server.Memory}}}
	}
	*p = loopConn{loop: l, s: p.s, fd: fd}
	p.s.driver = p
	for fd >= len(l.conns) {
		l.conns = append(l.conns, nil)
	}
	l.conns[fd] = p
	l.open.Add(1)
	return p
}

// forget removes a connection from the loop.
func (l *loop) forget(p *loopConn) {
	if p.added {
		_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, p.fd, nil)
	}
	l.conns[p.fd] = nil
	l.open.Add(-1)
}

// drop closes a connection, which also removes it from epoll.
func (l *loop) drop(p *loopConn) {
	l.conns[p.fd] = nil
	l.open.Add(-1)
	p.unregistered = false
	p.s.x.later = nil // its answer finds nobody
	_ = unix.Close(p.fd)
	l.server.release()
	if len(l.freeList) >= maxFree || cap(p.s.in.buf) > bufferFree {
		p.s.in.release()
		return
	}
	l.freeList = append(l.freeList, p)
}

// serve continues with a connection. It reports false if another goroutine runs the loop by
// now; this goroutine has then served the connection to its end.
func (l *loop) serve(p *loopConn, events uint32) bool {
	more := false
	if p.s.state == deferred && events != 0 {
		// Nothing is read before the answer is there, so epoll would report it again and again.
		// That the peer has hung up shows when the answer is written.
		p.added = false
		_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, p.fd, nil)
		return true
	}
	if p.s.state == answered && events&unix.EPOLLHUP != 0 {
		p.s.fail(errDone) // the usual end, which need not be read
	} else {
		p.readable = true
		more = p.serve()
	}
	if c := p.own; c != nil {
		if more {
			c.serve()
		} else {
			p.s.report()
		}
		l.server.end(c)
		return false
	}
	switch {
	case !more:
		p.s.report()
		l.drop(p)
	case !p.added && !p.unregistered && p.s.state != deferred:
		p.unregistered = true
		l.accepted = append(l.accepted, p)
	}
	return true
}

// registerAccepted adds this round's unfinished connections to epoll. In a round with several
// events, it reads each once more first: the replies have often arrived by then, which saves
// the epoll_ctl. It reports false if another goroutine runs the loop by now.
func (l *loop) registerAccepted() bool {
	for l.seen < len(l.accepted) {
		p := l.accepted[l.seen]
		l.seen++
		if p.own != nil || !p.unregistered {
			continue // detached, or closed; if it serves another connection by now, that has its own entry
		}
		if l.handled > 1 && !l.serve(p, 0) {
			return false
		}
		if !p.unregistered {
			continue
		}
		if p.s.state == deferred {
			p.unregistered = false
			continue
		}
		p.unregistered, p.added = false, true
		if err := l.add(p.fd, unix.EPOLLIN); err != nil {
			p.s.fail(err)
			p.s.report()
			l.drop(p)
		}
	}
	l.accepted, l.seen = l.accepted[:0], 0
	return true
}

// ending closes idle connections. It reports whether none is open any more.
func (l *loop) ending() bool {
	if l.listener >= 0 {
		l.refuse()
		_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, l.listener, nil)
		_ = unix.Close(l.listener)
		l.listener, l.paused = -1, time.Time{}
		if l.full {
			l.full = false
			l.server.slots.waiting.Add(-1)
		}
		l.deadline = time.Now().Add(l.server.endTimeout)
	}
	forced := l.forced.Load()
	now := time.Now()
	silent := !now.Before(l.deadline) // the remaining connections wait for their peers, or for a deferred answer
	if silent {
		l.deadline = now.Add(l.server.endTimeout)
	}
	for _, p := range l.conns {
		switch {
		case p == nil:
		case forced:
			l.drop(p)
		case p.s.state == deferred:
			p.stopping = true
		case silent:
			l.server.log.Warn("closing a connection from Kong", "error", errSilent)
			l.drop(p)
		case p.s.hasCommand():
			p.stopping = true
		default:
			l.dropIdle(p)
		}
	}
	return l.open.Load() == 0
}

// refuse accepts the connections in the socket's backlog and ends them as dropIdle does. The
// kernel would reset those that stay in the backlog.
func (l *loop) refuse() {
	for {
		fd, ok := l.accept1()
		if !ok {
			return
		}
		l.server.slots.taken.Add(1) // beyond the limit, for a moment
		l.dropIdle(l.connOf(fd))
	}
}

// dropIdle closes an idle connection. It reads a command that has come meanwhile, without
// doing it: the kernel resets a connection that is closed with unread data, and Kong sends a
// command to the successor only if its connection was closed, not reset. If a part of a
// command has come, dropIdle waits for the rest.
func (l *loop) dropIdle(p *loopConn) {
	p.stopping, p.readable = true, true
	switch more := p.serve(); {
	case !more, p.s.in.pending() == 0:
		l.drop(p)
	case !p.added:
		if p.added = true; l.add(p.fd, unix.EPOLLIN) != nil {
			l.drop(p)
		}
	}
}

func (l *loop) sweepTime() time.Duration {
	return min(l.server.eventTimeout/sweepsPerEvent, l.server.commandTimeout/3)
}

// sweep ends requests and incomplete commands that take too long, and resumes accepting
// connections after a shortage.
func (l *loop) sweep() {
	if l.paused.IsZero() && len(l.conns) == 0 {
		return
	}
	now := time.Now()
	if !l.paused.IsZero() && now.After(l.paused) && l.listen() == nil {
		l.paused = time.Time{}
	}
	if now.Sub(l.swept) < l.sweepTime() {
		return
	}
	l.swept = now
	for _, p := range l.conns {
		switch {
		case p == nil:
		case p.s.hasCommand():
			if now.Sub(p.s.began()) > l.server.eventTimeout {
				l.server.log.Warn("a connection from Kong ended early", "error", fmt.Sprintf("its request took more than %v", l.server.eventTimeout))
				l.drop(p)
			}
		case p.s.in.pending() == 0:
		case p.partial.IsZero():
			p.partial = now
		case now.Sub(p.partial) >= l.server.commandTimeout:
			p.s.fail(errUnfinished)
			p.s.report()
			l.drop(p)
		}
	}
}

func (l *loop) end(err error) {
	if err != nil {
		l.err = fmt.Errorf("waiting for connections: %w", err)
	}
	for _, p := range l.conns {
		if p != nil {
			l.drop(p)
		}
	}
	l.closeFiles()
	close(l.done)
	l.server.serving.Done()
}

func (l *loop) closeFiles() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, fd := range []int{l.epoll, l.wakeFD, l.listener} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

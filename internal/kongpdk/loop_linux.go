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
	// sweeps is how often a loop looks for requests that take too long, in the
	// time that one may take.
	sweeps = 13
	// acceptMost is how many connections are accepted before the others have
	// their turn.
	acceptMost = 32
	// One loop serves some 50,000 requests a second, and so many take several
	// cores of Kong's: a machine has more loops only where it has many cores.
	coresPerLoop = 4
	mostLoops    = 8
	// spareMost is how many connections' memory a loop keeps for the next ones.
	spareMost = 256
)

// loop serves connections, by one goroutine at a time, with epoll(7). All that
// it does at once is short. A request that takes long takes the goroutine with
// it, see polled.leave: whoever runs the loop must look whether it still does
// after each step, and touch nothing of it if not.
type loop struct {
	server   *Server
	epoll    int
	listener int     // -1 once it is closed
	conns    []*conn // by file descriptor
	spare    []*conn
	fresh    []*conn // accepted, and epoll not told yet; those before seen are done
	seen     int
	handled  int // events of the last round
	swept    time.Time
	paused   time.Time // not accepting until then, unless zero
	full     bool      // not accepting until there is a slot
	relieved time.Time // when idle connections were looked for, while full
	deadline time.Time // for peers, while the server shuts down
	events   [128]unix.EpollEvent

	open     atomic.Int64 // connections
	stopping atomic.Bool
	cutting  atomic.Bool
	relief   atomic.Bool   // idle connections are to be closed
	done     chan struct{} // closed at the end
	err      error         // why it ended, unless it was stopped

	mu     sync.Mutex
	wake   int // an eventfd(2) that ends the waiting
	closed bool
}

var _ part = (*loop)(nil)

// serveLoops serves what connects to the listener, which it closes. It reports
// false if there can be no loops on it.
func (s *Server) serveLoops(u *net.UnixListener) (served bool, err error) {
	raw, err := u.SyscallConn()
	if err != nil {
		return false, err
	}
	var loops []*loop
	var parts []part
	closed := raw.Control(func(listener uintptr) {
		for range cmp.Or(s.loops, max(1, min(runtime.GOMAXPROCS(0)/coresPerLoop, mostLoops))) {
			var l *loop
			if l, err = newLoop(s, int(listener)); err != nil {
				return
			}
			loops, parts = append(loops, l), append(parts, l)
		}
	})
	err = cmp.Or(err, closed)
	served = err == nil
	if served {
		// While this one is open Go's own poller is told of each connection, too.
		u.SetUnlinkOnClose(false)
		_ = u.Close()
	}
	if !served || !s.add(len(loops), parts...) {
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
	l := &loop{server: s, listener: -1, epoll: -1, wake: -1, swept: time.Now(), done: make(chan struct{})}
	var err error
	if l.listener, err = unix.FcntlInt(uintptr(listener), unix.F_DUPFD_CLOEXEC, 0); err == nil {
		err = unix.SetNonblock(l.listener, true)
	}
	if err == nil {
		l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	}
	if err == nil {
		l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	}
	if err == nil {
		err = errors.Join(l.listen(), l.add(l.wake, unix.EPOLLIN))
	}
	if err != nil {
		l.closeFiles()
		return nil, fmt.Errorf("preparing to serve connections: %w", err)
	}
	return l, nil
}

// listen has the loop told of connections to be accepted: one loop for each, not all.
func (l *loop) listen() error { return l.add(l.listener, unix.EPOLLIN|unix.EPOLLEXCLUSIVE) }

func (l *loop) add(fd int, events uint32) error {
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// stop implements part.
func (l *loop) stop() {
	l.stopping.Store(true)
	l.awake()
}

// cut implements part.
func (l *loop) cut() int {
	left := l.open.Load()
	l.cutting.Store(true)
	l.awake()
	return int(left)
}

// resume implements part.
func (l *loop) resume() { l.awake() }

// relieve implements part.
func (l *loop) relieve() {
	l.relief.Store(true)
	l.awake()
}

func (l *loop) awake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// run runs the loop, until it ends or another goroutine runs it.
func (l *loop) run() {
	for {
		// What the last round has left to do is done here, because it may have been
		// another goroutine's, which returned in the middle of it.
		if !l.settle() {
			return
		}
		if l.stopping.Load() && l.ending() {
			l.end(nil)
			return
		}
		if l.relief.Load() && !l.closeIdle() {
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
			case l.wake:
				var b [8]byte
				_, _ = unix.Read(fd, b[:])
			default:
				// A connection that left or ended since has no entry, or the next
				// one has it: that finds nothing to read, and no harm is done.
				if c := l.conns[fd]; c != nil && !l.proceed(c, ev.Events) {
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
		timeout = int(relieveTime / time.Millisecond)
	case !l.deadline.IsZero():
		timeout = int(max(time.Until(l.deadline), 0)/time.Millisecond) + 1
	case l.open.Load() > 0:
		timeout = int(l.sweepTime() / time.Millisecond)
	}
	for {
		n, err := unix.EpollWait(l.epoll, l.events[:], timeout)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// accept takes up the connections that wait. It reports false if another
// goroutine runs the loop by now.
func (l *loop) accept() bool {
	for range acceptMost {
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
		// Kong has sent its command by now, as a rule.
		if !l.proceed(l.connOf(fd), 0) {
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
	if now := time.Now(); now.Sub(l.relieved) >= relieveTime {
		l.relieved = now
		l.server.relieve()
	}
}

// closeIdle closes the connections that were idle at its last call and have been since.
// It reports false if another goroutine runs the loop by now.
func (l *loop) closeIdle() bool {
	l.relief.Store(false)
	for fd, c := range l.conns {
		switch {
		case c == nil || c.busy || len(c.in.buf) > 0:
		case !c.idleSeen:
			c.idleSeen = true
		case !l.proceed(c, 0): // a command that has come meanwhile is taken up
			return false
		case l.conns[fd] == c && c.idleSeen && !c.busy && len(c.in.buf) == 0:
			l.drop(c)
		}
	}
	return true
}

// accept1 accepts one connection. It reports false if there is none, or none can be
// accepted for the moment.
func (l *loop) accept1() (fd int, ok bool) {
	for {
		// accept4(2) by hand, because unix.Accept4 makes an address each time.
		r, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(l.listener), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch errno {
		case 0:
			return int(r), true
		case unix.EAGAIN:
			return -1, false
		case unix.EINTR, unix.ECONNABORTED:
		default:
			// Nothing can be mended here but a shortage, which passes.
			l.server.log.Error(shortage, "error", errno)
			_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, l.listener, nil)
			l.paused = time.Now().Add(shortageTime)
			return -1, false
		}
	}
}

func (l *loop) connOf(fd int) *conn {
	var c *conn
	if n := len(l.spare); n > 0 {
		c, l.spare = l.spare[n-1], l.spare[:n-1]
	} else {
		c = &conn{server: l.server, poll: new(polled), in: reader{buf: getBuffer(), memory: l.server.Memory}}
	}
	*c.poll = polled{loop: l, conn: c, fd: fd}
	c.nc, c.in.src = c.poll, c.poll
	for fd >= len(l.conns) {
		l.conns = append(l.conns, nil)
	}
	l.conns[fd] = c
	l.open.Add(1)
	return c
}

// forget takes a connection out of the loop.
func (l *loop) forget(p *polled) {
	if p.added {
		_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, p.fd, nil)
	}
	l.conns[p.fd] = nil
	l.open.Add(-1)
}

// drop closes a connection, by which epoll forgets it.
func (l *loop) drop(c *conn) {
	l.conns[c.poll.fd] = nil
	l.open.Add(-1)
	c.poll.fresh = false
	_ = c.nc.Close()
	l.server.release()
	if len(l.spare) >= spareMost || cap(c.in.buf) > bufferFree {
		c.in.release()
		return
	}
	c.in.buf, c.in.at = c.in.buf[:0], 0
	c.busy, c.stopping, c.idleSeen, c.uidRead = false, false, false, false
	l.spare = append(l.spare, c)
}

// proceed goes on with a connection. It reports false if another goroutine runs
// the loop by now; this one has served the connection to its end then.
func (l *loop) proceed(c *conn, events uint32) bool {
	p := c.poll
	var err error
	if p.exited && events&unix.EPOLLHUP != 0 {
		err = errOver // as it should be: no need to read it
	} else {
		p.ready = true
		err = p.proceed()
	}
	if c.poll == nil {
		defer c.server.end(c)
		switch {
		case err != nil:
			c.report(err)
		case c.end():
			c.serve()
		}
		return false
	}
	switch {
	case err != errAgain:
		c.report(err)
		l.drop(c)
	case !p.added && !p.fresh:
		p.fresh = true
		l.fresh = append(l.fresh, c)
	}
	return true
}

// settle tells epoll of the connections that were accepted in this round and have
// more to come. When there was much to do meanwhile they are looked at once more
// before: often the replies are here by then, and the request is over without
// epoll. It reports as proceed does.
func (l *loop) settle() bool {
	for l.seen < len(l.fresh) {
		c := l.fresh[l.seen]
		l.seen++
		p := c.poll
		if p == nil || !p.fresh {
			continue // it has left or ended since; if it is another by now, it comes again
		}
		if l.handled > 1 && !l.proceed(c, 0) {
			return false
		}
		if c.poll != p || !p.fresh {
			continue
		}
		p.fresh, p.added = false, true
		if err := l.add(p.fd, unix.EPOLLIN); err != nil {
			c.report(err)
			l.drop(c)
		}
	}
	l.fresh, l.seen = l.fresh[:0], 0
	return true
}

// ending closes what is idle. It reports whether all is over.
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
	cutting := l.cutting.Load()
	silent := !time.Now().Before(l.deadline) // all remaining connections wait for their peers
	for _, c := range l.conns {
		switch {
		case c == nil:
		case cutting:
			l.drop(c)
		case silent:
			l.server.log.Warn("closing a connection of Kong", "error", errSilent)
			l.drop(c)
		case c.busy:
			c.stopping = true
		default:
			l.dropIdle(c)
		}
	}
	return l.open.Load() == 0
}

// refuse takes up the connections that nobody has accepted yet, for their end: the
// kernel would reset them.
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

// dropIdle closes a connection that does nothing. A command that has come
// meanwhile is read before, and not done: closed with something unread the
// connection would be reset, and Kong puts a command to our successor only where
// it was closed. One of which only a part has come is waited for.
func (l *loop) dropIdle(c *conn) {
	c.stopping, c.poll.ready = true, true
	switch err := c.poll.proceed(); {
	case err != errAgain, len(c.in.buf) == 0:
		l.drop(c)
	case !c.poll.added:
		if c.poll.added = true; l.add(c.poll.fd, unix.EPOLLIN) != nil {
			l.drop(c)
		}
	}
}

func (l *loop) sweepTime() time.Duration {
	return min(l.server.eventTimeout/sweeps, l.server.commandTimeout/3)
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
	for _, c := range l.conns {
		switch {
		case c == nil:
		case c.busy:
			if now.Sub(c.began) > l.server.eventTimeout {
				l.server.log.Warn("a connection of Kong ended early", "error", fmt.Sprintf("its request took more than %v", l.server.eventTimeout))
				l.drop(c)
			}
		case len(c.in.buf) == 0:
		case c.poll.partial.IsZero():
			c.poll.partial = now
		case now.Sub(c.poll.partial) >= l.server.commandTimeout:
			c.report(errUnfinished)
			l.drop(c)
		}
	}
}

func (l *loop) end(err error) {
	if err != nil {
		l.err = fmt.Errorf("waiting for connections: %w", err)
	}
	for _, c := range l.conns {
		if c != nil {
			l.drop(c)
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
	for _, fd := range []int{l.epoll, l.wake, l.listener} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

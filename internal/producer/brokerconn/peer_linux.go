package brokerconn

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// peer observes the other side of a TCP connection without reading from it.
type peer struct {
	raw    syscall.RawConn // nil: state unknown, as of a connection in memory
	events int16
	poll   func(fd uintptr)
}

type peerState int

const (
	quiet    peerState = iota
	readable           // there is something to read
	closed             // the peer has closed the connection, or its half of it
)

func (p *peer) init(nc net.Conn) {
	c, ok := nc.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	p.raw = raw
	fds := make([]unix.PollFd, 1)
	p.poll = func(fd uintptr) { // made once, because it is called for each request
		fds[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}
		p.events = 0
		if n, err := unix.Poll(fds, 0); n == 1 && err == nil {
			p.events = fds[0].Revents
		}
	}
}

// state returns the state without blocking.
func (p *peer) state() peerState {
	if p.raw == nil {
		return quiet
	}
	if err := p.raw.Control(p.poll); err != nil {
		return closed
	}
	switch {
	case p.events&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0:
		return closed
	case p.events&unix.POLLIN != 0:
		return readable
	}
	return quiet
}

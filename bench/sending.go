//go:build linux

package main

import (
	"fmt"
	"syscall"
	"unsafe"
)

// send sends a frame in two writes, as Kong does.
func (l *load) send(i int, f frame) error {
	s := &l.slots[i]
	if s.out != nil || s.more != nil { // after what is still to go
		s.more = append(s.more, f)
		return nil
	}
	for k, b := range [2][]byte{f.head, f.content} {
		if len(b) == 0 {
			continue
		}
		n, err := write(s.fd, b)
		if err != nil {
			return err
		}
		if n < len(b) {
			s.out = b[n:]
			if k == 0 && len(f.content) > 0 {
				s.more = append(s.more, frame{head: f.content})
			}
			return l.watch(i, syscall.EPOLLIN|syscall.EPOLLOUT|epollET)
		}
	}
	return nil
}

// flush sends what did not go out at once.
func (l *load) flush(i int) error {
	s := &l.slots[i]
	for s.out != nil {
		n, err := write(s.fd, s.out)
		if err != nil {
			return err
		}
		if s.out = s.out[n:]; len(s.out) > 0 {
			return nil
		}
		s.out = nil
	}
	more := s.more
	s.more = nil
	for _, f := range more {
		if err := l.send(i, f); err != nil {
			return err
		}
	}
	if s.out != nil {
		return nil
	}
	return l.watch(i, syscall.EPOLLIN|epollET)
}

func (l *load) watch(i int, events uint32) error {
	event := syscall.EpollEvent{Events: events, Fd: int32(i)}
	if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_MOD, l.slots[i].fd, &event); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// write writes what there is room for.
func write(fd int, b []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), syscall.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EAGAIN:
			return 0, nil
		case syscall.EINTR:
			continue
		}
		return 0, fmt.Errorf("writing to the plugin, which Kong would take for a reason to send the request again: %w", errno)
	}
}

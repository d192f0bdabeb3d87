//go:build linux

package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// job is what the load generator is to do.
type job struct {
	Socket string
	// Connections is how many requests are under way at any time.
	Connections int
	// Configs are the plugin configurations that requests are spread over, and
	// Workers how many of Kong's workers have an instance of each.
	Configs [][]byte
	Workers int
	// Instances are those of an earlier load, in place of new ones.
	Instances []int32
	Request   httpRequest
	// Warmup passes before anything is measured; then Measure is how long it is
	// measured, unless Count is set: then it is Count requests, and no warm-up.
	Warmup, Measure time.Duration
	Count           int64
	// UntilRefused ends it at the first answer other than 200.
	UntilRefused bool
	// Logs are welcome if set. Else a line for Kong's error log ends the run.
	Logs bool
}

// outcome is what the load generator saw.
type outcome struct {
	// Requests counts all of them, those of the warm-up included, and Answered
	// them by status.
	Requests int64
	Answered map[string]int64
	// Retries counts how often the listener's queue was full, and Logged the
	// lines for Kong's error log.
	Retries, Logged int64
	// Instances are those that requests were sent to.
	Instances []int32

	// The rest is of the time that was measured.
	Measured  int64 // requests answered
	Elapsed   time.Duration
	Latencies histogram
	CPU       time.Duration // of the load generator itself
}

// loadMain is the load generator in a process of its own: it reads a job from
// stdin and prints its outcome.
func loadMain(stdin io.Reader, stdout io.Writer) error {
	var j job
	if err := json.NewDecoder(stdin).Decode(&j); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	o, err := runLoad(j)
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(o)
}

// slot is a connection: Kong has one for each request under way.
type slot struct {
	fd    int
	began time.Time
	in    []byte // what has come and is not taken
	out   []byte // what did not go out at once
	more  []frame
}

type load struct {
	job
	outcome
	address  syscall.RawSockaddrUnix
	length   uintptr
	epoll    int
	replies  map[string]frame
	events   []frame // a HANDLE_EVENT for each instance
	next     int     // the instance whose turn it is
	slots    []slot
	waiting  []int // slots for which the listener's queue was full
	active   int
	stopping bool
	counting bool
	statuses [600]int64
}

// runLoad plays Kong's side: as many requests at a time as there are
// connections, each on a new one, in one thread, with as few system calls as
// Kong makes. It fails when the plugin does what would be an error in Kong.
func runLoad(j job) (*outcome, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	l := &load{job: j, replies: j.Request.replies(), slots: make([]slot, j.Connections)}
	if err := l.connect(); err != nil {
		return nil, err
	}
	if err := l.start(); err != nil {
		return nil, err
	}
	for _, id := range l.outcome.Instances {
		l.events = append(l.events, handleEvent(id))
	}
	var err error
	if l.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	defer syscall.Close(l.epoll)
	for i := range l.slots {
		l.slots[i] = slot{fd: -1, in: make([]byte, 0, 4096)}
	}
	defer func() {
		for i := range l.slots {
			if fd := l.slots[i].fd; fd >= 0 {
				syscall.Close(fd)
			}
		}
	}()
	if err := l.run(); err != nil {
		return nil, err
	}
	l.Answered = make(map[string]int64)
	for status, n := range l.statuses {
		if n > 0 {
			l.Answered[strconv.Itoa(status)] = n
		}
	}
	return &l.outcome, nil
}

func (l *load) connect() error {
	l.address.Family = syscall.AF_UNIX
	if len(l.Socket) >= len(l.address.Path) {
		return fmt.Errorf("the socket's path is too long: %s", l.Socket)
	}
	for i := range len(l.Socket) {
		l.address.Path[i] = int8(l.Socket[i])
	}
	l.length = unsafe.Offsetof(l.address.Path) + uintptr(len(l.Socket)) + 1
	return nil
}

// run drives all connections until the job is done and every request that was
// begun has been answered.
func (l *load) run() error {
	var events [256]syscall.EpollEvent
	began := time.Now()
	measured := began.Add(l.Warmup)
	if l.Count > 0 {
		measured = began
	}
	var stop time.Time
	for i := range l.slots {
		l.waiting = append(l.waiting, i)
	}
	last := began // time at which anything happened
	for {
		now := time.Now()
		if !l.counting && !l.stopping && !now.Before(measured) {
			cpu, err := cpuTime(0)
			if err != nil {
				return err
			}
			l.counting, l.CPU, measured, stop = true, -cpu, now, now.Add(l.Measure)
		}
		if l.counting && (l.stopping || l.Count == 0 && now.After(stop)) && (l.Count == 0 || l.active == 0) {
			l.counting, l.stopping = false, true
			cpu, err := cpuTime(0)
			if err != nil {
				return err
			}
			l.CPU += cpu
			l.Elapsed = now.Sub(measured)
		}
		if l.stopping && l.active == 0 {
			return nil
		}
		if now.Sub(last) > 20*time.Second {
			return fmt.Errorf("%d requests have had no answer for 20 s", l.active)
		}
		waiting := l.waiting
		l.waiting = l.waiting[:0]
		for _, i := range waiting {
			if err := l.begin(i); err != nil {
				return err
			}
		}
		timeout := 100
		if len(l.waiting) > 0 {
			timeout = 1
		}
		n, err := syscall.EpollWait(l.epoll, events[:], timeout)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		if n > 0 {
			last = now
		}
		for i := range max(n, 0) {
			if err := l.ready(int(events[i].Fd), events[i].Events); err != nil {
				return err
			}
		}
	}
}

// begin sends the next request on the slot, by a new connection.
func (l *load) begin(i int) error {
	if l.Count > 0 && l.Requests == l.Count {
		l.stopping = true
	}
	if l.stopping {
		return nil
	}
	s := &l.slots[i]
	if s.fd < 0 {
		fd, _, errno := syscall.RawSyscall(syscall.SYS_SOCKET, syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
		if errno != 0 {
			return fmt.Errorf("socket: %w", errno)
		}
		s.fd = int(fd)
		s.began = time.Now()
	}
	_, _, errno := syscall.RawSyscall(syscall.SYS_CONNECT, uintptr(s.fd), uintptr(unsafe.Pointer(&l.address)), l.length)
	if errno == syscall.EAGAIN { // the listener's queue is full
		l.Retries++
		l.waiting = append(l.waiting, i)
		return nil
	}
	if errno != 0 {
		return fmt.Errorf("connecting to the plugin: %w", errno)
	}
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | epollET, Fd: int32(i)}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_CTL, uintptr(l.epoll), syscall.EPOLL_CTL_ADD, uintptr(s.fd), uintptr(unsafe.Pointer(&event)), 0, 0); errno != 0 {
		return fmt.Errorf("epoll_ctl: %w", errno)
	}
	l.Requests++
	l.active++
	f := l.events[l.next]
	if l.next++; l.next == len(l.events) {
		l.next = 0
	}
	return l.send(i, f)
}

// epollET asks for an event when something changes, not while it is so: a
// system call less.
const epollET = 1 << 31

// ready goes on where the socket has something for us, or room.
func (l *load) ready(i int, events uint32) error {
	s := &l.slots[i]
	if events&syscall.EPOLLOUT != 0 {
		if err := l.flush(i); err != nil {
			return err
		}
	}
	if events&^uint32(syscall.EPOLLOUT) == 0 {
		return nil
	}
	for {
		if len(s.in) == cap(s.in) {
			s.in = append(s.in, make([]byte, cap(s.in))...)[:len(s.in)]
		}
		room := cap(s.in) - len(s.in)
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(s.in[len(s.in):cap(s.in)]))), uintptr(room), 0, 0, 0)
		switch {
		case errno == syscall.EAGAIN:
			return nil
		case errno == syscall.EINTR:
			continue
		case errno != 0:
			return fmt.Errorf("reading from the plugin: %w", errno)
		case n == 0:
			return errors.New("the plugin has closed the connection of a request before its answer: Kong would send the request again")
		}
		s.in = s.in[:len(s.in)+int(n)]
		over, err := l.take(i)
		if over || err != nil || int(n) < room {
			return err
		}
	}
}

const exitMethod = "kong.response.exit"

// take answers what the plugin has asked, in its order, and ends the request
// when it exits.
func (l *load) take(i int) (over bool, err error) {
	s := &l.slots[i]
	b := s.in
	for len(b) >= 4 {
		n := 4 + int(binary.LittleEndian.Uint32(b))
		if n == 4 {
			return false, errors.New("the plugin has ended a request without an exit")
		}
		end := n + 4
		if n <= maxFrame && len(b) >= end {
			end += int(binary.LittleEndian.Uint32(b[n:]))
		}
		if end > maxFrame {
			return false, fmt.Errorf("the plugin sends a frame of more than %d bytes: it does not speak Kong's protocol", maxFrame)
		}
		if len(b) < end {
			break
		}
		method, args := b[4:n], b[n+4:end]
		if string(method) == exitMethod {
			return true, l.exit(i, args)
		}
		f, ok := l.replies[string(b[:end])]
		if !ok {
			if !strings.HasPrefix(string(method), "kong.log.") {
				return false, fmt.Errorf("the plugin asks what this load generator has no reply to: %s(%q)", method, args)
			}
			if l.Logged++; !l.Logs {
				return false, fmt.Errorf("the plugin logs an error: %q", args)
			}
			f = newFrame(nil)
		}
		if err := l.send(i, f); err != nil {
			return false, err
		}
		b = b[end:]
	}
	s.in = s.in[:copy(s.in[:cap(s.in)], b)]
	return false, nil
}

// exit ends the request, as Kong does when it has its response, and begins the
// next one.
func (l *load) exit(i int, args []byte) error {
	s := &l.slots[i]
	status := exitStatus(args)
	if status < 100 || status >= len(l.statuses) {
		return fmt.Errorf("the plugin exits with status %d", status)
	}
	l.statuses[status]++
	if l.counting {
		l.Latencies.add(time.Since(s.began))
		l.Measured++
	}
	syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(s.fd), 0, 0)
	s.fd, s.in, s.out, s.more = -1, s.in[:0], nil, nil
	l.active--
	if l.UntilRefused && status != 200 {
		l.stopping = true
	}
	return l.begin(i)
}

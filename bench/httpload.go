//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"
)

// httpJob is what the load generator for HTTP is to do: requests over kept connections to a unix
// socket, as many at a time as there are connections.
type httpJob struct {
	Socket      string
	Connections int
	Request     []byte
	// Warmup passes before anything is measured; then Measure is how long it is measured.
	Warmup, Measure time.Duration
}

// client is a kept connection.
type client struct {
	fd    int
	began time.Time
	in    []byte
}

// httpLoadMain is the generator in a process of its own: it reads a job from stdin and prints its
// outcome.
func httpLoadMain(stdin io.Reader, stdout io.Writer) error {
	var j httpJob
	if err := json.NewDecoder(stdin).Decode(&j); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	o, err := runHTTPLoad(j)
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(o)
}

// runHTTPLoad sends requests from one thread, with two system calls for each.
func runHTTPLoad(j httpJob) (*outcome, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(epoll)
	o := &outcome{Answered: make(map[string]int64)}
	var statuses [600]int64
	clients := make([]client, j.Connections)
	send := func(c *client) error {
		c.began = time.Now()
		o.Requests++
		for b := j.Request; len(b) > 0; {
			n, err := syscall.Write(c.fd, b)
			if err != nil {
				return fmt.Errorf("sending a request: %w", err)
			}
			b = b[n:]
		}
		return nil
	}
	for i := range clients {
		c := &clients[i]
		if c.fd, err = syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0); err != nil {
			return nil, err
		}
		defer syscall.Close(c.fd)
		if err := syscall.Connect(c.fd, &syscall.SockaddrUnix{Name: j.Socket}); err != nil {
			return nil, fmt.Errorf("connecting to nginx: %w", err)
		}
		event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(i)}
		if err := syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, c.fd, &event); err != nil {
			return nil, err
		}
		c.in = make([]byte, 0, 8<<10)
		if err := send(c); err != nil {
			return nil, err
		}
	}
	var events [256]syscall.EpollEvent
	measured := time.Now().Add(j.Warmup)
	stop := measured.Add(j.Measure)
	var began time.Time
	for active := len(clients); active > 0; {
		n, err := syscall.EpollWait(epoll, events[:], 20000)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return nil, err
		}
		if n == 0 {
			return nil, fmt.Errorf("%d requests have had no answer for 20 s", active)
		}
		now := time.Now()
		if began.IsZero() && now.After(measured) {
			began = now
		}
		over := now.After(stop)
		if over && o.Elapsed == 0 {
			o.Elapsed = now.Sub(began)
		}
		for _, e := range events[:max(n, 0)] {
			c := &clients[e.Fd]
			k, err := syscall.Read(c.fd, c.in[len(c.in):cap(c.in)])
			if err != nil || k == 0 {
				return nil, fmt.Errorf("nginx has closed a connection: %v", err)
			}
			c.in = c.in[:len(c.in)+k]
			status, whole := httpResponse(c.in)
			if !whole {
				continue
			}
			c.in = c.in[:0]
			statuses[min(status, len(statuses)-1)]++
			if !began.IsZero() && !over {
				o.Latencies.add(time.Since(c.began))
				o.Measured++
			}
			if over {
				active--
				continue
			}
			if err := send(c); err != nil {
				return nil, err
			}
		}
	}
	for status, n := range statuses {
		if n > 0 {
			o.Answered[strconv.Itoa(status)] = n
		}
	}
	return o, nil
}

// httpResponse returns the status of a response with a Content-Length, if all of it is there.
func httpResponse(b []byte) (status int, whole bool) {
	head, body, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok || len(head) < 12 {
		return 0, false
	}
	status, _ = strconv.Atoi(string(head[9:12]))
	const name = "\r\nContent-Length: "
	_, rest, ok := bytes.Cut(head, []byte(name))
	if !ok {
		return status, false
	}
	digits, _, _ := bytes.Cut(rest, []byte("\r"))
	n, err := strconv.Atoi(string(digits))
	return status, err == nil && len(body) >= n
}

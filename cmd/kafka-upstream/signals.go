package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// What each signal does. No signal loses what is in the buffer, except KILL and those
// of a crash.
//
//	INT, TERM, QUIT, HUP   drain. A second INT or TERM ends the drain at once
//	XCPU, PWR              drain: KILL, or the end of the power, is near (Linux)
//	USR1                   reopens the log file, as it makes nginx reopen its logs
//	USR2                   nothing but a line in the log: it is meant for nginx
//	all others             nothing: Go's runtime catches them, or [ignoreRest] does

// isEnd reports whether a second such signal ends the drain at once.
func isEnd(s os.Signal) bool { return s == syscall.SIGINT || s == syscall.SIGTERM }

// handled returns the signals that this process, and its launcher, handle. A HUP that is
// ignored from the start, as under nohup, stays ignored.
func handled() []os.Signal {
	all := append([]os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2}, limits...)
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// name returns the name of a signal, as kill takes it.
func name(s os.Signal) string {
	if n, ok := s.(syscall.Signal); ok {
		return unix.SignalName(n)
	}
	return s.String()
}

// errGone is the cause when the server ends because its launcher has ended.
var errGone = errors.New("the launcher is gone: Kong has killed it")

// ending tells the server when to end.
type ending struct {
	begin  context.CancelCauseFunc // begins the drain; only the first cause counts
	atOnce context.CancelCauseFunc // ends the drain
	reopen func() string           // handles USR1, and says what it did
	log    *slog.Logger
}

// follow handles signals from now on: those sent to this process, and those that its
// launcher passes on through r, one byte each; r is nil without a launcher.
//
// A single stop may signal both: systemd signals all processes of a service, and Kong
// its launcher. So the signals of each source are counted separately, and only a second
// one from the same source ends the drain at once.
func (e *ending) follow(sent <-chan os.Signal, r io.Reader) {
	passed := make(chan os.Signal)
	if r != nil {
		go func() {
			b := make([]byte, 1)
			for {
				if _, err := io.ReadFull(r, b); err != nil {
					e.begin(errGone)
					return
				}
				passed <- syscall.Signal(b[0])
			}
		}()
	}
	go func() {
		var ends [2]int
		for {
			select {
			case s := <-sent:
				e.take(s, &ends[0])
			case s := <-passed:
				e.take(s, &ends[1])
			}
		}
	}()
}

func (e *ending) take(s os.Signal, ends *int) {
	switch s {
	case syscall.SIGUSR1:
		e.log.Info("SIGUSR1: " + e.reopen())
		return
	case syscall.SIGUSR2:
		e.log.Info("SIGUSR2 is ignored: it means something to nginx only")
		return
	}
	e.begin(fmt.Errorf("%s (%s)", name(s), s))
	if !isEnd(s) {
		return
	}
	if *ends++; *ends > 1 {
		e.atOnce(fmt.Errorf("a second signal, %s, ended the drain at once", name(s)))
	}
}

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

// What each signal does. Only KILL and the signals of a crash lose the records in the buffer.
//
//	INT, TERM, QUIT, HUP   drain. A second INT or TERM ends the drain at once
//	XCPU, PWR              drain: KILL, or a power failure, is imminent (Linux)
//	USR1                   reopens the log file, as nginx reopens its logs
//	USR2                   only logs a line: it is meant for nginx
//	all others             nothing: Go's runtime catches them, or [ignoreOthers] does

// isEnd reports whether a second such signal ends the drain at once.
func isEnd(s os.Signal) bool { return s == syscall.SIGINT || s == syscall.SIGTERM }

// handled returns the signals that the server and its launcher handle. If HUP is ignored from
// the start, as under nohup, it stays ignored.
func handled() []os.Signal {
	all := append([]os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2}, limits...)
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// name returns the name of a signal, as kill(1) takes it.
func name(s os.Signal) string {
	if n, ok := s.(syscall.Signal); ok {
		return unix.SignalName(n)
	}
	return s.String()
}

// errLauncherEnded is why the server ends when its launcher has ended.
var errLauncherEnded = errors.New("the launcher has ended: Kong has killed it")

// signalHandler ends the server, or its drain, on signals.
type signalHandler struct {
	drain  context.CancelCauseFunc // only the first reason counts
	stop   context.CancelCauseFunc // ends the drain
	reopen func() string           // handles USR1, and returns what it did
	log    *slog.Logger
}

// start handles signals from now on: those sent to this process, and those that its launcher
// forwards through r, one byte each; r is nil without a launcher.
//
// One stop may signal both: systemd signals all processes of a service, and Kong the launcher.
// Each source is therefore counted separately, and only a second signal from the same source
// ends the drain at once.
func (h *signalHandler) start(sent <-chan os.Signal, r io.Reader) {
	forwarded := make(chan os.Signal)
	if r != nil {
		go func() {
			b := make([]byte, 1)
			for {
				if _, err := io.ReadFull(r, b); err != nil {
					h.drain(errLauncherEnded)
					return
				}
				forwarded <- syscall.Signal(b[0])
			}
		}()
	}
	go func() {
		var ends [2]int
		for {
			select {
			case s := <-sent:
				h.handle(s, &ends[0])
			case s := <-forwarded:
				h.handle(s, &ends[1])
			}
		}
	}()
}

func (h *signalHandler) handle(s os.Signal, ends *int) {
	switch s {
	case syscall.SIGUSR1:
		h.log.Info("SIGUSR1: " + h.reopen())
		return
	case syscall.SIGUSR2:
		h.log.Info("SIGUSR2 is ignored: only nginx uses it")
		return
	}
	h.drain(fmt.Errorf("%s (%s)", name(s), s))
	if !isEnd(s) {
		return
	}
	if *ends++; *ends > 1 {
		h.stop(fmt.Errorf("a second signal, %s, ended the drain at once", name(s)))
	}
}

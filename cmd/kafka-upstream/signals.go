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

// What each signal does. Nothing that is in the buffer is lost by a signal, but by
// KILL, and by those of a crash.
//
//	INT, TERM, QUIT, HUP   drain. A second INT or TERM ends the drain at once
//	XCPU, PWR              drain: KILL, or the end of the power, is near (Linux)
//	USR1, USR2             a line in the log: whoever sends them takes this process
//	                       for nginx, which opens its logs anew, or its program
//	all others             nothing: Go's runtime catches them, or [ignoreRest] does

// isEnd reports whether a signal that comes again means: at once.
func isEnd(s os.Signal) bool { return s == syscall.SIGINT || s == syscall.SIGTERM }

// handled are the signals that this process, and its launcher, ask for. A HUP that
// is ignored from the start stays so, as nohup wants it.
func handled() []os.Signal {
	all := append([]os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2}, limits...)
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// name is that of a signal, as kill takes it.
func name(s os.Signal) string {
	if n, ok := s.(syscall.Signal); ok {
		return unix.SignalName(n)
	}
	return s.String()
}

// errGone is why a server ends whose launcher is gone.
var errGone = errors.New("the launcher is gone: Kong has killed it")

// ending is how a server learns that it is to end.
type ending struct {
	begin  context.CancelCauseFunc // the drain; only the first cause counts
	atOnce context.CancelCauseFunc // the end of the drain
	reopen func() string           // does what USR1 asks for, and says so
	log    *slog.Logger
}

// follow acts on signals from now on: those that were sent to this process, and
// those that its launcher passes on, one byte each; r is nil without a launcher.
//
// One end may reach both: systemd signals all processes of a service, and Kong its
// launcher. So the signals of each way are counted by themselves, and it takes two
// of one way to end a drain at once.
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

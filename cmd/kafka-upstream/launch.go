package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// Kong does not let a plugin server that it has started end in order. Its worker
// sends SIGTERM when it exits, on a stop and on a reload alike, and a moment
// later its Lua VM closes, which sends SIGKILL (lua-nginx-module's
// ngx_http_lua_ffi_pipe_proc_destroy): whatever is in the buffer would be lost.
//
// So the process that Kong starts, and kills, only launches the server and waits
// for it. A pipe from the launcher tells the server of its signals, and ends with
// the launcher, however that ended. The server is told by that or by the end of
// stdin, whichever comes first; it drains, and lives for as long as that takes.

// launched is the environment variable that the launcher sets to byPipe for the server.
const (
	launched = "KAFKA_UPSTREAM_LAUNCHED"
	byPipe   = "fd3" // the first of exec.Cmd's ExtraFiles
)

// killTime is longer than Kong waits between SIGTERM and SIGKILL for the launcher. A
// second INT or TERM is passed on only by a launcher that is still alive after it: under
// systemd, which signals all processes of a service when it stops Kong, the first is
// systemd's and the second is Kong's, and neither asks to end the drain.
const killTime = 500 * time.Millisecond

// launch runs the server as a child, passes signals on to it, and returns its
// exit code.
func launch(args []string) (code int, err error) {
	exe, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("finding the path of the program: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("making a pipe to the server: %w", err)
	}
	defer w.Close()
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), launched+"="+byPipe)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{r}
	// In a process group of its own: Ctrl-C reaches only the launcher, which passes it on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}

	signals := make(chan os.Signal, 64)
	signal.Notify(signals, handled()...)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("starting the server: %w", err)
	}
	_ = r.Close()
	go passOn(signals, w)
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), nil // as a shell has it
		}
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("waiting for the server: %w", err)
	}
	return 0, nil
}

// passOn writes each signal to the server as one byte. Errors are ignored: a server that
// has ended needs no signals.
func passOn(signals <-chan os.Signal, w io.Writer) {
	told := false
	for s := range signals {
		pass := func() { _, _ = w.Write([]byte{byte(s.(syscall.Signal))}) }
		if isEnd(s) && told {
			time.AfterFunc(killTime, pass)
			continue
		}
		told = told || isEnd(s)
		pass()
	}
}

// fromLauncher returns the pipe from the launcher of this process, nil if it has
// none.
func fromLauncher() io.Reader {
	if os.Getenv(launched) != byPipe {
		return nil
	}
	const fd = 3
	syscall.CloseOnExec(fd)
	if syscall.SetNonblock(fd, true) != nil { // for Go's poller
		return nil
	}
	return os.NewFile(fd, "launcher")
}

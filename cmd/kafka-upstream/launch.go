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

// Kong gives a plugin server that it has started no time to drain. When its worker exits, on a
// stop or a reload, it sends SIGTERM, and a moment later its Lua VM closes, which sends SIGKILL
// (lua-nginx-module's ngx_http_lua_ffi_pipe_proc_destroy): the records in the buffer would be
// lost.
//
// Kong therefore starts, and kills, only a launcher, which starts the server and waits for it.
// A pipe from the launcher forwards its signals to the server, and is closed when the launcher
// ends, however that happens. The server drains when that pipe or stdin is closed, and lives
// for as long as that takes.

// launched is the environment variable that the launcher sets to byPipe for the server.
const (
	launched = "KAFKA_UPSTREAM_LAUNCHED"
	byPipe   = "fd3" // the first of exec.Cmd's ExtraFiles
)

// killTime is longer than Kong waits between SIGTERM and SIGKILL for the launcher. The launcher
// forwards a second INT or TERM only if it is still alive after that time: when systemd stops
// Kong, it signals all processes of the service, and Kong signals the launcher too; neither
// signal asks to end the drain.
const killTime = 500 * time.Millisecond

// launch runs the server as a child process, forwards signals to it, and returns its exit code.
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
	// In a process group of its own: Ctrl-C reaches only the launcher, which forwards it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}

	signals := make(chan os.Signal, 64)
	signal.Notify(signals, handled()...)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("starting the server: %w", err)
	}
	_ = r.Close()
	go forward(signals, w)
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), nil // as in a shell
		}
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("waiting for the server: %w", err)
	}
	return 0, nil
}

// forward writes each signal to the server as one byte. It ignores errors: a server that has
// ended needs no signals.
func forward(signals <-chan os.Signal, w io.Writer) {
	ending := false
	for s := range signals {
		send := func() { _, _ = w.Write([]byte{byte(s.(syscall.Signal))}) }
		if isEnd(s) && ending {
			time.AfterFunc(killTime, send)
			continue
		}
		ending = ending || isEnd(s)
		send()
	}
}

// fromLauncher returns the pipe from the launcher of this process, nil if it has none.
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

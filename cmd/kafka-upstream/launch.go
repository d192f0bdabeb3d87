package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// Kong does not let a plugin server that it has started end in order. Its worker
// sends SIGTERM when it exits, on a stop and on a reload alike, and a moment
// later its Lua VM closes, which sends SIGKILL (lua-nginx-module's
// ngx_http_lua_ffi_pipe_proc_destroy): whatever is in the buffer would be lost.
//
// So the process that Kong starts, and kills, only launches the server and waits
// for it. The server is told by SIGTERM, by the death of its parent, and by the
// end of stdin, whichever comes first; it drains, and lives for as long as that
// takes.

// launched is set for the server by its launcher.
const launched = "KAFKA_UPSTREAM_LAUNCHED"

// launch runs the server as a child, passes signals on to it, and returns its
// exit code.
func launch(args []string, stderr io.Writer) int {
	runtime.LockOSThread() // "parent" is the thread that forks
	exe, err := os.Executable()
	if err != nil {
		fmt.Fprintf(stderr, "kafka-upstream: finding the own program: %v\n", err)
		return 1
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), launched+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = childAttributes()

	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(stderr, "kafka-upstream: starting the server: %v\n", err)
		return 1
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()) // as a shell has it
		}
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintf(stderr, "kafka-upstream: waiting for the server: %v\n", err)
		return 1
	}
	return 0
}

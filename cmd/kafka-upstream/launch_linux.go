package main

import "syscall"

// childAttributes has the server told of its launcher's death, and keeps it out
// of the launcher's process group, so that a Ctrl-C reaches it once.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

//go:build !linux

package main

import "syscall"

// childAttributes keeps the server out of the launcher's process group, so that
// a Ctrl-C reaches it once. Of its launcher's death it learns by the end of stdin.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

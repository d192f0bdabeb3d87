package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestThePluginServerEndsWithTheDemo(t *testing.T) {
	out, cmd, _ := startDemo(t, "-verbose", "-listen", "127.0.0.1:0", "-admin-listen", "127.0.0.1:0")
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", cmd.Process.Pid))
	pid := 0
	for _, list := range lists {
		if b, err := os.ReadFile(list); err == nil && len(bytes.TrimSpace(b)) > 0 {
			fmt.Sscan(string(b), &pid)
		}
	}
	if pid == 0 {
		t.Fatal("/proc does not tell the children of the process")
	}
	cmd.Process.Kill() // even so: its stdin ends
	for deadline := time.Now().Add(10 * time.Second); syscall.Kill(pid, 0) == nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d lives on: %s", pid, out)
		}
	}
}

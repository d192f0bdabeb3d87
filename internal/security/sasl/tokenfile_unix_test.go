//go:build unix

package sasl

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The open of a pipe would wait for a writer.
func TestPipeIsNoTokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	m := newMechanism(t, Credentials{Mechanism: "OAUTHBEARER", TokenFile: path}).(TokenMechanism)
	if err := m.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "it is not a regular file") {
		t.Error(err)
	}
}

//go:build !linux

package child

import "os/exec"

// Only Linux can tie a child's life to its parent's; elsewhere a broker
// outlives a test binary that is killed.
func dieWithParent(*exec.Cmd) {}

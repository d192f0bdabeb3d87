//go:build !linux || mips || mipsle || mips64 || mips64le

package main

import "os"

var limits []os.Signal

// ignoreOthers does nothing: Go's runtime catches all signals that can be caught.
func ignoreOthers() {}

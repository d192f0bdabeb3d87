//go:build !linux || mips || mipsle || mips64 || mips64le

package main

import "os"

var limits []os.Signal

// ignoreRest has nothing to do where Go's runtime catches all that can be caught.
func ignoreRest() {}

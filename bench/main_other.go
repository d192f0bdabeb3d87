//go:build !linux

// Command bench measures what a request costs; see docs/performance.md.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: runs on Linux only: it reads the cost of a process from the kernel, and its load generator is made of Linux's system calls")
	os.Exit(1)
}

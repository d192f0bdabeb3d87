package memory

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// addressSpace returns RLIMIT_AS less the address space in use: what Go's runtime reserves at
// its start counts, although it is not memory.
func addressSpace() int64 {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &r) != nil || r.Cur >= 1<<62 {
		return 0
	}
	b, _ := os.ReadFile("/proc/self/statm")
	pages, _, _ := strings.Cut(string(b), " ")
	return max(int64(r.Cur)-number(pages)*int64(os.Getpagesize()), 1)
}

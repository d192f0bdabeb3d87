package memory

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// files are the kernel's reports on memory, below a root that tests replace.
type files struct{ root string }

// Available returns how many bytes of memory the process may use, and what sets that limit:
// the machine's memory, a control group, or the limit of the address space (ulimit -v). It
// returns 0 if that is not known.
func Available() (bytes int64, source string) { return files{"/"}.available(addressSpace()) }

func (f files) available(addressSpace int64) (bytes int64, source string) {
	for _, l := range []struct {
		bytes  int64
		source string
	}{
		{f.machine(), "the machine's memory"},
		{f.controlGroup(), "the control group's limit"},
		{addressSpace, "the limit of the address space"},
	} {
		if l.bytes > 0 && (bytes == 0 || l.bytes < bytes) {
			bytes, source = l.bytes, l.source
		}
	}
	return bytes, source
}

func (f files) read(name string) string {
	b, _ := os.ReadFile(filepath.Join(f.root, name)) // a missing file means unknown
	return strings.TrimSpace(string(b))
}

// machine returns MemTotal of proc_meminfo(5).
func (f files) machine() int64 {
	for line := range strings.Lines(f.read("proc/meminfo")) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "MemTotal:" {
			return number(fields[1]) << 10
		}
	}
	return 0
}

// controlGroup returns the least limit of the process's group and of the groups above it,
// all of which bind it: cgroups(7), version 2 or 1.
func (f files) controlGroup() (least int64) {
	note := func(limit string) {
		if n := number(limit); n > 0 && (least == 0 || n < least) {
			least = n
		}
	}
	for line := range strings.Lines(f.read("proc/self/cgroup")) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) < 3 {
			continue
		}
		var dir, file string
		switch {
		case part[0] == "0" && part[1] == "":
			dir, file = "sys/fs/cgroup", "memory.max"
		case part[1] == "memory" || strings.Contains(","+part[1]+",", ",memory,"):
			dir, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		// In a container the path may be the host's, of which only the root is visible: that
		// is the container's own group.
		for path := filepath.Clean("/" + part[2]); ; path = filepath.Dir(path) {
			note(f.read(filepath.Join(dir, path, file)))
			if path == "/" {
				break
			}
		}
	}
	return least
}

// number returns 0 for what is not a number, such as "max", and for numbers near 2^63, which
// mean no limit in version 1.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n >= 1<<62 {
		return 0
	}
	return n
}

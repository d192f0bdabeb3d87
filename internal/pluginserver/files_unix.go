//go:build unix

package pluginserver

import "golang.org/x/sys/unix"

// FileLimit raises the number of files that the process may have open to the most
// that it may be raised to (RLIMIT_NOFILE), and returns it; 0 if it is not known or
// so large that it is no limit. Go has raised it by then to one less, for this process
// alone; what is set here goes on to processes that are started.
func FileLimit() int {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	if l.Cur < l.Max {
		raised := l
		raised.Cur = l.Max
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
			l = raised
		}
	}
	const none = 1 << 30
	if uint64(l.Cur) >= none {
		return 0
	}
	return int(l.Cur)
}

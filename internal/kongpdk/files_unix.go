//go:build unix

package kongpdk

import "golang.org/x/sys/unix"

// FileLimit raises the limit of open files (RLIMIT_NOFILE) to the hard limit, and
// returns it; 0 if it is not known or practically unlimited. Go has already raised it
// to one less, but for this process alone; child processes inherit what is set here.
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

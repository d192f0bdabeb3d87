//go:build unix

package kongpdk

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestFileLimitIsRaisedAsFarAsItMayBe(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &before) })
	low := before
	low.Cur = min(before.Max, 512)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	n := FileLimit()
	var after unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &after); err != nil {
		t.Fatal(err)
	}
	if after.Cur != after.Max || n != 0 && uint64(n) != uint64(after.Max) {
		t.Errorf("FileLimit is %d, the limit %d of %d", n, after.Cur, after.Max)
	}
}

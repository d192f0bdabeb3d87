package e2e

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"golang.org/x/sys/unix"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
)

// ways are the flags by which the program serves Kong in one way or the other.
var ways = map[string][]string{"loop": nil, "portable": {"-portable"}}

// A server that may open no further file goes on with what it has, says so, and
// takes up those that wait when others have ended.
func TestShortageOfFilesPasses(t *testing.T) {
	for name, args := range ways {
		t.Run(name, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
			s := rig.Start(t, args...)
			w := s.Worker()
			p := rig.NewPlugin(rig.Settings(t, f.Addrs(), nil))
			rig.SendN(t, w, p, 1) // its connections to the broker are there
			pid := s.Served()
			files, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(len(files) + 5), Max: 1 << 10}, nil); err != nil {
				t.Fatal(err)
			}
			var idle []net.Conn
			for range 30 {
				c, err := net.Dial("unix", s.Socket)
				if err != nil {
					t.Fatal(err)
				}
				idle = append(idle, c)
			}
			rig.Eventually(t, "it says that it can accept none", func() bool { return strings.Contains(s.Log.String(), "cannot accept connections") })
			for _, c := range idle {
				_ = c.Close()
			}
			if n := rig.SendN(t, w, p, 20); n != 20 {
				t.Errorf("%d of 20 were accepted", n)
			}
		})
	}
}

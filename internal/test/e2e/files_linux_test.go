package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
)

// startLimited is start in a shell that has run a command, such as ulimit, before.
func startLimited(t *testing.T, command string, args ...string) *rig.Server {
	t.Helper()
	wrapper := filepath.Join(rig.ShortDir(t), "kafka-upstream")
	if err := os.WriteFile(wrapper, []byte("#!/bin/sh\n"+command+"\nexec "+rig.Binary+` "$@"`+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	program := rig.Binary
	rig.Binary = wrapper
	defer func() { rig.Binary = program }()
	return rig.Start(t, args...)
}

// Kong's connections leave files for those to brokers: with far more clients at once
// than files, each is answered, and nothing of it stays.
func TestManyMoreWaitingClientsThanFilesAreAllAnswered(t *testing.T) {
	for name, args := range ways {
		t.Run(name, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.SeedTopics(4, "t"))
			s := startLimited(t, "ulimit -n 64", args...)
			w := s.Worker()
			p := rig.NewPlugin(rig.Settings(t, f.Addrs(), map[string]any{"producer_async": false}))
			const clients, each = 200, 5
			var sent atomic.Int64
			var wg sync.WaitGroup
			for range clients {
				wg.Go(func() {
					for range each {
						exit, err := w.HandleEvent(t.Context(), p, new(rig.Kong))
						if err != nil || exit.Status != 200 {
							t.Errorf("answer is %+v, %v", exit, err)
							return
						}
						sent.Add(1)
					}
				})
			}
			wg.Wait()
			began := time.Now()
			if n := rig.SendN(t, w, p, 20); n != 20 {
				t.Errorf("%d of 20 were accepted after the load", n)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("20 requests took %v after the load", took)
			}
			if n := len(f.Records(t, "t", clients*each+20)); n != int(sent.Load())+20 {
				t.Errorf("%d records of %d", n, sent.Load()+20)
			}
			for _, want := range []string{"the limit of open files is low", "connections from Kong are waiting"} {
				if !strings.Contains(s.Log.String(), want) {
					t.Errorf("the log lacks %q", want)
				}
			}
			if strings.Contains(s.Log.String(), "too many open files") {
				t.Error("a file was wanted and not to be had")
			}
		})
	}
}

func TestLimitOfFilesIsRaisedAsFarAsItMayBe(t *testing.T) {
	s := startLimited(t, "ulimit -S -n 100; ulimit -H -n 3000")
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.Served()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var soft, hard int
		if n, _ := fmt.Sscanf(line, "Max open files %d %d", &soft, &hard); n == 2 {
			if soft != 3000 || hard != 3000 {
				t.Errorf("the limit is %d of %d", soft, hard)
			}
			return
		}
	}
	t.Errorf("no limit in %s", b)
}

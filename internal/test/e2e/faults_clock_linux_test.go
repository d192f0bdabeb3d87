package e2e

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kongsim"
)

const year = 365 * 24 * time.Hour

// What waits, retries, expires and is limited goes by the monotonic clock, so
// nothing is lost, doubled, refused or held up when the wall clock jumps. It gives
// records their timestamps, and tells whether a certificate is valid.
func init() {
	newClock = func(t *testing.T) (wallTime, string) {
		c := newWallClock(t)
		return c, c.script
	}
	toAndFro := func(x *stage) {
		for range 100 {
			x.clock.set(time.Duration(x.b.r.Int64N(int64(48*time.Hour))) - 24*time.Hour)
			time.Sleep(20 * time.Millisecond)
		}
	}
	faultsOfTheClock = []fault{
		{name: "clock jumps a year ahead, and back after 1 s", clock: true, do: func(x *stage) {
			x.clock.jump(year)
			time.Sleep(time.Second)
			x.clock.jump(-year)
		}, exact: true},
		{name: "clock jumps a year back", clock: true, do: func(x *stage) {
			x.clock.jump(-year)
			time.Sleep(time.Second)
		}, exact: true},
		{name: "clock jumps 100 times by up to a day", clock: true, do: toAndFro, exact: true},
		{name: "sync: clock jumps 100 times by up to a day", clock: true, do: toAndFro,
			more: map[string]any{"producer_async": false}, exact: true},
		{name: "clock jumps a year ahead while all brokers are away for 3 s", clock: true, do: func(x *stage) {
			time.AfterFunc(time.Second, func() { x.clock.jump(year) })
			x.b.away(3 * time.Second)
		}},
		{name: "clock jumps a year ahead while partitions are without leader for 3 s", clock: true, do: func(x *stage) {
			x.b.refuse(3*time.Second, kerr.LeaderNotAvailable, kmsg.Produce, kmsg.Metadata)
			time.Sleep(time.Second)
			x.clock.jump(year)
			time.Sleep(2 * time.Second)
		}},
		{name: "clock jumps a year ahead while the topic is missing for 3 s", clock: true, before: deleteTopic, do: func(x *stage) {
			time.Sleep(time.Second)
			x.clock.jump(year)
			time.Sleep(2 * time.Second)
			if err := x.b.CreateTopic("t", 10, nil); err != nil {
				x.Fatal(err)
			}
		}, atStart: true},
		// The broker's certificate has expired by that clock: nobody connects, and the
		// attempts are used up.
		{name: "TLS: clock jumps beyond the time of the brokers' certificates for 2 s, and connections reset", clock: true, tls: true,
			more:  map[string]any{"security": overTLS(), "producer_request_retries_max_attempts": 2},
			loses: true, told: "certificate has expired or is not yet valid",
			do: func(x *stage) {
				x.clock.jump(100 * year)
				x.b.DropConnections()
				time.Sleep(2 * time.Second)
				x.clock.set(0)
			}},
	}
}

// -drain-timeout is a time that passes, not one that the clock shows.
func TestClockThatJumpsCutsNoDrainShort(t *testing.T) {
	b := startBrokers(t, rand.New(rand.NewPCG(seed(t), 0)))
	clock := newWallClock(t)
	log := new(rig.Lines)
	sim, err := kongsim.Start(t.Context(), kongsim.Options{
		Config: []byte(kongYAML(t, rig.Settings(t, b.addrs, nil))), Binary: clock.script,
		Args: []string{"-kong-prefix", rig.ShortDir(t), "-drain-timeout", "60s"}, Grace: 70 * time.Second, Stderr: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	a := newAnswers()
	a.send(sim.URL(), 0)
	b.Records(t, "t", 1)
	b.Close()
	for i := range 100 {
		a.send(sim.URL(), 1+i)
	}
	closed := make(chan error, 1)
	go func() { closed <- sim.Close() }()
	read := clock.read.Load()
	for _, d := range []time.Duration{year, -year} {
		clock.set(d)
		rig.Eventually(t, "it drains by that clock", func() bool { return clock.read.Load() >= read+10 })
		read = clock.read.Load()
	}
	select {
	case <-closed:
		t.Fatalf("it has ended before brokers were back:\n%s", log)
	default:
	}
	b.start()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if sum := checkInvariant(t, b.Records(t, "t", 101), a, log.String()); sum.missing > 0 || sum.doubled > 0 {
		t.Errorf("%d lost, %d doubled:\n%s", sum.missing, sum.doubled, log)
	}
}

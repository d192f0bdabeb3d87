package e2e

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongsim"
	"kafka-upstream/internal/test/testcert"
)

const year = 365 * 24 * time.Hour

// clockFault is a faultCase of a program whose clock jumps.
func clockFault(t *testing.T, c faultCase, do func(clock *wallClock)) {
	t.Helper()
	clock := newWallClock(t)
	c.program = clock.script
	c.do = func(*testing.T, *kongsim.Sim) { do(clock) }
	c.run(t)
	if spread := timeSpread(c.records(t, 0)); spread < 20*time.Minute {
		t.Errorf("timestamps are within %v: the program has not seen its clock jump", spread)
	}
}

// timeSpread is the time from the oldest timestamp to the youngest.
func timeSpread(records []*kgo.Record) time.Duration {
	var oldest, youngest time.Time
	for i, r := range records {
		if i == 0 || r.Timestamp.Before(oldest) {
			oldest = r.Timestamp
		}
		if i == 0 || r.Timestamp.After(youngest) {
			youngest = r.Timestamp
		}
	}
	return youngest.Sub(oldest)
}

// What waits, retries, expires and is limited goes by the monotonic clock, so
// nothing is lost, doubled, refused or held up when the wall clock jumps. It gives
// records their timestamps, and tells whether a certificate is valid.
func TestFaultsOfTheClock(t *testing.T) {
	toAndFro := func(_ *testing.T, b *brokers, clock *wallClock) {
		for range 100 {
			clock.set(time.Duration(b.r.Int64N(int64(48*time.Hour))) - 24*time.Hour)
			time.Sleep(20 * time.Millisecond)
		}
	}
	for _, c := range []struct {
		name  string
		do    func(t *testing.T, b *brokers, clock *wallClock)
		more  map[string]any
		fault faultCase
	}{
		{name: "clock jumps a year ahead, and back after 1 s", do: func(_ *testing.T, _ *brokers, clock *wallClock) {
			clock.jump(year)
			time.Sleep(time.Second)
			clock.jump(-year)
		}, fault: faultCase{exact: true}},
		{name: "clock jumps a year back", do: func(_ *testing.T, _ *brokers, clock *wallClock) {
			clock.jump(-year)
			time.Sleep(time.Second)
		}, fault: faultCase{exact: true}},
		{name: "clock jumps 100 times by up to a day", do: toAndFro, fault: faultCase{exact: true}},
		{name: "sync: clock jumps 100 times by up to a day", do: toAndFro,
			more: map[string]any{"producer_async": false}, fault: faultCase{exact: true}},
		{name: "clock jumps a year ahead while all brokers are away for 3 s", do: func(_ *testing.T, b *brokers, clock *wallClock) {
			time.AfterFunc(time.Second, func() { clock.jump(year) })
			b.away(3 * time.Second)
		}},
		{name: "clock jumps a year ahead while partitions are without leader for 3 s", do: func(_ *testing.T, b *brokers, clock *wallClock) {
			b.leaderless(3 * time.Second)
			time.Sleep(time.Second)
			clock.jump(year)
			time.Sleep(2 * time.Second)
		}},
		{name: "clock jumps a year ahead while the topic is missing for 3 s", do: func(t *testing.T, b *brokers, clock *wallClock) {
			time.Sleep(time.Second)
			clock.jump(year)
			time.Sleep(2 * time.Second)
			if err := b.CreateTopic("t", 10, nil); err != nil {
				t.Fatal(err)
			}
		}, fault: faultCase{atStart: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := startBrokers(t, rand.New(rand.NewPCG(seed(t), 0)))
			f := c.fault
			f.name, f.where, f.addrs, f.more = c.name, "kfake", b.addrs, c.more
			if f.atStart {
				if err := b.DeleteTopic("t"); err != nil {
					t.Fatal(err)
				}
			}
			f.records = func(t *testing.T, n int) []*kgo.Record { return b.Records(t, "t", n) }
			clockFault(t, f, func(clock *wallClock) { c.do(t, b, clock) })
		})
	}
}

// A clock by which the broker's certificate has expired lets nobody connect, and
// the attempts are used up.
func TestFaultsOfTheClockByTLS(t *testing.T) {
	ca := testcert.New("an authority")
	b := kafkatest.StartFakeTLS(t, ca.ServerConfig("127.0.0.1"), kfake.SeedTopics(10, "t"))
	clockFault(t, faultCase{
		name: "TLS: clock jumps beyond the time of the brokers' certificates for 2 s, and connections reset", where: "kfake",
		addrs: b.Addrs(), args: caFlag(t, ca),
		more:  map[string]any{"security": overTLS(), "producer_request_retries_max_attempts": 2},
		loses: true, told: "certificate has expired or is not yet valid",
		records: func(t *testing.T, n int) []*kgo.Record { return b.Records(t, "t", n) },
	}, func(clock *wallClock) {
		clock.jump(100 * year)
		b.DropConnections()
		time.Sleep(2 * time.Second)
		clock.set(0)
	})
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

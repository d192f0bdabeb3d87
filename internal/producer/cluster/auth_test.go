package cluster

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/kafkatest"
)

var errLogin error = kafka.SASLAuthenticationFailed

// What a broker said before it went away is no reason to give records up.
func TestServersThatAreAwayUseUpNoLogin(t *testing.T) {
	c := newTestCluster(t, []string{closedPort(t), closedPort(t)}, func(o *Options) { o.Backoff = 50 * time.Millisecond })
	c.auth.failed(errLogin, false)
	c.auth.releaseLogin() // the pause is over
	for range 20 {
		if _, err := c.dialer.dial(t.Context(), "tcp", closedPort(t)); errors.Is(err, errLogin) {
			t.Fatal(err)
		}
	}
	for range 5 {
		if err := c.Await(t.Context(), "t"); err == nil || errors.Is(err, errLogin) {
			t.Errorf("the metadata is not known because of: %v", err)
		}
		c.Pause(t.Context(), 0)
	}
}

func TestRefusedLoginIsHeldBackUntilOneIsAccepted(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), func(o *Options) { o.Backoff = time.Hour })
	produce(t, c, "one")
	g := c.current(nil)
	c.noteAuthFailure(g, errLogin)
	if err := c.Await(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	if err := c.auth.acquireLogin(); !IsHeldBack(err) || !errors.Is(err, errLogin) {
		t.Errorf("not held back, by metadata that was known before: %v", err)
	}
	c.invalidate(g)
	c.auth.releaseLogin() // the pause is over
	if err := c.Await(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	if err := c.auth.acquireLogin(); err != nil {
		t.Errorf("held back, although a new generation has logged in: %v", err)
	}
}

// Another login right after one that took long would come from a refresh that no request
// needs.
func TestPauseBetweenLoginsBeginsWithTheRejection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &authBackoff{pause: time.Second}
		a.failed(errLogin, false)
		time.Sleep(time.Second)
		if err := a.acquireLogin(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // of the login
		a.failed(errLogin, false)
		a.failed(errLogin, true)
		if err := a.acquireLogin(); !IsHeldBack(err) {
			t.Errorf("%v, want the last rejection", err)
		}
		time.Sleep(time.Second)
		if err := a.acquireLogin(); err != nil {
			t.Error(err)
		}
	})
}

// rejectedLogin is a mechanism with which no login succeeds.
type rejectedLogin struct{ logins atomic.Int32 }

func (*rejectedLogin) Name() string { return "PLAIN" }

func (m *rejectedLogin) Start(context.Context) (sasl.StateMachine, []byte, error) {
	m.logins.Add(1)
	return nil, nil, errLogin
}

// Otherwise the batches of all partitions would use up their attempts with the logins of one.
func TestRejectedLoginIsAnAttemptOfOneBatch(t *testing.T) {
	const partitions, attempts = 5, 2
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(partitions, "t"), kfake.EnableSASL(), kfake.Superuser("PLAIN", "u", "p"))
	m := new(rejectedLogin)
	c := newTestCluster(t, f.Addrs(), func(o *Options) { o.SASL, o.MaxAttempts, o.Backoff = m, attempts, 20*time.Millisecond })
	var produced sync.WaitGroup
	for partition := range partitions {
		produced.Go(func() {
			message := messages("x")
			message[0].Partition = partition
			if err := c.Produce(t.Context(), message); !errors.Is(err, errLogin) {
				t.Errorf("partition %d: %v", partition, err)
			}
		})
	}
	produced.Wait()
	if n := m.logins.Load(); n != partitions*attempts {
		t.Errorf("%d logins, want %d", n, partitions*attempts)
	}
	if n := c.watch().attempts.Load(); n != partitions*attempts {
		t.Errorf("%d attempts, want %d", n, partitions*attempts)
	}
}

func TestLoginThatIsHeldBackIsWaitedForWithABound(t *testing.T) {
	c := newTestCluster(t, []string{closedPort(t)}, func(o *Options) { o.Backoff, o.MaxUnavailable = time.Millisecond, 50*time.Millisecond })
	c.auth.failed(errLogin, false)
	c.auth.mu.Lock()
	c.auth.next = time.Now().Add(time.Hour)
	c.auth.mu.Unlock()
	var gaveUp *gaveUpError
	if err := c.Produce(t.Context(), messages("x")); !errors.As(err, &gaveUp) || !errors.Is(err, errLogin) {
		t.Errorf("produced: %v", err)
	}
	if err := c.Await(t.Context(), "t"); !IsHeldBack(err) {
		t.Errorf("awaited: %v", err)
	}
	if n := c.watch().attempts.Load(); n != 1 {
		t.Errorf("%d attempts", n)
	}
}

package cluster

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
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
		c.Pause(t.Context())
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
	if err := c.auth.acquireLogin(); !isAuthBackoff(err) || !errors.Is(err, errLogin) {
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
		if err := a.acquireLogin(); !isAuthBackoff(err) {
			t.Errorf("%v, want the last rejection", err)
		}
		time.Sleep(time.Second)
		if err := a.acquireLogin(); err != nil {
			t.Error(err)
		}
	})
}

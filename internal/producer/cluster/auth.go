package cluster

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go/sasl"

	"kafka-upstream/internal/kafkaerr"
)

// authBackoff limits logins to one in each pause after one has failed. Otherwise each
// partition would try its own, as often as its attempts allow, which locks accounts and
// burdens brokers.
type authBackoff struct {
	pause  time.Duration
	active atomic.Bool // failure is set

	mu      sync.Mutex
	failure error     // of the last login
	next    time.Time // when another one may be tried
}

// failed records a login that the brokers rejected. again reports that it was recorded before,
// by another request. The pause begins with the rejection: a login may take longer than it.
func (a *authBackoff) failed(err error, again bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failure == nil || !again {
		a.next = time.Now().Add(a.pause)
	}
	if !IsHeldBack(err) {
		a.failure = err
	}
	a.active.Store(a.failure != nil)
}

// succeeded records that brokers accept logins.
func (a *authBackoff) succeeded() {
	if !a.active.Load() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failure = nil
	a.active.Store(false)
}

// acquireLogin returns why no login may be tried now, nil if one may.
func (a *authBackoff) acquireLogin() error {
	if !a.active.Load() {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	switch {
	case a.failure == nil:
		return nil
	case now.Before(a.next):
		return &authBackoffError{a.failure}
	}
	a.next = now.Add(a.pause)
	return nil
}

// releaseLogin returns the login that acquireLogin granted, because the TCP connect failed.
// Otherwise the next bootstrap server would be skipped.
func (a *authBackoff) releaseLogin() {
	if !a.active.Load() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next = time.Now()
}

// noteAuthFailure suppresses further logins if err is that of a rejected one. It reports
// whether that was noted before, for another request.
func (c *Cluster) noteAuthFailure(g *generation, err error) (again bool) {
	if err == nil || !kafkaerr.IsAuthentication(err) {
		return false
	}
	again = true
	if !IsHeldBack(err) {
		c.mu.Lock()
		again = g.number <= c.authFailed
		c.authFailed = max(c.authFailed, g.number)
		c.mu.Unlock()
	}
	c.auth.failed(err, again)
	return again
}

// authRecovered reports whether err is that of a suppressed login which may now be retried:
// a generation that is newer than the failure has fetched metadata, so the login works
// again. Without SASL (mTLS) there is no other signal.
func (c *Cluster) authRecovered(ctx context.Context, g *generation, t *topic, err error) bool {
	if !IsHeldBack(err) || !c.newerThanAuthFailure(g) || c.fetchMetadata(ctx, t, false) != nil {
		return false
	}
	c.auth.succeeded()
	return true
}

// newerThanAuthFailure reports whether the generation is newer than the last login that was
// rejected. An older one may have its metadata from before that.
func (c *Cluster) newerThanAuthFailure(g *generation) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return g.number > c.authFailed
}

// tokenMechanism is a mechanism that needs more than its credentials: see the package sasl.
type tokenMechanism interface {
	Ready(ctx context.Context) error
	Rejected(err error) error
}

// ready waits for what a login needs before a connection is opened for it: without it, the
// connection would be one that a broker sees fail.
func (c *Options) ready(ctx context.Context) error {
	if m, ok := c.SASL.(tokenMechanism); ok {
		return m.Ready(ctx)
	}
	return nil
}

// rejected returns the error of a request with what the mechanism knows of a rejected login.
func (c *Options) rejected(err error) error {
	if m, ok := c.SASL.(tokenMechanism); ok && err != nil && kafkaerr.IsAuthentication(err) && !IsHeldBack(err) {
		return m.Rejected(err)
	}
	return err
}

// mechanism wraps m so that each login that a broker accepts ends the back-off. nil stays
// nil.
func (a *authBackoff) mechanism(m sasl.Mechanism) sasl.Mechanism {
	if m == nil {
		return nil
	}
	return mechanism{m, a}
}

type mechanism struct {
	sasl.Mechanism
	auth *authBackoff
}

// Start implements sasl.Mechanism.
func (m mechanism) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	s, response, err := m.Mechanism.Start(ctx)
	return session{s, m.auth}, response, err
}

type session struct {
	sasl.StateMachine
	auth *authBackoff
}

// Next implements sasl.StateMachine.
func (s session) Next(ctx context.Context, challenge []byte) (done bool, response []byte, err error) {
	done, response, err = s.StateMachine.Next(ctx, challenge)
	if done && err == nil {
		s.auth.succeeded()
	}
	return done, response, err
}

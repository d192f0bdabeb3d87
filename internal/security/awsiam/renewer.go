package awsiam

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"kafka-upstream/internal/foreign"
)

const (
	// fetchTimeout bounds one attempt to get credentials, with all its requests.
	fetchTimeout = 5 * time.Second
	// renewBefore is how long before they expire credentials are renewed. AWS has new ones
	// for instances at least that early.
	renewBefore = 5 * time.Minute
	// renewInterval is the least time between two renewals that brokers cause.
	renewInterval = time.Minute
	// minBackoff and maxBackoff are the times between two attempts after failures; each is
	// twice the one before.
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
)

// renewer keeps credentials. It renews them in the background before they expire, and uses
// them until then, whatever becomes of that. Once they have expired, it gets others only when
// it is asked for them. There is never more than one attempt at a time.
type renewer struct {
	redacted
	source source
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	current  credentials
	attempt  *attempt    // in progress; nil for none
	began    time.Time   // of the last attempt
	timer    *time.Timer // starts the next attempt; nil before the first
	err      error       // of the last attempt
	failures int         // in a row
	next     time.Time   // after failures: when the next attempt may be made
}

// attempt is an attempt to get credentials.
type attempt struct {
	credentials
	err  error
	done chan struct{} // closed when it is over
}

func newRenewer(s source, log *slog.Logger) *renewer {
	r := &renewer{source: s, log: log}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// get returns valid credentials. It waits for them only if there are none, and not longer
// than ctx.
func (r *renewer) get(ctx context.Context) (credentials, error) {
	r.mu.Lock()
	now := time.Now()
	if c := r.current; c.accessKeyID != "" && (c.expires.IsZero() || now.Before(c.expires)) {
		r.mu.Unlock()
		return c, nil
	}
	if err := r.err; err != nil && now.Before(r.next) {
		r.mu.Unlock()
		return credentials{}, err
	}
	a := r.start()
	r.mu.Unlock()
	if a == nil {
		return credentials{}, errors.New("the server is shutting down")
	}
	select {
	case <-a.done:
		return a.credentials, a.err
	case <-ctx.Done():
		return credentials{}, fmt.Errorf("there was no answer in time: %w", context.Cause(ctx))
	}
}

// start returns the attempt in progress, a new one if there is none; nil after close. r.mu is
// held.
func (r *renewer) start() *attempt {
	if r.closed {
		return nil
	}
	if r.attempt == nil {
		a := &attempt{done: make(chan struct{})}
		r.attempt, r.began = a, time.Now()
		r.wg.Go(func() {
			ctx, cancel := context.WithTimeout(r.ctx, fetchTimeout)
			defer cancel()
			a.credentials, a.err = r.source.fetch(ctx)
			r.finish(a)
		})
	}
	return r.attempt
}

// finish keeps what an attempt has got, and decides when the next one is made.
func (r *renewer) finish(a *attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer close(a.done)
	r.attempt = nil
	again := r.err != nil
	r.err = a.err
	now := time.Now()
	if a.err != nil {
		delay := min(minBackoff<<min(r.failures, 10), maxBackoff)
		r.failures++
		r.next = now.Add(delay)
		if r.current.expires.After(r.next) {
			if !again && !r.closed {
				r.log.Warn("AWS credentials cannot be renewed, the last ones stay in use until they expire", "expiry", r.current.expires.UTC(), "error", foreign.Text(a.err.Error()))
			}
			r.schedule(delay)
		}
		return
	}
	if again && r.current.accessKeyID != "" {
		r.log.Info("AWS credentials can be renewed again")
	}
	r.failures, r.current = 0, a.credentials
	if left := a.expires.Sub(now); !a.expires.IsZero() {
		// Those of an instance may not be new yet.
		r.schedule(max(left-renewBefore, min(left/2, renewBefore), minBackoff))
	}
}

// schedule has an attempt made after that time. r.mu is held.
func (r *renewer) schedule(delay time.Duration) {
	if r.closed {
		return
	}
	if r.timer != nil {
		r.timer.Stop()
	}
	r.timer = time.AfterFunc(delay, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.start()
	})
}

// renew makes an attempt, unless there was one within a minute.
func (r *renewer) renew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.current.expires.IsZero() && time.Since(r.began) >= renewInterval {
		r.start()
	}
}

// close ends all attempts and waits for the one in progress.
func (r *renewer) close() {
	r.mu.Lock()
	r.closed = true
	if r.timer != nil {
		r.timer.Stop()
	}
	r.mu.Unlock()
	r.cancel()
	r.wg.Wait()
}

package awsiam

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a source that does what a test says.
type scripted struct {
	mu       sync.Mutex
	fetches  int
	err      error
	lifetime time.Duration
	delay    time.Duration
}

func (s *scripted) fetch(ctx context.Context) (credentials, error) {
	s.mu.Lock()
	s.fetches++
	n, err, lifetime, delay := s.fetches, s.err, s.lifetime, s.delay
	s.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return credentials{}, ctx.Err()
	}
	if err != nil {
		return credentials{}, err
	}
	return credentials{accessKeyID: fmt.Sprintf("key %d", n), expires: time.Now().Add(lifetime)}, nil
}

func (s *scripted) set(f func(*scripted)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *scripted) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches
}

// renewing runs a test with a renewer in a bubble of package synctest.
func renewing(t *testing.T, s *scripted, test func(t *testing.T, r *renewer, log *bytes.Buffer)) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := newRenewer(s, slog.New(slog.NewTextHandler(&log, nil)))
		defer r.close()
		test(t, r, &log)
	})
}

// wantKey fails unless the renewer returns the credentials of that attempt at once.
func wantKey(t *testing.T, r *renewer, n int) {
	t.Helper()
	begin := time.Now()
	c, err := r.get(t.Context())
	if want := fmt.Sprintf("key %d", n); err != nil || c.accessKeyID != want || time.Since(begin) != 0 {
		t.Errorf("got %s, %v after %s, want %s at once", c.accessKeyID, err, time.Since(begin), want)
	}
}

func after(d time.Duration) { time.Sleep(d); synctest.Wait() }

func TestCredentialsAreRenewedFiveMinutesBeforeTheyExpire(t *testing.T) {
	s := &scripted{lifetime: time.Hour}
	renewing(t, s, func(t *testing.T, r *renewer, log *bytes.Buffer) {
		after(time.Hour)
		if s.count() != 0 {
			t.Error("something was fetched before it was needed")
		}
		wantKey(t, r, 1)
		after(55*time.Minute - time.Second)
		wantKey(t, r, 1)
		after(time.Second)
		wantKey(t, r, 2)
		after(24 * time.Hour)
		if n := s.count(); n != 2+24*60/55 {
			t.Errorf("%d attempts", n)
		}
		if log.Len() > 0 {
			t.Errorf("got %s", log)
		}
	})
}

func TestCredentialsThatAreNotNewYetAreAskedForAgain(t *testing.T) {
	s := &scripted{lifetime: 4 * time.Minute}
	renewing(t, s, func(t *testing.T, r *renewer, _ *bytes.Buffer) {
		wantKey(t, r, 1)
		after(2 * time.Minute)
		wantKey(t, r, 2)
		s.set(func(s *scripted) { s.lifetime = time.Second })
		after(2 * time.Minute)
		n := s.count()
		after(time.Second)
		if got := s.count(); got != n+1 {
			t.Errorf("%d attempts in a second", got-n)
		}
	})
}

func TestOldCredentialsAreUsedUntilTheyExpire(t *testing.T) {
	s := &scripted{lifetime: time.Hour}
	renewing(t, s, func(t *testing.T, r *renewer, log *bytes.Buffer) {
		wantKey(t, r, 1)
		s.set(func(s *scripted) { s.err = errors.New("no role") })
		after(time.Hour - time.Second)
		wantKey(t, r, 1)
		if text := log.String(); strings.Count(text, "AWS credentials cannot be renewed") != 1 || !strings.Contains(text, "no role") || strings.Count(text, "\n") != 1 {
			t.Errorf("got %s", text)
		}
		after(time.Minute)
		if _, err := r.get(t.Context()); err == nil || err.Error() != "no role" {
			t.Errorf("got %v", err)
		}
		n := s.count()
		after(24 * time.Hour)
		if got := s.count(); got != n {
			t.Errorf("%d attempts that nobody asked for", got-n)
		}
		s.set(func(s *scripted) { s.err = nil })
		wantKey(t, r, n+1)
		if !strings.Contains(log.String(), "AWS credentials can be renewed again") {
			t.Errorf("got %s", log)
		}
	})
}

func TestFailedAttemptsAreBackedOff(t *testing.T) {
	s := &scripted{err: errors.New("no role")}
	renewing(t, s, func(t *testing.T, r *renewer, _ *bytes.Buffer) {
		begin := time.Now()
		var times []string
		for last := 0; time.Since(begin) < 100*time.Second; after(100 * time.Millisecond) {
			if _, err := r.get(t.Context()); err == nil || err.Error() != "no role" {
				t.Fatalf("got %v", err)
			}
			if n := s.count(); n > last {
				last = n
				times = append(times, time.Since(begin).String())
			}
		}
		if got := strings.Join(times, " "); got != "0s 1s 3s 7s 15s 31s 1m1s 1m31s" {
			t.Errorf("got %s", got)
		}
	})
}

func TestOneAttemptIsForAllWhoWait(t *testing.T) {
	s := &scripted{lifetime: time.Hour, delay: 3 * time.Second}
	renewing(t, s, func(t *testing.T, r *renewer, _ *bytes.Buffer) {
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := r.get(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() { // who gives up does not end it
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := r.get(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
		wg.Wait()
		if n := s.count(); n != 1 {
			t.Errorf("%d attempts", n)
		}
	})
}

func TestAttemptTakesFiveSecondsAtMost(t *testing.T) {
	s := &scripted{delay: time.Hour}
	renewing(t, s, func(t *testing.T, r *renewer, _ *bytes.Buffer) {
		begin := time.Now()
		_, err := r.get(t.Context())
		if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took != 5*time.Second {
			t.Errorf("got %v after %s", err, took)
		}
	})
}

func TestCloseEndsTheRenewal(t *testing.T) {
	s := &scripted{lifetime: time.Hour}
	renewing(t, s, func(t *testing.T, r *renewer, log *bytes.Buffer) {
		wantKey(t, r, 1)
		s.set(func(s *scripted) { s.delay = time.Hour })
		after(55 * time.Minute) // an attempt is in progress
		r.close()
		r.close()
		wantKey(t, r, 1) // for a login of the drain
		after(24 * time.Hour)
		if _, err := r.get(t.Context()); err == nil {
			t.Error("no error after the end")
		}
		if n := s.count(); n != 2 || log.Len() > 0 {
			t.Errorf("%d attempts, %s", n, log)
		}
	})
}

func TestRefusedCredentialsAreRenewedOnceAMinute(t *testing.T) {
	s := &scripted{lifetime: time.Hour}
	renewing(t, s, func(t *testing.T, r *renewer, _ *bytes.Buffer) {
		r.renew() // there are none
		wantKey(t, r, 1)
		for range 10 {
			r.renew()
		}
		synctest.Wait()
		wantKey(t, r, 1)
		for range 60 {
			after(time.Second)
			r.renew()
		}
		synctest.Wait()
		wantKey(t, r, 2)
		after(55*time.Minute - time.Second)
		wantKey(t, r, 2)
		after(time.Second)
		wantKey(t, r, 3)
	})
}

func TestKeysAreNeverRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRenewer(keys{credentials{accessKeyID: testID}}, nil)
		defer r.close()
		for range 3 {
			if c, err := r.get(t.Context()); err != nil || c.accessKeyID != testID {
				t.Errorf("got %v", err)
			}
			after(1000 * time.Hour)
			r.renew()
		}
	})
}

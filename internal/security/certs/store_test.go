package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kafka-upstream/internal/test/testcert"
)

// fakeSource answers loads as it is told, and counts them.
type fakeSource struct {
	mu    sync.Mutex
	loads []time.Time
	pair  testcert.Pair
	err   error
	takes time.Duration
}

func (f *fakeSource) set(pair testcert.Pair, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pair, f.err = pair, err
}

func (f *fakeSource) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.loads)
}

func (f *fakeSource) load(ctx context.Context, _ string) (*tls.Certificate, error) {
	f.mu.Lock()
	f.loads = append(f.loads, time.Now())
	takes := f.takes
	f.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	return parsePair(f.pair.Cert, f.pair.Key)
}

// testCA and its clients are made once: a bubble's clock starts in 2000, at
// which time its certificates would not be valid yet.
var (
	testCA  = testcert.New("a CA")
	client1 = testCA.Issue(testcert.Request{Name: "one", NotBefore: time.Unix(0, 0)})
	client2 = testCA.Issue(testcert.Request{Name: "two", NotBefore: time.Unix(0, 0)})
)

// bubble runs a test of a store over a fake source on synthetic time.
func bubble(t *testing.T, test func(t *testing.T, s *Store, f *fakeSource, l *logs)) {
	t.Helper()
	l := new(logs)
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{pair: client1}
		s := newStore(f.load, l.logger())
		// A goroutine that stays makes the bubble fail. Close must not be
		// what ends it where a test is about Release.
		test(t, s, f, l)
	})
	wantNoKey(t, l.String(), client1)
	wantNoKey(t, l.String(), client2)
}

func (s *Store) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}

func acquire(t *testing.T, s *Store, id string) *Certificate {
	t.Helper()
	c, err := s.Acquire(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// presented returns whose certificate a new connection presents.
func presented(t *testing.T, c *Certificate) string {
	t.Helper()
	cert, err := c.Present(nil)
	if err != nil || cert == nil {
		t.Fatalf("got %v, %v", cert, err)
	}
	return cert.Leaf.Subject.CommonName
}

func TestManyCallersShareOneLoad(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, f *fakeSource, l *logs) {
		f.takes = time.Second
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				c := acquire(t, s, id1)
				defer c.Release()
				if name := presented(t, c); name != "one" {
					t.Errorf("presented %s", name)
				}
				// Loaded, it is had at once, also without any time left.
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if again, err := s.Acquire(ctx, id1); err != nil {
					t.Error(err)
				} else {
					again.Release()
				}
				time.Sleep(time.Second)
			})
		}
		wg.Wait()
		if f.count() != 1 {
			t.Errorf("%d loads", f.count())
		}
	})
}

func TestNothingStaysAfterTheLastRelease(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, f *fakeSource, l *logs) {
		a, b := acquire(t, s, id1), acquire(t, s, id1)
		a.Release()
		a.Release() // counts once
		synctest.Wait()
		if s.inUse() != 1 {
			t.Fatal("a certificate in use was dropped")
		}
		b.Release()
		synctest.Wait()
		if s.inUse() != 0 {
			t.Error("an entry stays")
		}
		b.Recheck() // does nothing
		if presented(t, b) != "one" {
			t.Error("a TLS configuration stopped working")
		}
		time.Sleep(10 * checkInterval)
		if f.count() != 1 {
			t.Errorf("%d loads", f.count())
		}
		c := acquire(t, s, id1)
		if f.count() != 2 {
			t.Error("it was not loaded anew")
		}
		c.Release()
	})
}

func TestFailedFirstLoadIsRememberedForASecond(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, f *fakeSource, l *logs) {
		down := errors.New("the Admin API is down")
		f.set(testcert.Pair{}, down)
		f.takes = 100 * time.Millisecond
		var wg sync.WaitGroup
		for range 20 { // callers for 2 seconds, one each 100 ms
			wg.Go(func() {
				_, err := s.Acquire(t.Context(), id1)
				certErr, ok := errors.AsType[*Error](err)
				if !ok || certErr.ID != id1 || !errors.Is(err, down) {
					t.Errorf("got %v", err)
				}
				wantError(t, err, "could not load certificate", id1, "the Admin API is down")
			})
			time.Sleep(100 * time.Millisecond)
		}
		wg.Wait()
		if f.count() != 2 {
			t.Errorf("%d loads in 2 seconds", f.count())
		}
		if gap := f.loads[1].Sub(f.loads[0]); gap < time.Second {
			t.Errorf("second try after %s", gap)
		}
		// Another certificate is not held back.
		f.set(client1, nil)
		acquire(t, s, id2).Release()
		time.Sleep(minInterval)
		acquire(t, s, id1).Release()
		s.mu.Lock()
		if len(s.failed) != 0 {
			t.Errorf("old failures stay: %v", s.failed)
		}
		s.mu.Unlock()
		if l.String() != "" {
			t.Errorf("what is returned was logged too: %s", l)
		}
	})
}

func TestLoadHasADeadline(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, f *fakeSource, l *logs) {
		f.takes = time.Hour
		start := time.Now()
		_, err := s.Acquire(t.Context(), id1)
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != loadTimeout {
			t.Errorf("%v after %s", err, took)
		}
	})
}

func TestCallerWithoutTimeLeavesTheLoadToTheNext(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, f *fakeSource, l *logs) {
		f.takes = 3 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := s.Acquire(ctx, id1)
		if _, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		c := acquire(t, s, id1)
		if took := time.Since(start); took != 3*time.Second || f.count() != 1 {
			t.Errorf("had after %s and %d loads", took, f.count())
		}
		c.Release()
		// With nobody left at its end, it is dropped.
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s.Acquire(ctx, id2)
		time.Sleep(loadTimeout)
		if s.inUse() != 0 {
			t.Error("an entry stays")
		}
	})
}

func TestRotatedCertificateIsTakenUpWithinAMinute(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, f *fakeSource, l *logs) {
		c := acquire(t, s, id1)
		time.Sleep(checkInterval * 5 / 2)
		if presented(t, c) != "one" || f.count() != 3 || l.lines("rotated") != 0 {
			t.Fatalf("%d looks, %s", f.count(), l)
		}
		f.set(client2, nil)
		time.Sleep(checkInterval)
		if presented(t, c) != "two" || l.lines("was rotated") != 1 || l.lines("CN=two") != 1 {
			t.Errorf("presented %s, %s", presented(t, c), l)
		}
		time.Sleep(10 * checkInterval)
		if l.lines("") != 1 {
			t.Errorf("more than one line: %s", l)
		}
		c.Release()
	})
}

func TestRecheckIsAtOnceButAtMostOnceASecond(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, f *fakeSource, l *logs) {
		c := acquire(t, s, id1)
		time.Sleep(10 * time.Second)
		f.set(client2, nil)
		c.Recheck()
		synctest.Wait()
		if presented(t, c) != "two" || f.count() != 2 {
			t.Fatalf("after %d looks, %s is presented", f.count(), presented(t, c))
		}
		for range 500 { // for 5 seconds
			c.Recheck()
			time.Sleep(10 * time.Millisecond)
		}
		if n := f.count(); n < 6 || n > 7 {
			t.Errorf("%d looks", n-2)
		}
		// What was asked for is not forgotten for coming too early.
		time.Sleep(2 * time.Second)
		f.set(client2, nil)
		c.Recheck()
		synctest.Wait()
		f.set(client1, nil)
		c.Recheck()
		time.Sleep(minInterval)
		synctest.Wait()
		if presented(t, c) != "one" {
			t.Error("an early look was lost")
		}
		c.Recheck()
		c.Release() // while a look waits
	})
}

func TestFailedRecheckKeepsTheLastGoodCertificateAndLogsOnce(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, f *fakeSource, l *logs) {
		c := acquire(t, s, id1)
		for range 2 {
			f.set(testcert.Pair{}, errors.New("the Admin API is down"))
			time.Sleep(5 * checkInterval)
			if presented(t, c) != "one" {
				t.Error("the last good one is gone")
			}
			f.set(testcert.Pair{Cert: client1.Cert, Key: client2.Key}, nil) // half rotated
			time.Sleep(2 * checkInterval)
			if again := acquire(t, s, id1); presented(t, again) != "one" {
				t.Error("the last good one is gone for new users")
			} else {
				again.Release()
			}
			f.set(client1, nil)
			time.Sleep(5 * checkInterval)
		}
		if l.lines("cannot be reloaded") != 2 || l.lines("can be reloaded") != 2 || l.lines("") != 4 || l.lines("the Admin API is down") != 2 {
			t.Errorf("log: %s", l)
		}
		c.Release()
	})
}

func TestExpiredCertificateIsUsedWithOneWarning(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, f *fakeSource, l *logs) {
		expired := testCA.Issue(testcert.Request{Name: "old", NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(-time.Hour)})
		f.set(expired, nil)
		c := acquire(t, s, id1)
		time.Sleep(5 * checkInterval)
		if presented(t, c) != "old" || l.lines("certificate has expired") != 1 {
			t.Errorf("log: %s", l)
		}
		soon := testCA.Issue(testcert.Request{Name: "soon", NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(3 * checkInterval)})
		f.set(soon, nil)
		time.Sleep(2 * checkInterval)
		if l.lines("certificate has expired") != 1 {
			t.Errorf("log: %s", l)
		}
		time.Sleep(5 * checkInterval)
		if presented(t, c) != "soon" || l.lines("certificate has expired") != 2 {
			t.Errorf("log: %s", l)
		}
		c.Release()
	})
}

func TestCloseEndsEverything(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, f *fakeSource, l *logs) {
		c := acquire(t, s, id1)
		f.mu.Lock()
		f.takes = time.Hour
		f.mu.Unlock()
		waiting := make(chan error)
		go func() {
			_, err := s.Acquire(context.Background(), id2)
			waiting <- err
		}()
		synctest.Wait()
		start := time.Now()
		go s.Close()
		wantError(t, <-waiting, "could not load certificate", "the server is shutting down")
		s.Close()
		if time.Since(start) != 0 {
			t.Errorf("took %s", time.Since(start))
		}
		_, err := s.Acquire(t.Context(), id1)
		wantError(t, err, "could not load certificate", "the server is shutting down")
		if presented(t, c) != "one" {
			t.Error("a certificate that is held stopped working")
		}
		c.Recheck()
		c.Release()
	})
}

func TestIDThatIsNoUUIDIsNeverLookedFor(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, f *fakeSource, l *logs) {
		for _, id := range []string{
			"", "x", "../../../../../../../../etc/ssl/key-1", id1 + "0", id1[1:], "{" + id1[2:] + "}",
			strings.Replace(id1, "-", "/", 1), strings.Replace(id1, "6", "g", 1), strings.Replace(id1, "-", "0", 1),
			id1[:35] + "\n", strings.Repeat("a", 1<<20),
		} {
			c, err := s.Acquire(t.Context(), id)
			if _, ok := errors.AsType[*Error](err); !ok || c != nil || len(err.Error()) > 300 {
				t.Errorf("%.50q: %v, %v", id, c, err)
			}
			wantError(t, err, "could not load certificate", "not a UUID")
		}
		if f.count() != 0 {
			t.Errorf("%d loads", f.count())
		}
	})
}

func TestPrintedCertificateShowsNoKey(t *testing.T) {
	bubble(t, func(t *testing.T, s *Store, f *fakeSource, l *logs) {
		c := acquire(t, s, id1)
		defer c.Release()
		cert, err := c.Present(nil)
		if err != nil {
			t.Fatal(err)
		}
		key, err := cert.PrivateKey.(*ecdsa.PrivateKey).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		l.logger().Info("printed", "certificate", c)
		for _, printed := range []string{fmt.Sprintf("%v %+v %#v", c, c, c), fmt.Sprintf("%+v", struct{ C *Certificate }{c}), l.String()} {
			for _, form := range []string{new(big.Int).SetBytes(key).String(), hex.EncodeToString(key), strings.Trim(fmt.Sprint(key), "[]")} {
				if strings.Contains(printed, form) {
					t.Errorf("the key shows in %s", printed)
				}
			}
		}
	})
}

// Meant for the race detector.
func TestStoreIsUsedByManyAtOnce(t *testing.T) {
	f := &fakeSource{pair: client1}
	s := newStore(f.load, new(logs).logger())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				switch {
				case i == 0 && j%10 == 0:
					f.set(client1, errors.New("down"))
				case i == 0 && j%10 == 5:
					f.set(client2, nil)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(j)*time.Millisecond)
				if c, err := s.Acquire(ctx, []string{id1, id2}[j%2]); err == nil {
					c.Recheck()
					presented(t, c)
					c.Release()
				}
				cancel()
				if i == 1 && j == 40 {
					go s.Close()
				}
			}
		})
	}
	wg.Wait()
	s.Close()
	if s.inUse() != 0 {
		t.Errorf("%d entries stay", s.inUse())
	}
}

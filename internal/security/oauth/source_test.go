package oauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// script is a token endpoint within a bubble of synctest: each attempt is noted, and gets what
// reply says.
type script struct {
	begin time.Time
	log   logbook
	reply func(n int) (answer, error) // n counts attempts from 1

	mu       sync.Mutex
	attempts []time.Duration // since begin
}

func (s *script) fetch(ctx context.Context) (answer, time.Time, error) {
	sent := time.Now()
	s.mu.Lock()
	s.attempts = append(s.attempts, sent.Sub(s.begin))
	n := len(s.attempts)
	s.mu.Unlock()
	a, err := s.reply(n)
	return a, sent, err
}

func (s *script) seen() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.attempts)
}

// run runs a test with a Source of that script.
func run(t *testing.T, reply func(n int) (answer, error), test func(*testing.T, *Source, *script)) {
	synctest.Test(t, func(t *testing.T) {
		script := &script{begin: time.Now(), reply: reply}
		s := newSource("https://idp/token", script.fetch, func() {}, script.log.logger())
		defer s.Close()
		test(t, s, script)
	})
}

func numbered(n int) (answer, error) { return answer{fmt.Sprint("token", n), 100 * time.Second}, nil }

func wantToken(t *testing.T, s *Source, want string) {
	t.Helper()
	if got := token(t, s); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func wantAttempts(t *testing.T, s *script, seconds ...float64) {
	t.Helper()
	synctest.Wait()
	var want []time.Duration
	for _, at := range seconds {
		want = append(want, time.Duration(at*float64(time.Second)))
	}
	if got := s.seen(); !slices.Equal(got, want) {
		t.Errorf("attempts at %v, want %v", got, want)
	}
}

func TestNothingIsFetchedBeforeATokenIsNeeded(t *testing.T) {
	run(t, numbered, func(t *testing.T, s *Source, script *script) {
		time.Sleep(time.Hour)
		wantAttempts(t, script)
	})
}

func TestTokenIsRenewedInTheBackgroundAtFourFifthsOfItsLife(t *testing.T) {
	run(t, numbered, func(t *testing.T, s *Source, script *script) {
		wantToken(t, s, "token1")
		time.Sleep(79 * time.Second)
		wantToken(t, s, "token1")
		wantAttempts(t, script, 0)
		time.Sleep(2 * time.Second)
		wantToken(t, s, "token2")
		time.Sleep(80 * time.Second)
		wantToken(t, s, "token3")
		wantAttempts(t, script, 0, 80, 160)
		if script.log.String() != "" {
			t.Errorf("logged %s", &script.log)
		}
	})
}

func TestFirstFetchIsSharedByAllWhoWait(t *testing.T) {
	slow := func(n int) (answer, error) {
		time.Sleep(5 * time.Second)
		return numbered(n)
	}
	run(t, slow, func(t *testing.T, s *Source, script *script) {
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				if got, err := s.Token(t.Context()); got != "token1" || err != nil {
					t.Errorf("got %s, %v", got, err)
				}
			})
		}
		wg.Wait()
		wantAttempts(t, script, 0)
	})
}

func TestOldTokenIsUsedUntilItExpiresWhileRenewalFails(t *testing.T) {
	away := func(n int) (answer, error) {
		if n > 1 {
			return answer{}, errors.New("it is away")
		}
		return numbered(n)
	}
	run(t, away, func(t *testing.T, s *Source, script *script) {
		wantToken(t, s, "token1")
		for range 99 {
			time.Sleep(time.Second)
			wantToken(t, s, "token1")
		}
		wantAttempts(t, script, 0, 80, 81, 83, 87, 95)
		time.Sleep(1001 * time.Millisecond) // 100.001 s
		wantError(t, t.Context(), s, "it is away")
		wantAttempts(t, script, 0, 80, 81, 83, 87, 95, 100.001)
	})
}

func TestRenewalBacksOffToHalfAMinute(t *testing.T) {
	away := func(int) (answer, error) { return answer{}, errors.New("it is away") }
	run(t, away, func(t *testing.T, s *Source, script *script) {
		wantError(t, t.Context(), s, "it is away")
		time.Sleep(122 * time.Second)
		wantAttempts(t, script, 0, 1, 3, 7, 15, 31, 61, 91, 121)
	})
}

func TestChangesOfStateAreLoggedOnce(t *testing.T) {
	flaky := func(n int) (answer, error) {
		if n%4 != 1 { // after each token, three failures
			return answer{}, fmt.Errorf("it is away the time %d", n)
		}
		return numbered(n)
	}
	run(t, flaky, func(t *testing.T, s *Source, script *script) {
		for range 200 { // tokens at 0, 87 and 174 seconds
			_, _ = s.Token(t.Context())
			time.Sleep(time.Second)
		}
		lines := script.log.lines()
		if len(lines) != 4 {
			t.Fatalf("got %d lines: %s", len(lines), &script.log)
		}
		for i, texts := range [][]string{{"level=WARN", "cannot get", "the time 2", "token_endpoint=https://idp/token"}, {"level=INFO", "again"}, {"level=WARN", "the time 6"}, {"level=INFO", "again"}} {
			for _, text := range texts {
				if !strings.Contains(lines[i], text) {
					t.Errorf("%s lacks %s", lines[i], text)
				}
			}
		}
	})
}

func TestFailureIsRememberedForASecond(t *testing.T) {
	away := func(n int) (answer, error) { return answer{}, fmt.Errorf("it is away the time %d", n) }
	run(t, away, func(t *testing.T, s *Source, script *script) {
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() { wantError(t, t.Context(), s, "it is away the time 1") })
		}
		wg.Wait()
		time.Sleep(999 * time.Millisecond)
		wantError(t, t.Context(), s, "it is away the time 1")
		wantAttempts(t, script, 0)
		time.Sleep(time.Second + time.Millisecond) // after the attempt of the background at 1 s
		wantError(t, t.Context(), s, "it is away the time 3")
		wantAttempts(t, script, 0, 1, 2)
	})
}

// A client that is not accepted does not become so by asking every second, and an identity
// provider may answer nobody of its owner's any more after too many requests.
func TestRefusalIsRememberedUntilTheNextAttempt(t *testing.T) {
	refuse := func(int) (answer, error) { return answer{}, &fetchError{"no", true} }
	run(t, refuse, func(t *testing.T, s *Source, script *script) {
		for range 1000 {
			wantError(t, t.Context(), s, "no")
			time.Sleep(100 * time.Millisecond)
		}
		wantAttempts(t, script, 0, 1, 3, 7, 15, 31, 61, 91)
	})
}

func TestCallerWaitsNotLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reply := make(chan answer)
		script := &script{begin: time.Now(), reply: func(int) (answer, error) { return <-reply, nil }}
		s := newSource("https://idp/token", script.fetch, func() {}, script.log.logger())
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantError(t, ctx, s, "no answer in time", context.DeadlineExceeded.Error())
		if _, err := s.Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		reply <- answer{"token1", time.Minute}
		synctest.Wait()
		wantToken(t, s, "token1")
		if got, err := s.Token(ctx); err != nil || got != "token1" { // though it has ended
			t.Errorf("got %s, %v", got, err)
		}
		wantAttempts(t, script, 0)
	})
}

func TestLifetimeBeginsWhenTheTokenIsAskedFor(t *testing.T) {
	slow := func(n int) (answer, error) {
		time.Sleep(9 * time.Second)
		return answer{fmt.Sprint("token", n), 10 * time.Second}, nil
	}
	run(t, slow, func(t *testing.T, s *Source, script *script) {
		wantToken(t, s, "token1")
		time.Sleep(1001 * time.Millisecond) // at 10.001 s it has expired
		wantToken(t, s, "token2")
		wantAttempts(t, script, 0, 10)
	})
}

func TestTokenOfTheShortestLifeIsRenewedOnceASecond(t *testing.T) {
	short := func(n int) (answer, error) { return answer{fmt.Sprint("token", n), minLifetime}, nil }
	run(t, short, func(t *testing.T, s *Source, script *script) {
		wantToken(t, s, "token1")
		time.Sleep(3500 * time.Millisecond)
		wantAttempts(t, script, 0, 1, 2, 3)
	})
}

func TestTokenThatWasRefusedIsReplacedOnce(t *testing.T) {
	run(t, numbered, func(t *testing.T, s *Source, script *script) {
		wantToken(t, s, "token1")
		time.Sleep(10 * time.Second)
		s.Drop("token0")
		wantToken(t, s, "token1")
		s.Drop("token1")
		wantToken(t, s, "token2")
		s.Drop("token1") // by another connection, later
		wantToken(t, s, "token2")
		wantAttempts(t, script, 0, 10)
	})
}

func TestCloseEndsWaitingAndKeepsTheLastToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetch := func(ctx context.Context) (answer, time.Time, error) {
			<-ctx.Done()
			return answer{}, time.Now(), ctx.Err()
		}
		var log logbook
		s := newSource("https://idp/token", fetch, func() {}, log.logger())
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { wantError(t, context.Background(), s, errClosed.Error()) })
		}
		synctest.Wait()
		s.Close()
		wg.Wait()
		wantError(t, context.Background(), s, errClosed.Error())
		s.Close()
		if log.String() != "" {
			t.Errorf("logged %s", &log)
		}
	})
	run(t, numbered, func(t *testing.T, s *Source, script *script) {
		wantToken(t, s, "token1")
		s.Close()
		time.Sleep(99 * time.Second)
		wantToken(t, s, "token1")
		time.Sleep(2 * time.Second)
		wantError(t, t.Context(), s, errClosed.Error())
		wantAttempts(t, script, 0)
	})
}

// Package oauth gets OAuth 2.0 access tokens for a client of its own (RFC 6749), keeps them
// while they live, and renews them in the background. Nothing in it prints a secret or a
// token: not in an error, not in a log, not when a value is formatted.
//
// The token request is written here, in about fifty lines, because golang.org/x/oauth2 puts
// whole answers into its errors, reports a failed network like a refused client, and counts
// a token's lifetime from the end of the answer.
package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"kafka-upstream/internal/foreign"
)

const (
	// renewAt is the part of its lifetime after which a token is renewed, in percent.
	renewAt = 80
	// minInterval and maxInterval bound the time between two attempts after a failure, which
	// doubles. For minInterval its error answers all who need a token; for all of that time, if
	// the token endpoint refused us: it may count failures, and limits how often it is asked.
	minInterval = time.Second
	maxInterval = 30 * time.Second
)

var errClosed = errors.New("the server is shutting down")

// Env is what a process gives its Sources.
type Env struct {
	// CAFile is a PEM file of authorities that the certificates of token endpoints may be
	// from, in addition to the system's (the flag -ca-file). "" for none.
	CAFile string
	Log    *slog.Logger
}

// TokenError says that there is no token. Its text names the cause in one sentence, without
// secrets.
type TokenError struct {
	Endpoint string // the URL of the token endpoint, without its query
	Err      error
}

func (e *TokenError) Error() string {
	return fmt.Sprintf("could not get token from %.300s: %s", e.Endpoint, foreign.Text(e.Err.Error()))
}

// Unwrap returns the cause.
func (e *TokenError) Unwrap() error { return e.Err }

// Source is the access token of one client. The first call of Token fetches it; from then on
// it is renewed until Close even if it is not used, so that a login finds a token although
// the endpoint has been unavailable for a while. Its methods may be called from many
// goroutines at once.
// It prints as "[redacted]".
type Source struct {
	endpoint string // for errors
	fetch    func(context.Context) (a answer, sent time.Time, err error)
	log      *slog.Logger

	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	release func()        // closes connections
	needed  chan struct{} // holds one request to fetch a token now

	mu       sync.Mutex
	closed   bool
	token    string    // the newest
	expires  time.Time // of token, by the monotonic clock
	err      error     // of the newest attempt, a *TokenError
	retry    time.Time // until when err answers all who need a token
	fetching bool
	attempt  *attempt // the one that is being made, or else the next one
}

// attempt is an attempt to get a token, and those who wait for it.
type attempt struct {
	done  chan struct{} // closed when it is over
	token string
	err   error // a *TokenError
}

// New returns a Source that has not opened anything yet, to be closed. The error names what
// cannot be used, and shows no secret.
func New(o Options, env Env) (*Source, error) {
	if problems := o.Check("oauth2"); len(problems) > 0 {
		return nil, errors.New(strings.Join(problems, "; "))
	}
	endpoint, err := newEndpoint(o, env)
	if err != nil {
		return nil, err
	}
	s := newSource(shown(o.TokenURL), endpoint.fetch, endpoint.close, env.Log)
	if strings.HasPrefix(s.endpoint, "http:") {
		s.log.Warn("credentials and tokens are sent in the clear: use a token endpoint with https")
	}
	return s, nil
}

// shown returns a token endpoint as it may be shown.
func shown(tokenURL string) string {
	u, err := url.Parse(tokenURL)
	if err != nil {
		return "" // Check has refused it
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

func newSource(endpoint string, fetch func(context.Context) (answer, time.Time, error), release func(), log *slog.Logger) *Source {
	s := &Source{
		endpoint: endpoint,
		fetch:    fetch,
		release:  release,
		log:      log.With("token_endpoint", endpoint),
		needed:   make(chan struct{}, 1),
		attempt:  &attempt{done: make(chan struct{})},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Go(s.run)
	return s
}

// Format implements fmt.Formatter for all verbs; see [Source].
func (*Source) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, foreign.Redacted) }

// Token returns a token that has not expired. It waits only if there is none, for one request
// that all callers share, and not longer than ctx. For a second after a failed request, or up
// to 30 s if it was refused, it returns that one's error. Its error is always a *[TokenError]. After Close it returns the
// last token until that expires.
func (s *Source) Token(ctx context.Context) (string, error) {
	attempt, token, err := s.current()
	if attempt == nil {
		return token, err
	}
	select {
	case <-attempt.done:
	case <-ctx.Done():
		return "", &TokenError{s.endpoint, fmt.Errorf("there was no answer in time: %w", context.Cause(ctx))}
	}
	return attempt.token, attempt.err
}

// Drop discards a token that a peer refused although it has not expired. If it is the newest
// one, the next call of Token gets another. Callers limit how often: what is refused again and
// again does not become better by asking for more.
func (s *Source) Drop(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if token == s.token {
		s.expires = time.Time{}
	}
}

// current returns the token or the error of now, or the attempt that there is to wait for.
func (s *Source) current() (_ *attempt, token string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch now := time.Now(); {
	case now.Before(s.expires):
		return nil, s.token, nil
	case s.closed:
		return nil, "", &TokenError{s.endpoint, errClosed}
	case s.err != nil && now.Before(s.retry):
		return nil, "", s.err
	case s.fetching:
	default:
		select {
		case s.needed <- struct{}{}:
		default:
		}
	}
	return s.attempt, "", nil
}

// run makes all attempts, one after the other: when the token is to be renewed, and when
// one is needed and there is none.
func (s *Source) run() {
	timer := time.NewTimer(time.Hour)
	timer.Stop() // until there is something to renew
	defer timer.Stop()
	failures := 0 // in a row
	for {
		select {
		case <-s.ctx.Done():
			s.finish(answer{}, time.Time{}, errClosed, 0)
			return
		case <-timer.C:
		case <-s.needed:
		}
		s.begin()
		a, sent, err := s.fetch(s.ctx)
		if s.ctx.Err() != nil {
			err = errClosed
		}
		interval := min(minInterval<<min(failures, 8), maxInterval)
		hold := minInterval
		if e, ok := errors.AsType[*fetchError](err); ok && e.refused {
			hold = interval
		}
		s.finish(a, sent, err, hold)
		switch {
		case s.ctx.Err() != nil:
		case err != nil:
			timer.Reset(interval)
			if failures++; failures == 1 {
				s.log.Warn("cannot get an access token: the last one, if any, stays in use until it expires", "error", err)
			}
		default:
			timer.Reset(max(time.Until(sent.Add(a.lifetime*renewAt/100)), minInterval))
			if failures > 0 {
				s.log.Info("got an access token again")
			}
			failures = 0
		}
	}
}

func (s *Source) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetching = true
	select { // this attempt is what was asked for
	case <-s.needed:
	default:
	}
}

// finish ends an attempt. For hold its error answers all who need a token.
func (s *Source) finish(a answer, sent time.Time, err error, hold time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetching = false
	if err == nil {
		s.token, s.expires, s.err = a.token, sent.Add(a.lifetime), nil
		s.attempt.token = a.token
	} else {
		s.err, s.retry = &TokenError{s.endpoint, err}, time.Now().Add(hold)
		s.attempt.err = s.err
	}
	close(s.attempt.done)
	s.attempt = &attempt{done: make(chan struct{})}
}

// Close ends all background work and waits for that. It may be called again.
func (s *Source) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
	s.release()
}

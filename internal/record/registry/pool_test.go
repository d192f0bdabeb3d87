package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
)

var errDown = errors.New("dial tcp 10.0.0.7:8081: connect: connection refused")

func seedUser(fake *srfake.Registry, version, id int) {
	fake.SeedSchema("user", version, id, schemaOf(sr.TypeAvro, avroUser))
}

// id returns the id with which a value is serialized.
func id(t *testing.T, s *Schemas) int {
	t.Helper()
	b, err := s.Value.Append(nil, []byte(`{"name":"Anna","age":30}`))
	if err != nil {
		t.Fatal(err)
	}
	n, _, err := new(sr.ConfluentHeader).DecodeID(b)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Requests do not wait for a registry that was away when their instance started, and find the
// schema once it is back.
func TestRegistryThatIsDownAtTheStartIsAskedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Pool, d *direct, fake *srfake.Registry, log *logged) {
		seedUser(fake, 1, 5)
		d.fails(errDown)
		s := acquire(t, p, value("user"))
		before := time.Now()
		var b blocks
		for range 100 {
			err := s.Ready(t.Context(), &b)
			if _, ok := errors.AsType[*UnavailableError](err); !ok || !strings.HasPrefix(err.Error(), `could not get schema "user", version latest, from http://registry:8081: it cannot be reached: dial tcp`) {
				t.Fatal(err)
			}
		}
		if took := time.Since(before); took != 0 || b > 1 || d.count() != 1 {
			t.Errorf("100 requests took %v, %d blocked, and there were %d fetches", took, b, d.count())
		}
		if got := p.Stats(); got.Schemas[Missing] != 1 || got.Fetches[Unavailable] != 1 {
			t.Errorf("%+v", got)
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} { // seconds
			synctest.Wait()
			n := d.count()
			time.Sleep(want*time.Second - time.Millisecond)
			synctest.Wait()
			if d.count() != n {
				t.Errorf("attempt %d was made too early", i+2)
			}
			time.Sleep(time.Millisecond)
			synctest.Wait()
			if d.count() != n+1 {
				t.Errorf("attempt %d was made too late", i+2)
			}
		}
		d.fails(nil)
		time.Sleep(maxInterval)
		synctest.Wait()
		if err := s.Ready(t.Context(), &b); err != nil || b > 1 || id(t, s) != 5 {
			t.Errorf("%v, %d blocked", err, b)
		}
		if got := p.Stats(); got.Schemas[Current] != 1 || got.Stale != 0 || got.Fetches[Fetched] != 1 {
			t.Errorf("%+v", got)
		}
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("the log has %d lines:\n%s", n, log)
		}
	})
}

func TestFirstRequestWaitsForTheFirstFetchAndNotForever(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Pool, d *direct, fake *srfake.Registry, _ *logged) {
		seedUser(fake, 1, 5)
		d.serves(slowly(3*time.Second, d.handler))
		s := acquire(t, p, value("user"))
		before := time.Now()
		var b blocks
		if err := s.Ready(t.Context(), &b); err != nil || time.Since(before) != 3*time.Second || b != 1 {
			t.Errorf("%v after %v, %d times blocked", err, time.Since(before), b)
		}

		d.serves(slowly(time.Hour, d.handler))
		s = acquire(t, p, value("other"))
		before = time.Now()
		err := s.Ready(t.Context(), &b)
		if _, ok := errors.AsType[*UnavailableError](err); !ok || time.Since(before) > readyTimeout {
			t.Errorf("%v after %v", err, time.Since(before))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s = acquire(t, p, value("third"))
		before = time.Now()
		if err := s.Ready(ctx, &b); err == nil || time.Since(before) != 0 {
			t.Errorf("the request has ended: %v after %v", err, time.Since(before))
		}
	})
}

func TestFirstRequestWaitsForBothSchemasNoLongerThanForOne(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Pool, d *direct, fake *srfake.Registry, _ *logged) {
		seedUser(fake, 1, 5)
		d.serves(slowly(9*time.Second, d.handler))
		o := value("user")
		o.Key = Subject{Name: "key"}
		fake.SeedSchema("key", 1, 6, schemaOf(sr.TypeAvro, `"string"`, sr.SchemaReference{Name: "user", Subject: "user", Version: 1}))
		s := acquire(t, p, o)
		before := time.Now()
		if err := ready(t, s); err == nil || time.Since(before) != readyTimeout {
			t.Errorf("%v after %v", err, time.Since(before))
		}
	})
}

func slowly(wait time.Duration, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(wait):
			h.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
}

// Kong's plugin did not apply ttl.
func TestLatestVersionIsFetchedAgainAfterItsTTL(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Pool, d *direct, fake *srfake.Registry, log *logged) {
		seedUser(fake, 1, 5)
		o := value("user")
		o.TTL = 60 * time.Second
		s := acquire(t, p, o)
		if err := ready(t, s); err != nil {
			t.Fatal(err)
		}
		seedUser(fake, 2, 6)
		time.Sleep(o.TTL - time.Millisecond)
		synctest.Wait()
		if id(t, s) != 5 || d.count() != 1 {
			t.Errorf("id %d after %d fetches", id(t, s), d.count())
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if id(t, s) != 6 || d.count() != 2 {
			t.Errorf("id %d after %d fetches", id(t, s), d.count())
		}
		time.Sleep(10 * o.TTL)
		synctest.Wait()
		if d.count() != 12 || strings.Count(log.String(), "new version") != 1 {
			t.Errorf("%d fetches\n%s", d.count(), log)
		}
	})
}

func TestTTLOfZeroIsAFetchAtEachUseAndAtMostOneASecond(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Pool, d *direct, fake *srfake.Registry, _ *logged) {
		seedUser(fake, 1, 5)
		o := value("user")
		o.TTL = 0
		s := acquire(t, p, o)
		if err := ready(t, s); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if d.count() > 2 { // the first request has used it, too
			t.Errorf("%d fetches without a request", d.count())
		}
		n := d.count()
		for range 100 {
			id(t, s)
			time.Sleep(100 * time.Millisecond)
		}
		if got := d.count() - n; got < 9 || got > 11 {
			t.Errorf("%d fetches in 10 s", got)
		}
		time.Sleep(5 * time.Second)
		seedUser(fake, 2, 6)
		time.Sleep(5 * time.Second)
		if id(t, s) != 5 {
			t.Error("it was fetched without a request")
		}
		synctest.Wait()
		if id(t, s) != 6 {
			t.Error("the next request has the old schema")
		}
	})
}

func TestFixedVersionIsFetchedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Pool, d *direct, fake *srfake.Registry, _ *logged) {
		seedUser(fake, 1, 5)
		seedUser(fake, 2, 6)
		o := value("user")
		o.Value.Version = "1"
		s := acquire(t, p, o)
		_ = ready(t, s)
		o.TTL = time.Hour // is no matter
		again := acquire(t, p, o)
		time.Sleep(24 * time.Hour)
		if err := ready(t, again); err != nil || id(t, again) != 5 || d.count() != 1 {
			t.Errorf("%v, id %d, %d fetches", err, id(t, s), d.count())
		}
		if d.requests[0] != "/subjects/user/versions/1" {
			t.Errorf("%q", d.requests)
		}
	})
}

func TestSchemaStaysInUseWhileTheRegistryIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Pool, d *direct, fake *srfake.Registry, log *logged) {
		seedUser(fake, 1, 5)
		s := acquire(t, p, value("user"))
		_ = ready(t, s)
		for _, fault := range []http.HandlerFunc{
			nil,
			func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusServiceUnavailable) },
			func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, `{"error_code":40401,"message":"Subject 'user' not found."}`, http.StatusNotFound)
			},
			func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
			func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, `{"id":9,"version":2,"schema":"{\"type\":\"no\"}"}`)
			},
		} {
			if fault == nil {
				d.fails(errDown)
			} else {
				d.serves(fault)
			}
			time.Sleep(time.Hour)
			if err := ready(t, s); err != nil || id(t, s) != 5 {
				t.Errorf("%v, id %d", err, id(t, s))
			}
			if got := p.Stats(); got.Schemas[Stale] != 1 || got.Stale < 54*time.Minute || got.Stale > time.Hour {
				t.Errorf("%+v", got)
			}
			d.serves(fake.Handler())
			d.fails(nil)
			time.Sleep(time.Minute)
			if got := p.Stats(); got.Schemas[Current] != 1 || got.Stale != 0 {
				t.Errorf("%+v", got)
			}
		}
		if n := strings.Count(log.String(), "\n"); n != 1+2*5 {
			t.Errorf("the log has %d lines:\n%s", n, log)
		}
	})
}

// A schema that the registry has and that cannot be used is a fault of the configuration, until
// there is one that can.
func TestSchemaThatCannotBeUsedIsReplacedByOneThatCan(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Pool, _ *direct, fake *srfake.Registry, _ *logged) {
		fake.SeedSchema("user", 1, 4, schemaOf(sr.TypeAvro, `{"type":"no"}`))
		s := acquire(t, p, value("user"))
		err := ready(t, s)
		if unusable, ok := errors.AsType[*SchemaError](err); !ok || unusable.Version != 1 || !strings.HasPrefix(err.Error(), `schema "user", version 1, of http://registry:8081: `) {
			t.Error(err)
		}
		if got := p.Stats(); got.Schemas[Missing] != 1 || got.Fetches[Unusable] != 1 {
			t.Errorf("%+v", got)
		}
		seedUser(fake, 2, 5)
		time.Sleep(time.Minute)
		if err := ready(t, s); err != nil || id(t, s) != 5 {
			t.Error(err)
		}
	})
}

// Kong's plugin shared schemas with configurations of other credentials and registries.
func TestSchemasAreSharedByEqualConfigurationsAlone(t *testing.T) {
	base := Options{URL: "http://registry:8081", TTL: DefaultTTL, Value: Subject{Name: "user"},
		Auth: Auth{Mode: authBasic, User: "u", Password: "p"}, MaxValue: 1 << 20}
	base.Auth.OAuth.TokenURL, base.Auth.OAuth.ClientID, base.Auth.OAuth.ClientSecret = "http://127.0.0.1:1/token", "c", "s"
	change := func(f func(o *Options)) Options {
		o := base
		f(&o)
		return o
	}
	oauth := change(func(o *Options) { o.Auth.Mode = authOAuth2 })
	p, _ := newPool(t, Env{transport: &direct{fail: errDown}})
	seen := map[*entry]int{}
	for i, o := range []Options{
		base, oauth,
		change(func(o *Options) { o.URL = "http://other:8081" }),
		change(func(o *Options) { o.URL = "http://registry:8081/path" }),
		change(func(o *Options) { o.SkipVerify = true }),
		change(func(o *Options) { o.CertificateID = "7c8b3ba3-9d3c-4b3f-8b6d-0f3c6a5f1c11" }),
		change(func(o *Options) { o.Auth.Mode = "" }),
		change(func(o *Options) { o.Auth.User = "other" }),
		change(func(o *Options) { o.Auth.Password = "other" }),
		change(func(o *Options) { o.Auth.ClusterID = "other" }),
		change(func(o *Options) { o.Auth.IdentityPoolID = "other" }),
		change(func(o *Options) { o.Value.Name = "other" }),
		change(func(o *Options) { o.Value.Version = "1" }),
		change(func(o *Options) { o.TTL = time.Minute }),
		change(func(o *Options) { o.MaxValue = 1000 }),
		change(func(o *Options) { *o = oauth; o.Auth.OAuth.ClientID = "other" }),
		change(func(o *Options) { *o = oauth; o.Auth.OAuth.ClientSecret = "other" }),
		change(func(o *Options) { *o = oauth; o.Auth.OAuth.Scopes = []string{"other"} }),
		change(func(o *Options) { *o = oauth; o.Auth.OAuth.SkipVerify = true }),
	} {
		e := acquire(t, p, o).Value.entry
		if other, ok := seen[e]; ok {
			t.Errorf("row %d shares a schema with row %d", i, other)
		}
		seen[e] = i
	}
	for i, o := range []Options{
		base,
		change(func(o *Options) { o.URL += "/" }),
		change(func(o *Options) { o.Value.Version = latest }),
		change(func(o *Options) { o.Key = o.Value }),
		change(func(o *Options) { o.Auth.OAuth.ClientSecret = "not used" }),
		change(func(o *Options) { *o = oauth; o.Auth.Password = "not used" }),
	} {
		if _, ok := seen[acquire(t, p, o).Value.entry]; !ok {
			t.Errorf("row %d does not share its schema", i)
		}
	}
}

// Kong ends an instance before it starts the one of a changed configuration.
func TestSchemaIsKeptForSomeTimeAfterItsConfiguration(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Pool, d *direct, fake *srfake.Registry, _ *logged) {
		seedUser(fake, 1, 5)
		o := value("user")
		o.Value.Version = "1"
		s := acquire(t, p, o)
		_ = ready(t, s)
		s.Release()
		if id(t, s) != 5 {
			t.Error("a request in flight has no schema")
		}
		d.fails(errDown)
		time.Sleep(linger - time.Second)
		s = acquire(t, p, o)
		if err := ready(t, s); err != nil || d.count() != 1 {
			t.Errorf("%v after %d fetches", err, d.count())
		}
		time.Sleep(2 * linger) // the timer of the first is not the second's
		if got := p.Stats(); got.Schemas[Current] != 1 {
			t.Errorf("%+v", got)
		}
		s.Release()
		time.Sleep(linger)
		synctest.Wait()
		if len(p.entries) != 0 || len(p.clients) != 0 {
			t.Errorf("%d schemas of %d registries are kept", len(p.entries), len(p.clients))
		}
	})
}

func TestNumberOfSchemasIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Pool, d *direct, _ *srfake.Registry, _ *logged) {
		d.fails(errDown)
		first := acquire(t, p, value("user"))
		for i := range maxSchemas - 1 {
			p.entries[digest(i)] = &entry{refs: 1}
		}
		if _, err := p.Acquire(value("more")); err != errTooMany {
			t.Errorf("one more: %v", err)
		}
		first.Release()
		acquire(t, p, value("more"))
		if len(p.entries) != maxSchemas {
			t.Errorf("there are %d", len(p.entries))
		}
	})
}

func TestClosedPoolEndsItsWorkAndItsSchemasStayUsable(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Pool, d *direct, fake *srfake.Registry, _ *logged) {
		seedUser(fake, 1, 5)
		s := acquire(t, p, value("user"))
		_ = ready(t, s)
		d.serves(slowly(time.Hour, d.handler))
		o := value("user")
		o.URL = "http://slow"
		waiting := acquire(t, p, o)
		released := acquire(t, p, value("user"))
		released.Release()
		p.Close()
		p.Close()
		if id(t, s) != 5 {
			t.Error("the schema is gone")
		}
		if err := ready(t, waiting); err == nil || !strings.Contains(err.Error(), "shutting down") {
			t.Errorf("one that is being fetched: %v", err)
		}
		if _, err := p.Acquire(value("user")); err == nil {
			t.Error("a schema was acquired")
		}
		s.Release()
	})
}

func TestSchemaChangesUnderLoad(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Pool, _ *direct, fake *srfake.Registry, _ *logged) {
		seedUser(fake, 1, 101)
		o := value("user")
		o.TTL = time.Second
		s := acquire(t, p, o)
		_ = ready(t, s)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				last := 0
				for range 200 {
					if n := id(t, s); n < last || n < 101 || n > 110 {
						t.Errorf("id %d after %d", n, last)
					} else {
						last = n
					}
					time.Sleep(37 * time.Millisecond)
				}
			})
		}
		for v := 2; v <= 6; v++ {
			time.Sleep(time.Second)
			seedUser(fake, v, 100+v)
		}
		wg.Wait()
		if id(t, s) != 106 {
			t.Errorf("id %d", id(t, s))
		}
	})
}

package e2e

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/testcert"
)

func TestSASLMechanismsWithOddUsersAndPasswords(t *testing.T) {
	t.Parallel()
	type login struct{ user, password string }
	ca := testcert.New("an authority")
	logins := map[string][]login{
		"PLAIN":         {{"orders", rig.Secret("correct horse")}, {"us,er=1", rig.Secret("=p=ä, 💧\u2168 b\"\\")}, {"Ünïcödé 用户", rig.Secret("=,=,=,=,=")}},
		"SCRAM-SHA-256": {{"orders", rig.Secret("correct horse")}, {"us,er=1", rig.Secret("=p=ä, 💧\u2168 b\"\\")}, {"=2C", rig.Secret("=,=,=,=,=")}},
		"SCRAM-SHA-512": {{"orders", rig.Secret("correct horse")}, {"us,er=1", rig.Secret("=p=ä, 💧\u2168 b\"\\")}, {"=2C", rig.Secret("=,=,=,=,=")}},
	}
	options := []kfake.Opt{kfake.EnableSASL(), kfake.SeedTopics(1, "t"), kfake.Superuser("PLAIN", "reader", "reader")}
	for mechanism, list := range logins {
		for _, l := range list {
			options = append(options, kfake.Superuser(mechanism, l.user, l.password))
		}
	}
	clear, encrypted := kafkatest.StartFake(t, options...), kafkatest.StartFakeTLS(t, ca.ServerConfig("127.0.0.1"), options...)
	configs := map[string][]byte{}
	for mechanism, list := range logins {
		for i, l := range list {
			auth := map[string]any{"authentication": sasl(mechanism, l.user, l.password)}
			name := strings.ToLower(fmt.Sprintf("%s.%d", mechanism, i))
			configs[name+".clear"] = rig.Settings(t, clear.Addrs(), with(synced, auth))
			configs[name+".tls"] = rig.Settings(t, encrypted.Addrs(), with(synced, auth, map[string]any{"security": overTLS()}))
		}
	}
	s := secured(t, hosts(configs), caFlag(t, ca)...)
	for name := range configs {
		s.want(name, 200)
	}
	reader := kgo.SASL(plain.Auth{User: "reader", Pass: "reader"}.AsMechanism())
	if n, m := len(clear.Records(t, "t", 9, reader)), len(encrypted.Records(t, "t", 9, reader)); n != 9 || m != 9 {
		t.Errorf("%d records came in the clear and %d by TLS", n, m)
	}
}

func TestPlainWithoutTLSIsWarnedOfOnce(t *testing.T) {
	t.Parallel()
	f := kafkatest.StartFake(t, kfake.EnableSASL(), kfake.SeedTopics(1, "t"), kfake.Superuser("PLAIN", "orders", rig.Secret("correct horse")), kfake.Superuser("SCRAM-SHA-256", "orders", "correct horse"))
	s := secured(t, hosts(map[string][]byte{
		"plain": rig.Settings(t, f.Addrs(), with(synced, map[string]any{"authentication": sasl("PLAIN", "orders", "correct horse")})),
		"scram": rig.Settings(t, f.Addrs(), with(synced, map[string]any{"authentication": sasl("SCRAM-SHA-256", "orders", "correct horse")})),
	}))
	var wg sync.WaitGroup
	for range 20 { // by all workers, and at the same time
		wg.Go(func() { s.want("plain", 200) })
		wg.Go(func() { s.want("scram", 200) })
	}
	wg.Wait()
	if n := s.count("level=WARN msg=\"the password goes to the brokers in the clear"); n != 1 {
		t.Errorf("%d lines warn of it", n)
	}
}

// A producer that was refused, and has nothing to deliver, holds up no end.
func TestEndDoesNotWaitForABrokerThatRefuses(t *testing.T) {
	g := startGate(t, 1, "right")
	s := rig.Start(t)
	w := s.Worker()
	exit, err := w.HandleEvent(t.Context(), rig.NewPlugin(g.settings(t, rig.Secret("wr0ng-password"), synced)), new(rig.Kong))
	if err != nil || exit.Status != 502 {
		t.Fatalf("%+v, %v", exit, err)
	}
	begin := time.Now()
	s.Signal(syscall.SIGTERM)
	if code, d := s.Wait(), time.Since(begin); code != 0 || d > 4*time.Second {
		t.Errorf("it ended with %d after %v", code, d)
	}
}

// gate is a broker that keeps account of who logs in. It takes PLAIN from
// whoever has a password that is allowed at the time, and answers the others as
// Kafka does.
type gate struct {
	*kafkatest.Fake

	mu      sync.Mutex
	allowed []string
	logins  []login
}

type login struct {
	at       time.Time
	password string
}

const refusal = "Authentication failed: Invalid username or password" // Kafka's own words

func startGate(t *testing.T, partitions int32, allowed ...string) *gate {
	t.Helper()
	g := &gate{Fake: kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(partitions, "t")), allowed: allowed}
	control := func(key kmsg.Key, answer func(kmsg.Request) kmsg.Response) {
		g.ControlKey(key.Int16(), func(request kmsg.Request) (kmsg.Response, error, bool) {
			g.KeepControl()
			return answer(request), nil, true
		})
	}
	control(kmsg.SASLHandshake, func(request kmsg.Request) kmsg.Response { return request.ResponseKind() })
	control(kmsg.SASLAuthenticate, func(request kmsg.Request) kmsg.Response {
		response := request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		fields := bytes.Split(request.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes, []byte{0})
		password := string(fields[len(fields)-1])
		g.mu.Lock()
		defer g.mu.Unlock()
		g.logins = append(g.logins, login{time.Now(), password})
		if !slices.Contains(g.allowed, password) {
			response.ErrorCode, response.ErrorMessage = kerr.SaslAuthenticationFailed.Code, kmsg.StringPtr(refusal)
		}
		return response
	})
	return g
}

func (g *gate) allow(passwords ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.allowed = passwords
}

// seen returns the logins so far.
func (g *gate) seen() []login {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.logins)
}

func (g *gate) settings(t *testing.T, password string, more ...map[string]any) []byte {
	return rig.Settings(t, g.Addrs(), with(append([]map[string]any{{"authentication": sasl("PLAIN", "orders", password)}}, more...)...))
}

// Each attempt is one login, and after the last there is none until another
// record is there to be sent: no account is locked by a producer that tries on.
func TestWrongPasswordIsTriedAsOftenAsConfigured(t *testing.T) {
	const attempts, backoff = 4, 150 * time.Millisecond
	wrong := rig.Secret("wr0ng-password")
	for _, async := range []bool{false, true} {
		t.Run(fmt.Sprintf("async %v", async), func(t *testing.T) {
			g := startGate(t, 10, "right")
			s := secured(t, kongYAML(t, g.settings(t, wrong, map[string]any{"producer_async": async,
				"producer_request_retries_max_attempts": attempts, "producer_request_retries_backoff_timeout": backoff.Milliseconds()})),
				"-drain-timeout", "500ms")
			if async {
				s.want(host, 200)
				rig.Eventually(t, "the record is given up", func() bool { return s.count("msg=\"records lost\"") == 1 })
			} else {
				s.want(host, 502)
				s.wantError("", "could not send a record to topic t: ")
			}
			<-time.After(4 * backoff) // for what must not come
			var times []time.Time
			for _, l := range g.seen() {
				times = append(times, l.at)
			}
			wantPaced(t, times, attempts, backoff)
			if async {
				s.wantError(host, "to topic t lost since")
			}
			if !strings.Contains(s.errors(), "SASL Authentication Failed") || !strings.Contains(s.errors(), refusal) {
				t.Errorf("Kong's error log lacks the broker's own words: %q", s.errors())
			}
		})
	}
}

// wantPaced fails the test unless there were as many connections as attempts,
// with the backoff between them.
func wantPaced(t *testing.T, times []time.Time, attempts int, backoff time.Duration) {
	t.Helper()
	if n := len(times); n != attempts {
		t.Errorf("%d connections, want %d", n, attempts)
	}
	for i := 1; i < len(times); i++ {
		if gap := times[i].Sub(times[i-1]); gap < backoff {
			t.Errorf("connections %d and %d came within %v, want %v between them", i, i+1, gap, backoff)
		}
	}
}

// However many requests there are, and to however many partitions, a producer
// that is refused logs in once per backoff.
func TestRefusalsMakeNoStormOfLogins(t *testing.T) {
	const backoff = 200 * time.Millisecond
	password := rig.Secret("f1rst-password")
	for _, async := range []bool{false, true} {
		t.Run(fmt.Sprintf("async %v", async), func(t *testing.T) {
			g := startGate(t, 10, password)
			s := secured(t, kongYAML(t, g.settings(t, password, map[string]any{"producer_async": async, "producer_request_limits_messages_per_request": 1,
				"producer_request_retries_max_attempts": 15, "producer_request_retries_backoff_timeout": backoff.Milliseconds()})),
				"-drain-timeout", "500ms")
			for range 30 { // all partitions are in use
				s.want(host, 200)
			}
			g.Records(t, "t", 30)
			g.allow() // nobody
			g.DropConnections()
			before, begin := len(g.seen()), time.Now()
			var wg sync.WaitGroup
			for range 40 { // so that the attempts of one partition are not those of another
				wg.Go(func() { s.send(host, "x") })
				<-time.After(backoff / 8)
			}
			<-time.After(time.Until(begin.Add(10 * backoff)))
			logins, d := len(g.seen())-before, time.Since(begin)
			bound := int(d/backoff)*3/2 + 2
			t.Logf("%d logins in %v", logins, d.Round(time.Millisecond))
			if logins > bound {
				t.Errorf("%d logins in %v, want no more than %d", logins, d, bound)
			}
			g.allow(password)
			wg.Wait()
			g.Records(t, "t", 70)
		})
	}
}

func TestConfigurationsWithDifferentPasswordsShareNoConnection(t *testing.T) {
	t.Parallel()
	one, two := rig.Secret("passw0rd-one"), rig.Secret("passw0rd-two")
	g := startGate(t, 1, one)
	s := secured(t, hosts(map[string][]byte{"one": g.settings(t, one, synced), "two": g.settings(t, two, synced)}))
	for range 3 {
		s.want("one", 200)
		s.want("two", 502)
	}
	g.allow(one, two)
	for range 3 {
		s.want("one", 200)
		s.want("two", 200)
	}
}

// After a change of the password in Kong the next record goes out by
// a connection with the new one, while what was accepted before is delivered
// with the old one.
func TestPasswordChangedInKongIsUsedFromTheNextRecordOn(t *testing.T) {
	t.Parallel()
	old, next := rig.Secret("the-0ld-password"), rig.Secret("the-new-passw0rd")
	g := startGate(t, 1, old)
	metrics := rig.ClosedPort(t)
	slow := map[string]any{"producer_async_flush_timeout": 1000}
	s := secured(t, kongYAML(t, g.settings(t, old, slow)), "-metrics", metrics)
	delivered := func(n float64) {
		t.Helper()
		rig.Eventually(t, fmt.Sprintf("%v records are acknowledged", n), func() bool {
			_, exposition := get(t, "http://"+metrics+"/metrics")
			return sample(exposition, `kafka_upstream_delivered_records_total{topic="t"}`) == n
		})
	}
	s.want(host, 200)
	delivered(1) // the old producer is connected
	for range 5 {
		s.want(host, 200) // these wait for others to share their request
	}
	g.allow(old, next)
	s.change(kongYAML(t, g.settings(t, next, slow)))
	for range 5 {
		s.want(host, 200)
	}
	delivered(11)
	conns := map[int]int{}
	for _, p := range g.Produces() {
		for _, b := range p.Batches {
			conns[p.Conn] += b.Records
		}
	}
	if len(conns) != 2 {
		t.Errorf("records by connection are %v, want them on two", conns)
	}
	counts := map[string]bool{}
	for _, l := range g.seen() {
		counts[l.password] = true
	}
	if !counts[old] || !counts[next] {
		t.Errorf("logins are %v", g.seen())
	}
	// From now on the old one is not used any more.
	g.allow(next)
	g.DropConnections()
	before := len(g.seen())
	s.want(host, 200)
	delivered(12)
	if n := len(g.Records(t, "t", 12)); n != 12 {
		t.Errorf("%d records arrived", n)
	}
	for _, l := range g.seen()[before:] {
		if l.password != next {
			t.Error("somebody still logs in with the old password")
		}
	}
}

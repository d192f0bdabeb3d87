package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/kafkaerr"
	"kafka-upstream/internal/security"
	"kafka-upstream/internal/security/certs"
	"kafka-upstream/internal/security/oauth"
	"kafka-upstream/internal/security/sasl"
	"kafka-upstream/internal/test/idp"
	"kafka-upstream/internal/test/kafkatest"
)

const clientSecret = "s3cret-0f-orders"

// tokenProducer is a producer that logs in with tokens of an identity provider, and all that it
// logs.
type tokenProducer struct {
	*Producer
	*idp.Server
	pool *Pool

	mu  sync.Mutex
	out strings.Builder
}

// Write implements io.Writer, for the log.
func (p *tokenProducer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *tokenProducer) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

func startProvider(t *testing.T) *idp.Server {
	t.Helper()
	return idp.Start(t, idp.Config{Clients: map[string]string{"orders": clientSecret}})
}

// withTokens makes o log in with tokens of the provider.
func withTokens(s *idp.Server) func(*Options) {
	return func(o *Options) {
		o.SASL = sasl.Credentials{Mechanism: "OAUTHBEARER", OAuth: oauth.Options{TokenURL: s.TokenURL, ClientID: "orders", ClientSecret: clientSecret}}
	}
}

// startTokens returns the producer of a pool, as the server has it. What is logged must not have a
// secret or a token.
func startTokens(t *testing.T, s *idp.Server, servers []string, set ...func(*Options)) *tokenProducer {
	t.Helper()
	p := &tokenProducer{Server: s}
	log := slog.New(slog.NewTextHandler(p, &slog.HandlerOptions{Level: slog.LevelDebug}))
	provider, err := security.NewProvider(certs.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(provider.Close)
	p.pool = NewPool(PoolOptions{Log: log, Security: func(ctx context.Context, o Options) (Access, error) {
		return provider.Access(ctx, security.Settings{Servers: o.Servers, SASL: o.SASL})
	}})
	o := testOptions(servers, nil)
	o.Backoff = 20 * time.Millisecond
	if s != nil {
		withTokens(s)(&o)
	}
	for _, set := range set {
		set(&o)
	}
	h, err := p.pool.Acquire(t.Context(), o, "t")
	if err != nil {
		t.Fatal(err)
	}
	p.Producer = h.producer
	t.Cleanup(func() {
		h.Release()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		p.pool.Close(ctx)
		if out := p.log(); strings.Contains(out, clientSecret) || strings.Contains(out, "eyJ") {
			t.Errorf("a secret is in the log:\n%s", out)
		}
	})
	return p
}

func startTaker(t *testing.T) (*kafkatest.Fake, *kafkatest.Tokens) {
	t.Helper()
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	return f, f.TakeTokens(nil)
}

func TestRecordsAreDeliveredWithAnAccessToken(t *testing.T) {
	f, tokens := startTaker(t)
	p := startTokens(t, startProvider(t), f.Addrs(), func(o *Options) { o.SASL.Extensions = map[string]string{"logicalCluster": "lkc-1"} })
	send(t, p.Producer, "one", "two")
	if s := settled(t, p.Producer); s.Delivered != 2 {
		t.Errorf("%+v", s)
	}
	logins := tokens.Logins()
	for _, l := range logins {
		if !strings.HasSuffix(l.Message, "\x01logicalCluster=lkc-1\x01\x01") || l.Token != logins[0].Token {
			t.Errorf("the login was %q", l.Message)
		}
	}
	if len(logins) == 0 || len(p.Requests()) != 1 {
		t.Errorf("%d logins with %d tokens", len(logins), len(p.Requests()))
	}
}

// A token endpoint that is away is an outage: nothing is lost, and no broker sees a connection for
// a login that could not be made.
func TestRecordsWaitForTheFirstToken(t *testing.T) {
	for name, fault := range map[string]struct {
		behave func(*idp.Behaviour)
		want   string
	}{
		"away":         {func(b *idp.Behaviour) { b.Down = true }, "could not get token from http://127.0.0.1:"},
		"wrong secret": {func(b *idp.Behaviour) { b.Status, b.Body = http.StatusUnauthorized, `{"error":"invalid_client"}` }, "invalid_client"},
		"broken":       {func(b *idp.Behaviour) { b.Body = "<html>" }, "could not get token from http://127.0.0.1:"},
	} {
		t.Run(name, func(t *testing.T) {
			f, tokens := startTaker(t)
			s := startProvider(t)
			s.Behave(fault.behave)
			p := startTokens(t, s, f.Addrs())
			send(t, p.Producer, "one", "two")
			eventually(t, "the cause is known", func() bool { return strings.Contains(topicOf(p.Producer).log.unavailableSince(), fault.want) })
			if cause := topicOf(p.Producer).log.lastCause(); !strings.HasPrefix(cause, "could not get token from ") {
				t.Errorf("the cause is %s", cause)
			}
			if stats := p.pool.Stats(); stats.Connections.Opened != 0 || stats.Connections.Failed[kafkaerr.NoToken] == 0 || stats.Connections.Failed[kafkaerr.Authentication] != 0 {
				t.Errorf("the connections are %+v", stats.Connections)
			}
			send(t, p.Producer, "three")
			s.Behave(func(b *idp.Behaviour) { b.Down, b.Status, b.Body = false, 0, "" })
			if s := settled(t, p.Producer); s.Delivered != 3 || s.Failed != 0 {
				t.Errorf("%+v", s)
			}
			for _, l := range tokens.Logins() {
				if !l.Accepted {
					t.Errorf("a login was %q", l.Message)
				}
			}
		})
	}
}

func TestSenderThatWaitsIsToldThatThereIsNoToken(t *testing.T) {
	f, _ := startTaker(t)
	s := startProvider(t)
	s.Behave(func(b *idp.Behaviour) { b.Down = true })
	p := startTokens(t, s, f.Addrs(), func(o *Options) { o.Async, o.MaxAttempts = false, 2 })
	err := p.Send(t.Context(), record("x"))
	if _, ok := errors.AsType[*security.TokenError](err); !ok {
		t.Errorf("got %T %v", err, err)
	}
	h := &Handle{producer: p.Producer}
	for _, sentence := range []string{h.Explain(err), h.Cause(err)} {
		if !strings.HasPrefix(sentence, "could not get token from "+s.TokenURL+": ") {
			t.Errorf("it says %q", sentence)
		}
	}
}

func TestHealthGatingSeesThatThereIsNoToken(t *testing.T) {
	f, _ := startTaker(t)
	s := startProvider(t)
	s.Behave(func(b *idp.Behaviour) { b.Down = true })
	p := startTokens(t, s, f.Addrs(), func(o *Options) {
		o.HealthGating = HealthGating{Failures: 2, ProbeInterval: 20 * time.Millisecond, Recoveries: 1}
	})
	send(t, p.Producer, "one")
	eventually(t, "it is unhealthy", func() bool { return p.isUnhealthy("t") })
	s.Behave(func(b *idp.Behaviour) { b.Down = false })
	eventually(t, "it is healthy", func() bool { return !p.isUnhealthy("t") })
	if s := settled(t, p.Producer); s.Delivered != 1 {
		t.Errorf("%+v", s)
	}
}

// While a token lives, new connections need no token endpoint.
func TestConnectionsAreMadeWithTheLastTokenWhileTheEndpointIsAway(t *testing.T) {
	f, tokens := startTaker(t)
	s := startProvider(t)
	p := startTokens(t, s, f.Addrs())
	send(t, p.Producer, "one")
	settled(t, p.Producer)
	s.Close()
	for i := range 3 {
		before := len(tokens.Logins())
		f.DropConnections()
		send(t, p.Producer, fmt.Sprint(i))
		settled(t, p.Producer)
		eventually(t, "another login", func() bool { return len(tokens.Logins()) > before })
	}
	if s := settled(t, p.Producer); s.Delivered != 4 || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
}

// Keys that were exchanged, or a token that was revoked: the next login has a new one. The reason
// of the broker is in the log.
func TestTokenThatABrokerRefusesIsReplaced(t *testing.T) {
	f, tokens := startTaker(t)
	p := startTokens(t, startProvider(t), f.Addrs())
	send(t, p.Producer, "one")
	settled(t, p.Producer)
	revoked := tokens.Logins()[0].Token
	tokens.Accept(func(token string) bool { return token != revoked })
	f.DropConnections()
	send(t, p.Producer, "two")
	if s := settled(t, p.Producer); s.Delivered != 2 || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
	const want = `the broker refused the token: status \"invalid_token\"`
	if out := p.log(); !strings.Contains(out, want) {
		t.Errorf("the log lacks %s:\n%s", want, out)
	}
	if n := len(p.Requests()); n != 2 || tokens.Answered() == 0 {
		t.Errorf("%d tokens were asked for, and %d refusals were answered", n, tokens.Answered())
	}
}

// A broker that refuses every token is a rejected login: the records fail after their attempts,
// and neither the broker nor the token endpoint is flooded.
func TestBrokerThatRefusesEveryTokenIsARejectedLogin(t *testing.T) {
	f, tokens := startTaker(t)
	tokens.Accept(func(string) bool { return false })
	p := startTokens(t, startProvider(t), f.Addrs(), func(o *Options) { o.MaxAttempts = 4 })
	send(t, p.Producer, "one")
	s := settled(t, p.Producer)
	if s.Failed != 1 || s.Delivered != 0 {
		t.Errorf("%+v", s)
	}
	if cause := topicOf(p.Producer).log.lastCause(); !strings.HasPrefix(cause, "SASL OAUTHBEARER with broker "+f.Addrs()[0]+`: the broker refused the token: status "invalid_token"`) {
		t.Errorf("the cause is %s", cause)
	}
	if logins, requests := len(tokens.Logins()), len(p.Requests()); logins > 5 || requests > 2 {
		t.Errorf("%d logins with %d tokens", logins, requests)
	}
}

func TestTokenInABrokersReasonIsRedacted(t *testing.T) {
	f, tokens := startTaker(t)
	tokens.Accept(func(token string) bool {
		go tokens.Refuse(fmt.Sprintf(`{"status":"no Bearer %s"}`, token))
		return false
	})
	p := startTokens(t, startProvider(t), f.Addrs(), func(o *Options) { o.MaxAttempts = 10 })
	send(t, p.Producer, "one")
	settled(t, p.Producer)
	eventually(t, "the token is redacted", func() bool { return strings.Contains(p.log(), `no Bearer [redacted]`) })
}

// The broker says how long the session of a login is, and would close the connection after that:
// another one takes over before, without a word and without a loss, be it with acks 0.
func TestSessionsThatEndCostNothing(t *testing.T) {
	for _, acks := range []int{0, 1} {
		t.Run(fmt.Sprintf("acks %d", acks), func(t *testing.T) {
			f, tokens := startTaker(t)
			tokens.Limit(300 * time.Millisecond)
			p := startTokens(t, startProvider(t), f.Addrs(), func(o *Options) { o.Acks = acks })
			connections := func() int {
				seen := map[int]bool{}
				for _, r := range f.Produces() {
					seen[r.Conn] = true
				}
				return len(seen)
			}
			n := 0
			eventually(t, "three sessions were used", func() bool {
				send(t, p.Producer, "x")
				n++
				return connections() >= 3
			})
			s := settled(t, p.Producer)
			if s.Delivered != int64(n) || s.Failed != 0 {
				t.Errorf("%d were sent: %+v", n, s)
			}
			f.Records(t, "t", n)
			if out := p.log(); strings.Contains(out, "level=WARN msg=\"cannot") || strings.Contains(out, "level=ERROR") {
				t.Errorf("the log has\n%s", out)
			}
			if stats := p.pool.Stats(); stats.Topics[0].Retries != 0 {
				t.Errorf("%+v", stats.Topics[0])
			}
		})
	}
}

// Kubernetes exchanges a projected token before it expires.
func TestTokenOfAFileIsTheOneThatItHoldsAtTheLogin(t *testing.T) {
	f, tokens := startTaker(t)
	path := filepath.Join(t.TempDir(), "token")
	p := startTokens(t, nil, f.Addrs(), func(o *Options) { o.SASL = sasl.Credentials{Mechanism: "OAUTHBEARER", TokenFile: path} })
	send(t, p.Producer, "one")
	eventually(t, "the cause is known", func() bool { return strings.Contains(topicOf(p.Producer).log.unavailableSince(), "mount it where") })
	for _, token := range []string{"one", "two"} {
		if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		f.DropConnections()
		send(t, p.Producer, token)
		settled(t, p.Producer)
		eventually(t, "it is used", func() bool { l := tokens.Logins(); return len(l) > 0 && l[len(l)-1].Token == token })
	}
	if s := settled(t, p.Producer); s.Delivered != 3 || f.Requests(kmsg.SASLAuthenticate) == 0 {
		t.Errorf("%+v", s)
	}
}

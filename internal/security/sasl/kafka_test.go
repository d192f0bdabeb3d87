package sasl

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/xdg-go/scram"

	"kafka-upstream/internal/kafkaerr"
)

// These tests log in to a broker through kafka-go.

func cluster(t *testing.T, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	options = append(options, kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	c, err := kfake.NewCluster(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// produce writes a record over a new connection and returns its error.
func produce(t *testing.T, c *kfake.Cluster, credentials Credentials) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tr := &kafka.Transport{DialTimeout: 10 * time.Second}
	if credentials.Mechanism != "" {
		tr.SASL = newMechanism(t, credentials)
	}
	defer tr.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(c.ListenAddrs()...), Transport: tr}
	if _, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{"orders"}}); err != nil {
		return err
	}
	response, err := client.Produce(ctx, &kafka.ProduceRequest{
		Topic: "orders", RequiredAcks: kafka.RequireAll,
		Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte("{}"))}),
	})
	if err != nil {
		return err
	}
	return response.Error
}

func TestSASLWithOddUsersAndPasswords(t *testing.T) {
	type login struct{ user, password string }
	for mechanism, logins := range map[string][]login{
		"PLAIN":         {{"orders", "secret"}, {"us,er=1", "p=ä, 💧\u2168"}, {"Ünïcödé 用户", "="}},
		"SCRAM-SHA-256": {{"orders", "secret"}, {"us,er=1", "p=ä, 💧\u2168"}, {"=2C", ",=,"}},
		"SCRAM-SHA-512": {{"orders", "secret"}, {"us,er=1", "p=ä, 💧\u2168"}, {"=2C", ",=,"}},
	} {
		options := []kfake.Opt{kfake.EnableSASL()}
		for _, l := range logins {
			options = append(options, kfake.Superuser(mechanism, l.user, l.password))
		}
		c := cluster(t, options...)
		for _, l := range logins {
			if err := produce(t, c, Credentials{Mechanism: mechanism, User: l.user, Password: l.password}); err != nil {
				t.Errorf("%s as %q: %v", mechanism, l.user, err)
			}
		}
		// This broker closes the connection; the next test's gives a reason.
		err := produce(t, c, Credentials{Mechanism: mechanism, User: "orders", Password: "wr0ng-pass"})
		if err == nil || strings.Contains(err.Error(), "wr0ng-pass") {
			t.Errorf("%s with a wrong password: %v", mechanism, err)
		}
		if err := produce(t, c, Credentials{}); err == nil {
			t.Errorf("%s: accepted without credentials", mechanism)
		}
	}
}

// always installs a control that stays.
func always(c *kfake.Cluster, key kmsg.Key, answer func(kmsg.Request) kmsg.Response) {
	c.ControlKey(key.Int16(), func(request kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return answer(request), nil, true
	})
}

// refuse makes a SASL answer with the reason that Kafka's broker gives.
func refuse(response *kmsg.SASLAuthenticateResponse, reason string) {
	response.ErrorCode = kerr.SaslAuthenticationFailed.Code
	response.ErrorMessage = &reason
}

func TestBrokersReasonIsInTheError(t *testing.T) {
	for _, name := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		reason := "Authentication failed during authentication due to invalid credentials with SASL mechanism " + name
		c := cluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "x", "y"))
		always(c, kmsg.SASLAuthenticate, func(request kmsg.Request) kmsg.Response {
			response := request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
			refuse(response, reason)
			return response
		})
		err := produce(t, c, Credentials{Mechanism: name, User: "orders", Password: "wr0ng-pass"})
		wantError(t, err, reason)
		if !kafkaerr.IsAuthentication(err) || strings.Contains(err.Error(), "wr0ng-pass") {
			t.Errorf("got %v", err)
		}
	}
}

func TestMechanismThatTheBrokerLacksIsAFailedAuthentication(t *testing.T) {
	c := cluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "x", "y"))
	always(c, kmsg.SASLHandshake, func(request kmsg.Request) kmsg.Response {
		response := request.ResponseKind().(*kmsg.SASLHandshakeResponse)
		response.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		return response
	})
	err := produce(t, c, Credentials{Mechanism: "SCRAM-SHA-512", User: "orders", Password: "secret"})
	wantError(t, err, "Unsupported SASL Mechanism")
	if !kafkaerr.IsAuthentication(err) {
		t.Errorf("got %v", err)
	}
}

func TestFalseBrokerIsNamedInTheError(t *testing.T) {
	c := cluster(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "orders", "secret"))
	always(c, kmsg.SASLAuthenticate, func(request kmsg.Request) kmsg.Response {
		response := request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		nonce := kafkaClientFirst.FindSubmatch(request.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes)[2]
		response.SASLAuthBytes = append(append([]byte("r="), nonce...), "x,s=AAAA,i=2000000000"...)
		return response
	})
	err := produce(t, c, Credentials{Mechanism: "SCRAM-SHA-256", User: "orders", Password: "secret"})
	wantError(t, err, "SASL SCRAM-SHA-256 with broker "+c.ListenAddrs()[0]+": the broker asks for more than 131072 SCRAM iterations")
	if !kafkaerr.IsAuthentication(err) {
		t.Errorf("got %v", err)
	}
}

// tokenBroker is a cluster that knows one delegation token. kfake's own SCRAM
// refuses extensions, so it answers SASL by itself.
func tokenBroker(t *testing.T, mechanism, id, hmac string) *kfake.Cluster {
	server := broker(t, algorithms[mechanism], id, hmac, 4096)
	c := cluster(t)
	always(c, kmsg.SASLHandshake, func(request kmsg.Request) kmsg.Response {
		response := request.ResponseKind().(*kmsg.SASLHandshakeResponse)
		if request.(*kmsg.SASLHandshakeRequest).Mechanism != mechanism {
			response.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		}
		return response
	})
	conversations := map[string]*scram.ServerConversation{} // by the client's nonce
	always(c, kmsg.SASLAuthenticate, func(request kmsg.Request) kmsg.Response {
		response := request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		message := request.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes
		var conversation *scram.ServerConversation
		if match := kafkaClientFirst.FindSubmatch(message); match != nil {
			if string(match[3]) != ",tokenauth=true" {
				refuse(response, "Authentication failed: no delegation token")
				return response
			}
			conversation = server.NewConversation()
			conversations[string(match[2])] = conversation
		} else {
			for nonce, known := range conversations {
				if strings.HasPrefix(string(message), "c=biws,r="+nonce) {
					conversation = known
					delete(conversations, nonce)
				}
			}
		}
		if conversation == nil {
			refuse(response, "Authentication failed: unreadable")
			return response
		}
		answer, err := conversation.Step(string(message))
		if err != nil {
			refuse(response, "Authentication failed: Invalid token credentials")
			return response
		}
		response.SASLAuthBytes = []byte(answer)
		return response
	})
	return c
}

func TestDelegationTokenAuthenticates(t *testing.T) {
	const hmac = "6wsxGMZKEOHFY3A/TRP+MVBJ2qR4oBv7Qbg0aGDi0Y0gZBbHj2BcXv2q8t2ewmm9eZDRtXgQZwdUxcLcqv5EVA=="
	for _, name := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		for _, id := range []string{"tRUYbw2PQPSMm2MwPYZ3rg", "=id,with=both,"} {
			c := tokenBroker(t, name, id, hmac)
			right := Credentials{Mechanism: name, User: id, Password: hmac, TokenAuth: true}
			if err := produce(t, c, right); err != nil {
				t.Errorf("%s as %s: %v", name, id, err)
			}
			wrong := right
			wrong.Password = "AAAA" + hmac[4:]
			err := produce(t, c, wrong)
			wantError(t, err, "Invalid token credentials")
			if !kafkaerr.IsAuthentication(err) || strings.Contains(err.Error(), wrong.Password) {
				t.Errorf("got %v", err)
			}
			user := right
			user.TokenAuth = false
			wantError(t, produce(t, c, user), "no delegation token")
		}
	}
}

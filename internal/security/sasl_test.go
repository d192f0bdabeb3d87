package security

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"

	"kafka-upstream/internal/kafkaerr"
)

func mechanism(t *testing.T, c Credentials) sasl.Mechanism {
	t.Helper()
	m, err := NewMechanism(c)
	if err != nil {
		t.Fatal(err)
	}
	if m.Name() != c.Mechanism {
		t.Errorf("the mechanism is %s, not %s", m.Name(), c.Mechanism)
	}
	return m
}

func TestPlainSendsUserAndPasswordAsTheyAre(t *testing.T) {
	for _, c := range []Credentials{
		{Mechanism: "PLAIN", User: "orders", Password: "secret"},
		{Mechanism: "PLAIN", User: "us,er=1", Password: "p=ä,ß 💧\u00a0\u2168"}, // SASLprep would change it
	} {
		m := mechanism(t, c)
		for range 2 { // one for each connection
			state, first, err := m.Start(t.Context())
			if want := "\x00" + c.User + "\x00" + c.Password; err != nil || string(first) != want {
				t.Fatalf("got %q, %v, want %q", first, err, want)
			}
			if done, response, err := state.Next(t.Context(), nil); !done || response != nil || err != nil {
				t.Errorf("got %v, %q, %v", done, response, err)
			}
		}
	}
}

func TestCredentialsThatCannotBeUsedAreRefusedWithoutTellingThem(t *testing.T) {
	const secret = "s3cr3t"
	for _, test := range []struct {
		name string
		c    Credentials
		want string
	}{
		{"no mechanism", Credentials{User: "u", Password: secret}, "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"},
		{"unknown mechanism", Credentials{Mechanism: "SCRAM-SHA-1", User: "u", Password: secret}, `"SCRAM-SHA-1" is not known`},
		{"lower case", Credentials{Mechanism: "plain", User: "u", Password: secret}, `"plain" is not known`},
		{"no user", Credentials{Mechanism: "PLAIN", Password: secret}, "the SASL user is empty"},
		{"no password", Credentials{Mechanism: "SCRAM-SHA-256", User: "u"}, "the SASL password is empty"},
		{"NUL in the user", Credentials{Mechanism: "PLAIN", User: "u\x00v", Password: secret}, "the SASL user holds a NUL"},
		{"NUL in the password", Credentials{Mechanism: "PLAIN", User: "u", Password: secret + "\x00"}, "the SASL password holds a NUL"},
		{"NUL in SCRAM", Credentials{Mechanism: "SCRAM-SHA-512", User: "u\x00", Password: secret}, "the SASL user holds a NUL"},
		{"user not UTF-8", Credentials{Mechanism: "PLAIN", User: "\xff", Password: secret}, "the SASL user is not UTF-8"},
		{"password not UTF-8", Credentials{Mechanism: "SCRAM-SHA-256", User: "u", Password: secret + "\xff"}, "the SASL password is not UTF-8"},
		{"token with PLAIN", Credentials{Mechanism: "PLAIN", User: "u", Password: secret, TokenAuth: true}, "a delegation token (tokenauth) needs the SASL mechanism SCRAM"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, err := NewMechanism(test.c)
			wantError(t, err, test.want)
			if m != nil || strings.Contains(err.Error(), secret) {
				t.Errorf("got %v, %v", m, err)
			}
		})
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	const secret = "s3cr3t-pass"
	var values []any
	for _, c := range []Credentials{
		{Mechanism: "PLAIN", User: "u", Password: secret},
		{Mechanism: "SCRAM-SHA-256", User: "u", Password: secret},
		{Mechanism: "SCRAM-SHA-512", User: "u", Password: secret, TokenAuth: true},
	} {
		m := mechanism(t, c)
		state, _, err := m.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, c, &c, m, state, &kafka.Transport{SASL: m}, struct{ C Credentials }{c}, []any{m, c})
	}
	hex := fmt.Sprintf("%x", secret)
	dec := strings.Trim(fmt.Sprint([]byte(secret)), "[]")
	for _, value := range values {
		var b bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&b, verb+"\n", value)
		}
		slog.New(slog.NewTextHandler(&b, nil)).Info("text", "value", value)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("json", "value", value)
		if j, err := json.Marshal(value); err == nil { // a transport has functions, which JSON has not
			b.Write(j)
		}
		for _, form := range []string{secret, hex, dec} {
			if strings.Contains(b.String(), form) {
				t.Errorf("%T shows its secret: %s", value, b.String())
			}
		}
	}
	if got := fmt.Sprintf("%+v", Credentials{Mechanism: "PLAIN", Password: secret}); got != "SASL PLAIN" {
		t.Errorf("got %q", got)
	}
}

func TestAuthenticationFailedKnowsItFromOtherFailures(t *testing.T) {
	for _, test := range []struct {
		err  error
		want bool
	}{
		{fmt.Errorf("%w: invalid credentials", kafka.SASLAuthenticationFailed), true},
		{kafka.UnsupportedSASLMechanism, true},
		{kafka.IllegalSASLState, true},
		{fmt.Errorf("x: %w", newSASLError(t.Context(), "SCRAM-SHA-256", errSignature)), true},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, true},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, false},
		{kafka.NotLeaderForPartition, false},
		{io.EOF, false},
		{nil, false},
	} {
		if got := kafkaerr.IsAuthentication(test.err); got != test.want {
			t.Errorf("%v: got %v", test.err, got)
		}
	}
}

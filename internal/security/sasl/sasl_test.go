package sasl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"

	"kafka-upstream/internal/security/oauth"
	"kafka-upstream/schema"
)

func newMechanism(t *testing.T, c Credentials) sasl.Mechanism {
	t.Helper()
	m, err := New(c, Env{Log: slog.New(slog.DiscardHandler)})
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
		m := newMechanism(t, c)
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
		{"no mechanism", Credentials{User: "u", Password: secret}, "authentication.mechanism must be PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM"},
		{"unknown mechanism", Credentials{Mechanism: "SCRAM-SHA-1", User: "u", Password: secret}, "authentication.mechanism must be"},
		{"lower case", Credentials{Mechanism: "plain", User: "u", Password: secret}, "authentication.mechanism must be"},
		{"no user", Credentials{Mechanism: "PLAIN", Password: secret}, "authentication.user is empty"},
		{"no password", Credentials{Mechanism: "SCRAM-SHA-256", User: "u"}, "authentication.password is empty"},
		{"NUL in the user", Credentials{Mechanism: "PLAIN", User: "u\x00v", Password: secret}, "authentication.user contains a NUL"},
		{"NUL in the password", Credentials{Mechanism: "PLAIN", User: "u", Password: secret + "\x00"}, "authentication.password contains a NUL"},
		{"NUL in SCRAM", Credentials{Mechanism: "SCRAM-SHA-512", User: "u\x00", Password: secret}, "authentication.user contains a NUL"},
		{"user not UTF-8", Credentials{Mechanism: "PLAIN", User: "\xff", Password: secret}, "authentication.user is not UTF-8"},
		{"password not UTF-8", Credentials{Mechanism: "SCRAM-SHA-256", User: "u", Password: secret + "\xff"}, "authentication.password is not UTF-8"},
		{"token with PLAIN", Credentials{Mechanism: "PLAIN", User: "u", Password: secret, TokenAuth: true}, "authentication.tokenauth is only valid with a SCRAM mechanism"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, err := New(test.c, Env{})
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
		{Mechanism: "OAUTHBEARER", TokenFile: file(t, secret), OAuth: oauth.Options{ClientSecret: secret}, Extensions: map[string]string{"a": secret}},
	} {
		m := newMechanism(t, c)
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
	if got := fmt.Sprintf("%+v", Credentials{Mechanism: "PLAIN", Password: secret}); got != "[redacted]" {
		t.Errorf("got %q", got)
	}
}

// Kong checks configurations by the schema, which names the mechanisms too.
func TestSchemaHasTheMechanismsOfTheTable(t *testing.T) {
	var tokens []string
	for _, name := range names() {
		if len((Credentials{Mechanism: name, User: "u", Password: "p", TokenAuth: true, TokenFile: "/t"}).Check()) == 0 {
			tokens = append(tokens, name)
		}
	}
	var b bytes.Buffer
	if err := json.Compact(&b, schema.JSON()); err != nil {
		t.Fatal(err)
	}
	for before, want := range map[string][]string{`"mechanism":{"type":"string",`: names(), `"if_field":"tokenauth".*?`: tokens} {
		m := regexp.MustCompile(before + `"one_of":(\[.*?\])`).FindStringSubmatch(b.String())
		if list, _ := json.Marshal(want); m == nil || m[1] != string(list) {
			t.Errorf("after %s the schema has %q, want %s", before, m, list)
		}
	}
}

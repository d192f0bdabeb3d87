package awsiam

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestSecretsDoNotPrint(t *testing.T) {
	o := Options{AccessKeyID: testID, SecretAccessKey: testSecret, SessionToken: testToken, Region: "eu-central-1"}
	s, err := New(o, Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Payload(t.Context(), "broker", time.Now()); err != nil {
		t.Fatal(err)
	}
	if s.kept.current.secretAccessKey != testSecret {
		t.Fatal("the signer has no secret to print")
	}
	values := []any{o, &o, s, s.kept, s.kept.current, s.kept.source, attempt{credentials: s.kept.current},
		answer{SecretAccessKey: testSecret, Token: testToken}, struct{ O Options }{o}, struct{ S *Signer }{s}, []any{o, s}}
	var forms []string
	for _, secret := range append(s.Secrets(), testSecret) {
		if secret != "" {
			forms = append(forms, secret, fmt.Sprintf("%x", secret), strings.Trim(fmt.Sprint([]byte(secret)), "[]"))
		}
	}
	if len(forms) != 3*3 {
		t.Fatalf("there are %d secrets, want the key, the token and the signature", len(forms)/3)
	}
	for _, value := range values {
		var b bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&b, verb+"\n", value)
		}
		slog.New(slog.NewTextHandler(&b, nil)).Info("text", "value", value)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("json", "value", value)
		if j, err := json.Marshal(value); err == nil {
			b.Write(j)
		}
		for _, form := range forms {
			if strings.Contains(b.String(), form) {
				t.Errorf("%T shows its secret: %s", value, b.String())
			}
		}
	}
}

// Producers are shared by their options in JSON.
func TestOptionsThatDifferMarshalDifferently(t *testing.T) {
	seen := map[string]Options{}
	for _, o := range []Options{
		{}, {Region: "a"}, {AccessKeyID: "a"}, {SecretAccessKey: "a"}, {SessionToken: "a"}, {RoleARN: "a"}, {WebIdentityTokenFile: "a"},
		{RoleSessionName: "a"}, {ContainerURI: "a"}, {ContainerTokenFile: "a"}, {SecretAccessKey: "b"},
	} {
		b, err := json.Marshal(struct{ O Options }{o})
		again, _ := json.Marshal(struct{ O Options }{o})
		if _, ok := seen[string(b)]; ok || err != nil || !bytes.Equal(b, again) {
			t.Errorf("got %s, %s, %v", b, again, err)
		}
		seen[string(b)] = o
	}
}

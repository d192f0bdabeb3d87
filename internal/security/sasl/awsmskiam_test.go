package sasl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"

	"kafka-upstream/internal/security/awsiam"
)

func awsCredentials() Credentials {
	return Credentials{Mechanism: "AWS_MSK_IAM", AWS: awsiam.Options{
		Region: "eu-central-1", AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "s3cr3t-key", SessionToken: "t0ken-of-session",
	}}
}

func TestAWSMSKIAMSignsForTheBroker(t *testing.T) {
	m := newMechanism(t, awsCredentials()).(TokenMechanism)
	defer m.Close()
	if err := m.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"b-1.example", "b-2.example"} {
		state, payload, err := m.Start(sasl.WithMetadata(t.Context(), &sasl.Metadata{Host: host, Port: 9098}))
		if err != nil || !bytes.Contains(payload, []byte(`"host":"`+host+`"`)) {
			t.Fatalf("got %s, %v", payload, err)
		}
		if done, response, err := state.Next(t.Context(), []byte(`{"version":"2020_10_22","request-id":"x"}`)); !done || response != nil || err != nil {
			t.Errorf("got %v, %q, %v", done, response, err)
		}
		if done, _, err := state.Next(t.Context(), nil); done || err == nil {
			t.Errorf("an empty answer was accepted")
		}
	}
	_, _, err := m.Start(t.Context())
	wantError(t, err, "SASL AWS_MSK_IAM: the broker's name is not known")
	for _, err := range []error{errors.New("x"), kafka.SASLAuthenticationFailed} {
		if got := m.Rejected(err); got != err {
			t.Errorf("got %v", got)
		}
	}
}

func TestAWSCredentialsThatCannotBeUsedAreRefusedWithoutTellingThem(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	for want, change := range map[string]func(*Credentials){
		"authentication.aws.access_key_id is not an access key ID":           func(c *Credentials) { c.AWS.AccessKeyID = "s3cr3t" },
		"authentication.aws.access_key_id and authentication.aws.secret_":    func(c *Credentials) { c.AWS.AccessKeyID = "" },
		"authentication.tokenauth is only valid with a SCRAM mechanism":      func(c *Credentials) { c.TokenAuth = true },
		"the AWS region is not known, because no host of bootstrap_servers":  func(c *Credentials) { c.AWS.Region = "" },
		"only one of authentication.aws.access_key_id, authentication.aws.r": func(c *Credentials) { c.AWS.ContainerURI = "/x" },
	} {
		c := awsCredentials()
		change(&c)
		_, err := New(c, Env{Log: slog.New(slog.DiscardHandler)})
		wantError(t, err, want)
		if strings.Contains(fmt.Sprint(err), "s3cr3t") {
			t.Errorf("the error tells a value: %v", err)
		}
	}
}

func TestAWSSecretsDoNotPrint(t *testing.T) {
	c := awsCredentials()
	m := newMechanism(t, c).(TokenMechanism)
	defer m.Close()
	state, payload, err := m.Start(sasl.WithMetadata(t.Context(), &sasl.Metadata{Host: "b-1.example", Port: 9098}))
	if err != nil {
		t.Fatal(err)
	}
	var sent struct {
		Signature string `json:"x-amz-signature"`
	}
	if err := json.Unmarshal(payload, &sent); err != nil || len(sent.Signature) != 64 {
		t.Fatalf("%s: %v", payload, err)
	}
	secrets := []string{c.AWS.SecretAccessKey, c.AWS.SessionToken, sent.Signature}
	for _, value := range []any{c, &c, m, state, &kafka.Transport{SASL: m}, struct{ C Credentials }{c}, []any{m, c}} {
		var b bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&b, verb+"\n", value)
		}
		slog.New(slog.NewTextHandler(&b, nil)).Info("text", "value", value)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("json", "value", value)
		for _, secret := range secrets {
			for _, form := range []string{secret, fmt.Sprintf("%x", secret), strings.Trim(fmt.Sprint([]byte(secret)), "[]")} {
				if strings.Contains(b.String(), form) {
					t.Errorf("%T shows its secret: %s", value, b.String())
				}
			}
		}
	}
	text := c.Redactor().With(m.Secrets).Text("a broker says " + string(payload) + c.AWS.SecretAccessKey)
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("not redacted: %s", text)
		}
	}
}

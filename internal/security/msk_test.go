package security

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/kafkaerr"
	"kafka-upstream/internal/security/awsiam"
	"kafka-upstream/internal/security/certs"
	"kafka-upstream/internal/security/sasl"
	"kafka-upstream/internal/test/msk"
)

var (
	mskKey     = msk.Key{ID: "AKIAIOSFODNN7EXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	mskSession = msk.Key{ID: "ASIAIOSFODNN7EXAMPLE", Secret: "wJalrXUtnFEMI+K7MDENG/bPxRfiCYEXAMPLEKEY", Token: "IQoJb3JpZ2luX2VjEPT//////////wEaCmV1LWNlbnRyYWwtMSJIMEYCIQDx+z/Example+Token=="}
)

// startMSK starts a broker of MSK that accepts these keys.
func startMSK(t *testing.T, keys ...msk.Key) (*kfake.Cluster, *msk.Gate) {
	t.Helper()
	c := cluster(t, testCA.ServerConfig("127.0.0.1"))
	return c, msk.Guard(c, "127.0.0.1", "eu-central-1", keys...)
}

func mskAccess(t *testing.T, o awsiam.Options) Access {
	t.Helper()
	if o.Region == "" {
		o.Region = "eu-central-1"
	}
	return access(t, certs.Options{CAFile: caFile(t, testCA)}, Settings{TLS: true, SASL: sasl.Credentials{Mechanism: "AWS_MSK_IAM", AWS: o}})
}

func mskKeys(k msk.Key) awsiam.Options {
	return awsiam.Options{AccessKeyID: k.ID, SecretAccessKey: k.Secret, SessionToken: k.Token}
}

func TestMSKLogsInWhoHasSignedForIt(t *testing.T) {
	c, gate := startMSK(t, mskKey, mskSession)
	for _, k := range []msk.Key{mskKey, mskSession} {
		if err := produce(t, c, mskAccess(t, mskKeys(k))); err != nil {
			t.Errorf("%v: %v", err, gate.Refused())
		}
		if logins := gate.Logins(); len(logins) == 0 || logins[len(logins)-1] != k.ID {
			t.Errorf("got %q, want %s", logins, k.ID)
		}
	}
}

func TestMSKRefusesOthers(t *testing.T) {
	for name, test := range map[string]struct {
		key    msk.Key
		region string
		want   string
	}{
		"key":     {msk.Key{ID: "AKIAI44QH8DHBEXAMPLE", Secret: "secret"}, "", "there is no such key"},
		"secret":  {msk.Key{ID: mskSession.ID, Secret: "another", Token: mskSession.Token}, "", "the signature is wrong"},
		"session": {msk.Key{ID: mskSession.ID, Secret: mskSession.Secret, Token: "another"}, "", "the session token is not that of the key"},
		"region":  {mskSession, "us-east-1", "there is no such key in this region"},
	} {
		c, gate := startMSK(t, mskSession)
		o := mskKeys(test.key)
		o.Region = test.region
		a := mskAccess(t, o)
		err := produce(t, c, a)
		wantRefused(t, err, msk.Refusal)
		if refused := gate.Refused(); len(refused) == 0 || !strings.Contains(refused[0].Error(), test.want) || len(gate.Logins()) != 0 {
			t.Errorf("%s: the broker says %v", name, refused)
		}
	}
}

func TestAnswerThatIsNotOneOfMSKIsAFailedLogin(t *testing.T) {
	c, gate := startMSK(t, mskKey)
	for _, answer := range []string{`{"version":"2099_01_01","request-id":"x"}`, "HTTP/1.1 400 Bad Request\r\n", strings.Repeat("a", 5000), " "} {
		gate.Answer(answer)
		err := produce(t, c, mskAccess(t, mskKeys(mskKey)))
		wantRefused(t, err, "SASL AWS_MSK_IAM with broker 127.0.0.1:")
		if strings.Contains(err.Error(), "HTTP") {
			t.Errorf("the error quotes the broker: %v", err)
		}
	}
}

// A payload lets whoever has it log in for 15 minutes, and a broker may echo it.
func TestPayloadThatABrokerEchoesIsRedacted(t *testing.T) {
	c, gate := startMSK(t)
	gate.Refuse(func(payload []byte) string { return "denied: " + string(payload) })
	a := mskAccess(t, mskKeys(mskSession))
	err := produce(t, c, a)
	wantRefused(t, err, "x-amz-signature")
	text := a.Redact.Text(err.Error())
	_, signature, _ := strings.Cut(err.Error(), `x-amz-signature":"`)
	if signature = signature[:64]; strings.Contains(text, signature) || strings.Contains(text, mskSession.Token) || !strings.Contains(text, "denied") {
		t.Errorf("got %s", text)
	}
}

// endpoint is a container's endpoint that hands out what a test sets.
func endpoint(t *testing.T) (o awsiam.Options, key *atomic.Pointer[msk.Key], requests *atomic.Int32) {
	t.Helper()
	key, requests = new(atomic.Pointer[msk.Key]), new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		k := key.Load()
		if k == nil || r.Header.Get("Authorization") != "t0ken-of-the-pod" {
			http.Error(w, "no role", http.StatusNotFound)
			return
		}
		fmt.Fprintf(w, `{"AccessKeyId":%q,"SecretAccessKey":%q,"Token":%q,"Expiration":%q}`, k.ID, k.Secret, k.Token, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(server.Close)
	file := write(t, "token", []byte("t0ken-of-the-pod\n"))
	return awsiam.Options{ContainerURI: server.URL + "/v1/credentials", ContainerTokenFile: file}, key, requests
}

func TestMSKLogsInAContainer(t *testing.T) {
	c, gate := startMSK(t, mskSession)
	o, key, requests := endpoint(t)
	key.Store(&mskSession)
	a := mskAccess(t, o)
	for range 3 {
		if err := produce(t, c, a); err != nil {
			t.Errorf("%v: %v", err, gate.Refused())
		}
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("the endpoint was asked %d times", n)
	}
}

func TestWithoutCredentialsNothingIsSentToABroker(t *testing.T) {
	c, gate := startMSK(t, mskSession)
	o, key, requests := endpoint(t)
	a := mskAccess(t, o)
	m := a.SASL.(sasl.TokenMechanism)
	for _, err := range []error{m.Ready(t.Context()), produce(t, c, a)} {
		if err == nil || kafkaerr.Of(err) != kafkaerr.NoToken || !kafkaerr.IsUnsent(err) || kafkaerr.IsAuthentication(err) ||
			!strings.Contains(err.Error(), "could not get AWS credentials: the container endpoint at 127.0.0.1:") || !strings.Contains(err.Error(), "answered with status 404: no role") {
			t.Errorf("got %v", err)
		}
	}
	if n := requests.Load(); n != 1 || len(gate.Logins())+len(gate.Refused()) != 0 {
		t.Errorf("%d requests to the endpoint, %d logins", n, len(gate.Logins())+len(gate.Refused()))
	}
	// The outage ends.
	key.Store(&mskSession)
	for deadline := time.Now().Add(30 * time.Second); produce(t, c, a) != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no login once there are credentials")
		}
	}
}

package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/msk"
	"kafka-upstream/internal/test/testcert"
)

// A container's endpoint that is away is an outage: asynchronous records wait for it, and
// nobody logs in without credentials.
func TestMSKWithTheRoleOfAContainer(t *testing.T) {
	t.Parallel()
	key := msk.Key{ID: "ASIAIOSFODNN7EXAMPLE", Secret: rig.Secret("wJalrXUtnFEMI+K7MDENG/e2eCYEXAMPLEKEY"), Token: rig.Secret("IQoJb3JpZ2luX2VjEPT//////////e2e+Token==")}
	podToken := rig.Secret("eyJhbGciOiJSUzI1NiJ9.eyJlMmUiOiJwb2QifQ.c2lnbmF0dXJl")
	var there atomic.Bool
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !there.Load() || r.Header.Get("Authorization") != podToken {
			http.Error(w, "no role for "+r.Header.Get("Authorization"), http.StatusNotFound)
			return
		}
		fmt.Fprintf(w, `{"AccessKeyId":%q,"SecretAccessKey":%q,"Token":%q,"Expiration":%q}`, key.ID, key.Secret, key.Token, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(endpoint.Close)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(podToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	ca := testcert.New("an authority")
	f := kafkatest.StartFakeTLS(t, ca.ServerConfig("127.0.0.1"), kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	gate := msk.Guard(f.Cluster, "127.0.0.1", "eu-central-1", key)
	gate.Refuse(func(payload []byte) string { return "denied: " + string(payload) })
	login := map[string]any{"security": overTLS(), "authentication": map[string]any{"mechanism": "AWS_MSK_IAM", "aws": map[string]any{
		"region": "eu-central-1", "container_credentials_uri": endpoint.URL + "/v1/credentials", "container_authorization_token_file": file,
	}}}
	s := secured(t, hosts(map[string][]byte{
		"sync":  rig.Settings(t, f.Addrs(), with(synced, login)),
		"async": rig.Settings(t, f.Addrs(), with(login)),
	}), caFlag(t, ca)...)

	s.want("async", 200)
	if status, body := s.send("sync", "hello"); status != 502 || body != `{"message":"Bad Gateway","error":"could not get token"}` {
		t.Errorf("answered %d %s", status, body)
	}
	s.wantError("", "could not get AWS credentials: the container endpoint at 127.0.0.1:")
	if n := len(gate.Logins()) + len(gate.Refused()); n != 0 {
		t.Errorf("there were %d logins", n)
	}
	there.Store(true)
	rig.Eventually(t, "the record arrives", func() bool { return len(gate.Logins()) > 0 && f.Requests(0) > 0 })
	s.want("sync", 200)
	f.Records(t, "t", 2)

	// A broker that refuses, and echoes what it was sent.
	gate.Accept()
	s.change(hosts(map[string][]byte{"sync": rig.Settings(t, f.Addrs(), with(synced, login, map[string]any{"timeout": 5000}))}))
	s.want("sync", 502)
	s.wantError("", "SASL Authentication Failed")
}

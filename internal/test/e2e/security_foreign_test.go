package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/foreign"
	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
)

// repeat is what a peer says that was sent something secret: all ways to write it, line
// feeds that forge lines of Kong's error log, and 30 KB more.
func repeat(login string) *string {
	s := strings.Join([]string{
		login, fmt.Sprintf("%q", login), fmt.Sprint([]byte(login)), fmt.Sprintf("%x", login), fmt.Sprintf("%X", login),
		base64.StdEncoding.EncodeToString([]byte(login)), base64.RawURLEncoding.EncodeToString([]byte(login)), url.QueryEscape(login), url.PathEscape(login),
		"\n2026/01/01 00:00:00 [crit] 1#1: *1 forged\r\n[err] forged\x1b[2J\u202e\x00",
	}, " ")
	s += strings.Repeat(login+"\n[err] forged ", 1000)
	s = s[:30_000] // Kafka's texts end at 32,767
	return &s
}

// startEcho starts a broker that repeats what it was sent to log in: as the reason to
// refuse the login, or, once it has accepted that, to refuse records.
func startEcho(t *testing.T, accept bool) *kafkatest.Fake {
	t.Helper()
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	var login atomic.Pointer[string]
	f.ControlKey(kmsg.SASLHandshake.Int16(), func(request kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		return request.ResponseKind(), nil, true
	})
	f.ControlKey(kmsg.SASLAuthenticate.Int16(), func(request kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		response := request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		sent := string(request.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes)
		login.Store(&sent)
		if !accept {
			response.ErrorCode, response.ErrorMessage = kerr.SaslAuthenticationFailed.Code, repeat(sent)
		}
		return response, nil, true
	})
	f.ControlKey(kmsg.Produce.Int16(), func(request kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		response := request.ResponseKind().(*kmsg.ProduceResponse)
		answer := kmsg.ProduceResponseTopicPartition{ErrorCode: kerr.InvalidRecord.Code, ErrorMessage: repeat(*login.Load()),
			ErrorRecords: []kmsg.ProduceResponseTopicPartitionErrorRecord{{RelativeOffset: 0, ErrorMessage: repeat(*login.Load())}}}
		response.Topics = []kmsg.ProduceResponseTopic{{Topic: "t", Partitions: []kmsg.ProduceResponseTopicPartition{answer}}}
		return response, nil, true
	})
	return f
}

// What brokers and the Admin API repeat of a password or a token is in no log, in no
// answer and in no metric, and every line of a log is one line of bounded length.
func TestWhatPeersRepeatIsShownNowhere(t *testing.T) {
	t.Parallel()
	password, tokenID, hmac, token := rig.Secret(`ech0 "pässword" & more`), rig.Secret("GuRzRruHQO2dlpNpgWuXjw"), rig.Secret("aG1hYyBvZiBhIHRva2VuLCBpbiBiYXNlNjQ="), rig.Secret("t0ken-that-is-repeated")
	refuses, accepts := startEcho(t, false), startEcho(t, true)
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		said := *repeat(r.Header.Get("Kong-Admin-Token"))
		if strings.HasSuffix(r.URL.Path, "2") {
			w.WriteHeader(418)
			_, _ = io.WriteString(w, said)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"cert": "-----BEGIN " + r.Header.Get("Kong-Admin-Token") + "-----\nAAAA\n-----END " + r.Header.Get("Kong-Admin-Token") + "-----\n", "key": said})
	}))
	defer admin.Close()
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := map[string]any{"authentication": sasl("PLAIN", "kong", password)}
	delegated := map[string]any{"authentication": with(sasl("SCRAM-SHA-256", tokenID, hmac), map[string]any{"tokenauth": true})}
	async := map[string]any{"producer_request_retries_max_attempts": 1}
	const id = "6b2f3c1e-8a0b-4f57-9c55-0c1f6b7d2a0"
	metrics := rig.ClosedPort(t)
	s := secured(t, hosts(map[string][]byte{
		"refused.sync":  rig.Settings(t, refuses.Addrs(), with(synced, plain)),
		"refused.async": rig.Settings(t, refuses.Addrs(), with(async, plain)),
		"refused.token": rig.Settings(t, refuses.Addrs(), with(synced, delegated)),
		"record.sync":   rig.Settings(t, accepts.Addrs(), with(synced, plain)),
		"record.async":  rig.Settings(t, accepts.Addrs(), with(async, plain)),
		"admin.json":    rig.Settings(t, refuses.Addrs(), with(synced, map[string]any{"security": overTLS("certificate_id", id+"1")})),
		"admin.status":  rig.Settings(t, refuses.Addrs(), with(synced, map[string]any{"security": overTLS("certificate_id", id+"2")})),
	}), "-admin-url", admin.URL, "-admin-token-file", tokenFile, "-metrics", metrics, "-log-level", "debug", "-drain-timeout", "500ms")
	for host, status := range map[string]int{"refused.sync": 502, "refused.token": 502, "record.sync": 502, "admin.json": 502, "admin.status": 502, "refused.async": 200, "record.async": 200} {
		s.want(host, status)
	}
	s.wantError("refused.async", "records to topic t lost since")
	s.wantError("record.async", "[87] Invalid Record")
	for _, want := range []string{"[58] SASL Authentication Failed", "could not load certificate", foreign.Redacted} {
		if !strings.Contains(s.errors(), want) {
			t.Errorf("Kong's error log has no %q", want)
		}
	}
	outputs := []string{s.log.String()}
	for _, path := range []string{"/metrics", "/readyz", "/"} {
		resp, err := http.Get("http://" + metrics + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		outputs = append(outputs, string(b))
	}
	for _, leak := range rig.Leaks(outputs) {
		t.Errorf("%.500s", leak)
	}
	for _, output := range outputs {
		for line := range strings.Lines(output) {
			if len(line) > foreign.MaxLine+1000 {
				t.Errorf("a line of %d bytes: %.300s", len(line), line)
			}
			if strings.HasPrefix(line, "[err] forged") || strings.HasPrefix(line, "2026/01/01") || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x00\x1b\u202e\r") {
				t.Errorf("a forged line: %.300q", line)
			}
		}
	}
}

// A text that Kong or a client chooses makes no line of its own, and no long one.
func TestTextsOfRequestsAndConfigurationsAreOneShortLine(t *testing.T) {
	t.Parallel()
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	long := "\n[err] forged\x1b[2J\u202e" + strings.Repeat("x", 1<<20)
	text, err := json.Marshal(long)
	if err != nil {
		t.Fatal(err)
	}
	s := rig.Start(t)
	w := s.Worker()
	for name, c := range map[string]struct {
		config []byte
		kong   *rig.Kong
	}{
		"a topic":                  {rig.Settings(t, f.Addrs(), map[string]any{"topic": long}), new(rig.Kong)},
		"a host":                   {[]byte(`{"topic":"t","bootstrap_servers":[{"host":` + string(text) + `,"port":1}]}`), new(rig.Kong)},
		"many hosts":               {[]byte(`{"topic":"t","bootstrap_servers":[` + strings.TrimSuffix(strings.Repeat(`{"host":"a,b","port":0},`, 10_000), ",") + `]}`), new(rig.Kong)},
		"a path of a body":         {rig.Settings(t, f.Addrs(), nil), &rig.Kong{Body: rig.InFile("/nowhere/" + long[:4000])}},
		"Kong's reason for a body": {rig.Settings(t, f.Addrs(), nil), &rig.Kong{Body: &pb.RawBodyResult{Kind: &pb.RawBodyResult_Error{Error: long[:4000]}}}},
	} {
		exit, err := w.HandleEvent(t.Context(), rig.NewPlugin(c.config), c.kong)
		if err != nil || exit.Status != 500 {
			t.Fatalf("%s: %+v, %v", name, exit, err)
		}
		if line := c.kong.Log(); len(line) > foreign.MaxLine+20 || strings.Contains(line[10:], "\n") || strings.ContainsAny(line, "\x1b\u202e") {
			t.Errorf("%s: %d bytes in Kong's error log: %.300q", name, len(line), line)
		}
		if len(exit.Body) > 200 {
			t.Errorf("%s: the answer is %.300q", name, exit.Body)
		}
	}
	for line := range strings.Lines(s.Log.String()) {
		if len(line) > 2*foreign.MaxLine || strings.HasPrefix(line, "[err]") {
			t.Errorf("a line of %d bytes on stderr: %.300q", len(line), line)
		}
	}
}

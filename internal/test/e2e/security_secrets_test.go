package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/idp"
	"kafka-upstream/internal/test/testcert"
)

func TestLeakOfASecretIsSeen(t *testing.T) {
	const password = `hush"é, 12345678`
	rig.Secret(password)
	key := rig.SecretKey(testcert.New("a CA").Client("hushed"))
	for _, output := range []string{
		"password=" + password,
		fmt.Sprintf("%+v", struct{ P string }{password}),
		fmt.Sprintf("%q", password),
		fmt.Sprintf("%+q", password),
		fmt.Sprint([]byte("\x00user\x00" + password)),
		strings.Split(string(key.Key), "\n")[1],
		"-----BEGIN PRIVATE KEY-----",
		"Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJrb25nIn0.c2ln",
	} {
		if len(rig.Leaks([]string{"level=INFO msg=serving\n" + output})) == 0 {
			t.Errorf("it is not seen in %q", output)
		}
	}
	if got := rig.Leaks([]string{"level=INFO msg=serving\n", string(key.Cert)}); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// A stack, a crash's dump of all goroutines, -dump and the profiles hold none of
// the secrets of a process that uses them. (TestMain looks at what was printed.)
func TestCrashAndProfilesHoldNoSecret(t *testing.T) {
	dir := t.TempDir()
	pair := rig.SecretKey(testcert.New("a CA").Client("kong"))
	const id = "6b2f3c1e-8a0b-4f57-9c55-0c1f6b7d2a01"
	if err := pair.Write(dir, id); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte(rig.Secret("t0ken-of-the-admin-api")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := []string{"-certificates", dir, "-admin-token-file", token, "-admin-url", "http://kong:" + rig.Secret("adm1n-password") + "@127.0.0.1:1"}
	stdout, stderr, code := rig.Run(t, false, append([]string{"-dump"}, flags...)...)
	if code != 0 {
		t.Fatalf("-dump: exit code %d", code)
	}
	// Without its launcher, for it is the server that is to crash.
	socket := filepath.Join(rig.ShortDir(t), "s")
	var log rig.Lines
	metrics := rig.ClosedPort(t)
	cmd := exec.Command(rig.Binary, append([]string{"-socket", socket, "-pprof", "127.0.0.1:0", "-metrics", metrics, "-log-level", "debug"}, flags...)...)
	cmd.Env = rig.Env("KAFKA_UPSTREAM_LAUNCHED=1")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() {
		_ = cmd.Process.Signal(syscall.SIGABRT)
		_ = cmd.Wait()
	}
	defer end()
	rig.Eventually(t, "it serves", func() bool { return strings.Contains(log.String(), "msg=serving ") })
	w := rig.NewWorker(t, socket)
	away := []string{rig.ClosedPort(t)}
	for _, c := range []struct {
		topic, id string
		status    int
	}{{"t", id, 200}, {"t", "6b2f3c1e-8a0b-4f57-9c55-0c1f6b7d2a02", 502}, {"fault-panic", id, 500}} {
		exit, err := w.HandleEvent(t.Context(), rig.NewPlugin(rig.Settings(t, away, map[string]any{
			"topic": c.topic, "authentication": sasl("SCRAM-SHA-512", "kong", rig.Secret("p4ssword-of-kong")),
			"security": map[string]any{"ssl": true, "certificate_id": c.id}})), new(rig.Kong))
		if err != nil || exit.Status != c.status {
			t.Fatalf("%+v: %+v, %v", c, exit, err)
		}
	}
	outputs := []string{stdout, stderr}
	for name, c := range secretive(t) {
		config := rig.Settings(t, away, c.settings)
		k := new(rig.Kong)
		exit, err := w.HandleEvent(t.Context(), rig.NewPlugin(config), k)
		if err != nil || exit.Status != c.status {
			t.Errorf("%s: %+v, %v", name, exit, err)
		}
		file := filepath.Join(dir, "kong.yml")
		for _, wrong := range []string{"", `"timeout":-1,`} {
			text := fmt.Sprintf("_format_version: \"3.0\"\nplugins:\n- name: kafka-upstream\n  config: %s\n", strings.Replace(string(config), "{", "{"+wrong, 1))
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			stdout, stderr, code := rig.Run(t, false, "-check", file)
			if (code != 0) != (wrong != "") {
				t.Errorf("%s: -check ended with %d: %s%s", name, code, stdout, stderr)
			}
			outputs = append(outputs, stdout, stderr)
		}
		outputs = append(outputs, k.Log(), string(exit.Body))
	}
	if _, exposition := get(t, "http://"+metrics+"/metrics"); !strings.Contains(exposition, "kafka_upstream_schemas") {
		t.Error("the metrics do not tell of schemas")
	} else {
		outputs = append(outputs, exposition)
	}
	for _, profile := range []string{"goroutine?debug=2", "heap?debug=1"} {
		resp, err := http.Get("http://" + attribute(t, log.String(), "serving profiles", "address") + "/debug/pprof/" + profile)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("profile %s: %d, %v", profile, resp.StatusCode, err)
		}
		outputs = append(outputs, string(b))
	}
	end()
	for _, want := range []string{"a fault was injected", "SIGABRT: abort", "goroutine "} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the process printed no %q", want)
		}
	}
	for _, leak := range rig.Leaks(append(outputs, log.String())) {
		t.Error(leak)
	}
}

// secretive are configurations with each secret that there is beside a user's password, and the
// status of the answer to a request. Where they lead to somebody, that one says in an error what
// it was sent.
func secretive(t *testing.T) map[string]struct {
	status   int
	settings map[string]any
} {
	t.Helper()
	const id, secret, user, password = "client-of-the-tests", "s3cret: of a client, é", "anna-of-the-tests", "p4ss: of a user, é"
	provider := idp.Start(t, idp.Config{Clients: map[string]string{id: rig.Secret(secret)}, Users: map[string]string{user: rig.Secret(password)}})
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		_, basic, _ := r.BasicAuth()
		message, _ := json.Marshal(fmt.Sprint(r.Header, string(body), form, basic))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"error":"invalid_client","error_description":%s,"error_code":401,"message":%[1]s}`, message)
	}))
	t.Cleanup(echo.Close)
	login := func(mechanism string, record string, fields map[string]any) map[string]any {
		return map[string]any{"producer_async": false, "producer_request_retries_max_attempts": 1, "timeout": 2000, "security": overTLS(),
			"authentication": map[string]any{"strategy": "sasl", "mechanism": mechanism, record: fields}}
	}
	bearer := func(endpoint string) map[string]any {
		return login("OAUTHBEARER", "oauthbearer", map[string]any{"token_endpoint_url": endpoint, "client_id": id, "client_secret": secret,
			"extensions": map[string]string{"logicalCluster": "lkc-1"}})
	}
	schemas := func(mode string, fields map[string]any) map[string]any {
		auth := with(map[string]any{"mode": mode}, fields)
		return map[string]any{"schema_registry": map[string]any{"confluent": map[string]any{"url": echo.URL, "value_schema": subject(mode), "authentication": auth}}}
	}
	oauth2 := func(endpoint string, client map[string]any) map[string]any {
		return schemas("oauth2", map[string]any{"oauth2_client": client, "oauth2": map[string]any{
			"token_endpoint": endpoint, "grant_type": "password", "client_id": id, "client_secret": secret, "username": user, "password": password,
			"token_headers":   map[string]string{"x-key": rig.Secret("h3ader-of-a-token-request")},
			"token_post_args": map[string]string{"assertion": rig.Secret("f1eld-of-a-token-request")}}})
	}
	type c = struct {
		status   int
		settings map[string]any
	}
	return map[string]c{
		"token for brokers":              {502, bearer(provider.TokenURL)},
		"provider echoes":                {502, bearer(echo.URL)},
		"AWS keys":                       {502, login("AWS_MSK_IAM", "aws", map[string]any{"region": "eu-central-1", "access_key_id": "AKIA000000000000TEST", "secret_access_key": rig.Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYTESTS"), "session_token": rig.Secret("FwoGZXIvYXdzEsession")})},
		"registry echoes basic":          {502, schemas("basic", map[string]any{"basic": map[string]any{"username": user, "password": password}})},
		"registry echoes a token":        {502, oauth2(provider.TokenURL, nil)},
		"registry's provider echoes":     {502, oauth2(echo.URL, map[string]any{"auth_method": "client_secret_basic"})},
		"registry's provider, assertion": {502, oauth2(echo.URL, map[string]any{"auth_method": "client_secret_jwt"})},
		"registry's provider by a proxy": {502, oauth2("http://provider.example/token", map[string]any{"http_proxy": echo.URL, "http_proxy_authorization": "Basic " + rig.Secret("cHJveHk6cHIweHktcGFzc3dvcmQ=")})},
	}
}

// subject is the field value_schema or key_schema of a configuration.
func subject(name string) map[string]any { return map[string]any{"subject_name": name} }

// attribute returns an attribute of the first line of a log with that message.
func attribute(t *testing.T, log, message, name string) string {
	t.Helper()
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "msg="+strconv.Quote(message)) {
			continue
		}
		if _, rest, ok := strings.Cut(line, " "+name+"="); ok {
			value, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			return value
		}
	}
	t.Fatalf("no line %q with %s in:\n%s", message, name, log)
	return ""
}

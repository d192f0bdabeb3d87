package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"kafka-upstream/internal/test/kongsim"
	"kafka-upstream/internal/test/testcert"
)

// printed is everything that processes printed, and that Kong's error log held,
// in all tests of this package. At the end TestMain looks for secrets there.
var printed outputs

type outputs struct {
	mu    sync.Mutex
	lines []*lines
}

func (o *outputs) add(l *lines) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, l)
}

func (o *outputs) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for _, l := range o.lines {
		all = append(all, l.String())
	}
	return all
}

// secrets are what no output may hold: the forms of each secret, by its name.
var secrets = struct {
	mu sync.Mutex
	m  map[string][]string
}{m: make(map[string][]string)}

// secret keeps a password or an HMAC out of everything that is printed, in any
// way of writing it, and returns it.
func secret(value string) string {
	if len(value) < 8 {
		panic("a secret this short is found anywhere")
	}
	quoted := strconv.Quote(value)
	ascii := strconv.QuoteToASCII(value)
	inJSON, _ := json.Marshal(value)
	forms := []string{
		value,
		quoted[1 : len(quoted)-1],
		ascii[1 : len(ascii)-1],
		string(inJSON[1 : len(inJSON)-1]),
		base64.StdEncoding.EncodeToString([]byte(value)),
		decimal([]byte(value)),
		fmt.Sprintf("%x", value),
	}
	if raw, err := base64.StdEncoding.DecodeString(value); err == nil { // an HMAC
		forms = append(forms, string(raw), decimal(raw), fmt.Sprintf("%x", raw))
	}
	secrets.mu.Lock()
	defer secrets.mu.Unlock()
	secrets.m[value] = slices.Compact(forms)
	return value
}

// decimal is what fmt makes of bytes.
func decimal(b []byte) string { return strings.Trim(fmt.Sprint(b), "[]") }

// secretKey is secret for the key of a certificate: none of its lines may show.
func secretKey(p testcert.Pair) testcert.Pair {
	for line := range strings.Lines(string(p.Key)) {
		if line = strings.TrimSpace(line); len(line) >= 8 && !strings.HasPrefix(line, "-----") {
			secret(line)
		}
	}
	return p
}

// leaks says which secrets are in which outputs.
func leaks(outputs []string) (found []string) {
	secrets.mu.Lock()
	defer secrets.mu.Unlock()
	for _, output := range outputs {
		for line := range strings.Lines(output) {
			if strings.Contains(line, "PRIVATE KEY") {
				found = append(found, "a private key was printed: "+line)
			}
			for value, forms := range secrets.m {
				for _, form := range forms {
					if strings.Contains(line, form) {
						found = append(found, fmt.Sprintf("the secret %q was printed: %s", value, line))
						break
					}
				}
			}
		}
	}
	return found
}

func TestLeakOfASecretIsSeen(t *testing.T) {
	const password = `hush"é, 12345678`
	secret(password)
	key := secretKey(testcert.New("a CA").Client("hushed"))
	for _, output := range []string{
		"password=" + password,
		fmt.Sprintf("%+v", struct{ P string }{password}),
		fmt.Sprintf("%q", password),
		fmt.Sprintf("%+q", password),
		fmt.Sprint([]byte("\x00user\x00" + password)),
		strings.Split(string(key.Key), "\n")[1],
		"-----BEGIN PRIVATE KEY-----",
	} {
		if len(leaks([]string{"level=INFO msg=serving\n" + output})) == 0 {
			t.Errorf("it is not seen in %q", output)
		}
	}
	if got := leaks([]string{"level=INFO msg=serving\n", string(key.Cert)}); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// A stack, a crash's dump of all goroutines, -dump and the profiles hold none of
// the secrets of a process that uses them. (TestMain looks at what was printed.)
func TestCrashAndProfilesHoldNoSecret(t *testing.T) {
	dir := t.TempDir()
	pair := secretKey(testcert.New("a CA").Client("kong"))
	const id = "6b2f3c1e-8a0b-4f57-9c55-0c1f6b7d2a01"
	if err := pair.Write(dir, id); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte(secret("t0ken-of-the-admin-api")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := []string{"-certificates", dir, "-admin-token-file", token, "-admin-url", "http://kong:" + secret("adm1n-password") + "@127.0.0.1:1"}
	stdout, stderr, code := runOnce(t, append([]string{"-dump"}, flags...)...)
	if code != 0 {
		t.Fatalf("-dump: exit code %d", code)
	}
	// Without its launcher, for it is the server that is to crash.
	socket := filepath.Join(shortDir(t), "s")
	var log lines
	cmd := exec.Command(binary, append([]string{"-socket", socket, "-pprof", "127.0.0.1:0", "-log-level", "debug"}, flags...)...)
	cmd.Env = []string{launched + "=1"}
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() {
		_ = cmd.Process.Signal(syscall.SIGABRT)
		_ = cmd.Wait()
	}
	defer end()
	eventually(t, "it serves", func() bool { return strings.Contains(log.String(), "msg=serving ") })
	w := kongsim.NewWorker(socket, kongsim.WorkerOptions{})
	defer w.Close()
	away := []string{closedPort(t)}
	for _, c := range []struct {
		topic, id string
		status    int
	}{{"t", id, 200}, {"t", "6b2f3c1e-8a0b-4f57-9c55-0c1f6b7d2a02", 502}, {"fault-panic", id, 500}} {
		exit, err := w.HandleEvent(t.Context(), pluginOf(settings(t, away, map[string]any{
			"topic": c.topic, "authentication": sasl("SCRAM-SHA-512", "kong", secret("p4ssword-of-kong")),
			"security": map[string]any{"ssl": true, "certificate_id": c.id}})), new(kong))
		if err != nil || exit.Status != c.status {
			t.Fatalf("%+v: %+v, %v", c, exit, err)
		}
	}
	outputs := []string{stdout, stderr}
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
	for _, leak := range leaks(append(outputs, log.String())) {
		t.Error(leak)
	}
}

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

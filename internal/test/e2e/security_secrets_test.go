package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"kafka-upstream/internal/test/e2e/rig"
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
	cmd := exec.Command(rig.Binary, append([]string{"-socket", socket, "-pprof", "127.0.0.1:0", "-log-level", "debug"}, flags...)...)
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

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"
)

// binaries is the directory of the built demo and plugin server.
var binaries string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ku-demo-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", dir+string(filepath.Separator), "kafka-upstream/cmd/kafka-upstream", "kafka-upstream/cmd/kafka-upstream-demo")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build does
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s\n", err, out)
		os.Exit(1)
	}
	binaries = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// demoCommand returns the built demo, to be started. A directory of its own for
// temp files shows what it leaves behind.
func demoCommand(t *testing.T, args ...string) (cmd *exec.Cmd, tmp string) {
	t.Helper()
	tmp, err := os.MkdirTemp("", "d")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	cmd = exec.CommandContext(t.Context(), filepath.Join(binaries, "kafka-upstream-demo"), args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	return cmd, tmp
}

func TestCheckSendsARequestPrintsItsRecordAndEndsWell(t *testing.T) {
	cmd, tmp := demoCommand(t, "-check")
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
	for _, want := range []string{"#1  topic kong-upstream  partition ", `"method": "POST"`, `"foo": "bar"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in %s", want, out)
		}
	}
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
}

func TestCheckRunsWithTheConfigurationForUsers(t *testing.T) {
	cmd, _ := demoCommand(t, "--check", "--config", "../../testdata/kong.yml")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "are replaced by the broker in this process") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestCheckWorksWithAKafkaThatRunsElsewhere(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.SeedTopics(3, ownTopic))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cmd, _ := demoCommand(t, "-check", "-bootstrap", strings.Join(c.ListenAddrs(), ","))
	for range 2 { // the second one does not print what the first one sent
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "#1  topic kong-upstream") || strings.Contains(string(out), "#2 ") {
			t.Errorf("%v: %s", err, out)
		}
		cmd, _ = demoCommand(t, cmd.Args[1:]...)
	}
}

func TestWhatCannotWorkIsOneSentenceAndStatusOne(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for want, args := range map[string][]string{
		"there is no plugin server":             {"-check", "-plugin", dir + "/none"},
		"not the JSON that Kong reads":          {"-check", "-plugin", "/bin/echo"},
		"no such file":                          {"-check", "-config", dir + "/none"},
		"is not YAML":                           {"-check", "-config", write("bad.yml", "a: [")},
		"_format_version":                       {"-check", "-config", write("empty.yml", "a: b")},
		"answered 404":                          {"-check", "-config", write("other.yml", "_format_version: '3.0'\nroutes: []")},
		"is not host:port":                      {"-check", "-bootstrap", "localhost"},
		"no broker of -bootstrap 127.0.0.1:1 ":  {"-check", "-bootstrap", "127.0.0.1:1"},
		"unexpected argument":                   {"check"},
		"the gateway cannot listen":             {"-check", "-listen", taken.Addr().String()},
		"flag provided but not defined: -chekk": {"-chekk"},
	} {
		cmd, _ := demoCommand(t, args...)
		var errOut bytes.Buffer
		cmd.Stderr = &errOut
		err := cmd.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(errOut.String(), want) {
			t.Errorf("%v: %v, %s", args, err, errOut.String())
		}
		if lines := strings.Count(errOut.String(), "\n"); lines != 1 && args[0] != "-chekk" {
			t.Errorf("%v: %d lines: %s", args, lines, errOut.String())
		}
	}
}

// output gathers what a process prints.
type output struct {
	mu sync.Mutex
	b  strings.Builder
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (o *output) read(r io.Reader) {
	s := bufio.NewScanner(r)
	for s.Scan() {
		o.mu.Lock()
		o.b.WriteString(s.Text() + "\n")
		o.mu.Unlock()
	}
}

func (o *output) wait(t *testing.T, what string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(o.String(), what); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q did not come: %s", what, o)
		}
	}
}

// startDemo starts the demo and waits until it is ready. The returned function
// ends it by SIGINT, as Ctrl-C does, and returns how it ended.
func startDemo(t *testing.T, args ...string) (out *output, cmd *exec.Cmd, end func() error) {
	t.Helper()
	cmd, tmp := demoCommand(t, args...)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out = &output{}
	read := make(chan struct{})
	go func() { defer close(read); out.read(pipe) }()
	ended := false
	end = func() error {
		if ended {
			return nil
		}
		ended = true
		cmd.Process.Signal(os.Interrupt)
		<-read
		err := cmd.Wait()
		if left, _ := os.ReadDir(tmp); err == nil && len(left) > 0 {
			t.Errorf("files are left: %v", left)
		}
		return err
	}
	t.Cleanup(func() { _ = end() })
	out.wait(t, "Stop with Ctrl-C")
	return out, cmd, end
}

var gatewayURL = regexp.MustCompile(`gateway +http://localhost(:\d+)`)

func post(t *testing.T, out *output, body string) int {
	t.Helper()
	m := gatewayURL.FindStringSubmatch(out.String())
	if m == nil {
		t.Fatalf("no URL in %s", out)
	}
	req, err := http.NewRequest("POST", "http://127.0.0.1"+m[1], strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "kafka-upstream.dev"
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res.StatusCode
}

func TestCtrlCDeliversWhatIsBuffered(t *testing.T) {
	out, _, end := startDemo(t, "-listen", "127.0.0.1:0", "-admin-listen", "127.0.0.1:0")
	for i := range 20 {
		if status := post(t, out, fmt.Sprint("n", i)); status != 200 {
			t.Fatal(status)
		}
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "\n20 requests, 20 records.\n") || !strings.Contains(out.String(), "the body, decoded:\nn19\n") {
		t.Errorf("got %s", out)
	}
}

func TestTheDemoUsesAnotherPortWhereADefaultOneIsTaken(t *testing.T) {
	// Whoever has the ports: after this, somebody has.
	for _, a := range []string{defaultListen, defaultAdminListen} {
		if l, err := net.Listen("tcp", a); err == nil {
			defer l.Close()
		}
	}
	out, _, end := startDemo(t)
	if s := out.String(); !strings.Contains(s, defaultListen+" is taken") || !strings.Contains(s, defaultAdminListen+" is taken") {
		t.Errorf("it does not say so: %s", s)
	}
	if status := post(t, out, "a"); status != 200 {
		t.Error(status)
	}
	out.wait(t, "#1  topic")
	if err := end(); err != nil {
		t.Error(err)
	}
}

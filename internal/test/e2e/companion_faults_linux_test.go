//go:build nginx

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/companion"
	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongnginx"
	"kafka-upstream/internal/test/testcert"
)

// companionLoad are clients that send events of their own until they are stopped.
type companionLoad struct {
	t    *testing.T
	fake *kafkatest.Fake
	n    *kongnginx.Nginx
	next atomic.Int64
	stop chan struct{}
	wg   sync.WaitGroup

	mayDouble bool // events may be there twice

	mu      sync.Mutex
	status  map[int]int // how often; 0: no answer
	answers map[string]int
}

// startLoad starts 16 clients, without kept connections.
func startLoad(t *testing.T, fake *kafkatest.Fake, n *kongnginx.Nginx) *companionLoad {
	l := &companionLoad{t: t, fake: fake, n: n, stop: make(chan struct{}), status: map[int]int{}, answers: map[string]int{}}
	client := n.Client(t, "sync", 1)
	client.Transport.(*http.Transport).DisableKeepAlives = true
	for range 16 {
		l.wg.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
					l.one(client)
				}
			}
		})
	}
	return l
}

func (l *companionLoad) one(client *http.Client) {
	id := fmt.Sprint("event-", l.next.Add(1))
	if len(id)%2 == 0 { // some are in files
		id += strings.Repeat(" ", 10<<10)
	}
	status := 0
	resp, err := client.Post("http://kong/", "text/plain", strings.NewReader(id))
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		status = resp.StatusCode
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status[status]++
	l.answers[id] = status
}

// answered waits for n more answers with 200.
func (l *companionLoad) answered(n int) {
	l.t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.status[200]
	}
	want := count() + n
	rig.Eventually(l.t, fmt.Sprintf("%d answers", n), func() bool { return count() >= want })
}

// end ends the clients. No event that was answered with 200 may be missing, and none may be
// there twice.
func (l *companionLoad) end() map[int]int {
	l.t.Helper()
	close(l.stop)
	l.wg.Wait()
	seen := map[string]int{}
	for _, r := range l.fake.Records(l.t, "t", 0) {
		seen[string(r.Value)]++
	}
	missing, twice := 0, 0
	for id, status := range l.answers {
		if status == 200 && seen[id] == 0 {
			missing++
		}
		if seen[id] > 1 {
			twice++
		}
	}
	l.t.Logf("%d records; answers by status: %v", len(seen), l.status)
	if missing > 0 || twice > 0 && !l.mayDouble {
		l.t.Errorf("%d events that were answered with 200 are missing, %d are there twice", missing, twice)
	}
	return l.status
}

// startAlone starts a server that no launcher watches, in place of the one at that socket.
func startAlone(t *testing.T, socket string, args ...string) *rig.Server {
	t.Helper()
	s := rig.New(t, socket, exec.Command(rig.Binary), args...)
	s.Begin()
	return s
}

// syncConfig has each event acknowledged, and its value the body.
func syncConfig(t *testing.T, f *kafkatest.Fake) map[string][]byte {
	return map[string][]byte{"sync": rig.Settings(t, f.Addrs(), map[string]any{"producer_async": false, "value_format": "body"})}
}

func startCompanionFaults(t *testing.T) (*kafkatest.Fake, *rig.Server, *kongnginx.Nginx) {
	t.Helper()
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	socket := filepath.Join(rig.ShortDir(t), "kafka-upstream.socket")
	s := startAlone(t, socket)
	return f, s, kongnginx.Start(t, kongnginx.Options{Files: companionFiles(t), Socket: socket, Configs: syncConfig(t, f), Workers: 2})
}

// Requests that were sent are answered with 503, those that were not wait for the next process.
func TestCompanionKillOfTheProcess(t *testing.T) {
	f, s, n := startCompanionFaults(t)
	l := startLoad(t, f, n)
	for range 3 {
		l.answered(100)
		s.Signal(syscall.SIGKILL)
		s.Wait()
		s = startAlone(t, s.Socket)
	}
	l.answered(100)
	for status, n := range l.end() {
		if status != 200 && status != 503 || status == 503 && n > 3*2*16 { // by one worker after the other
			t.Errorf("%d × %d", n, status)
		}
	}
}

// An event that was answered with 200 was on the disk by then, and the next process delivers it.
func TestCompanionKillOfAProcessWithASpool(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	socket, dir := filepath.Join(rig.ShortDir(t), "kafka-upstream.socket"), rig.ShortDir(t)
	s := startAlone(t, socket, "-spool", dir)
	n := kongnginx.Start(t, kongnginx.Options{Files: companionFiles(t), Socket: socket, Workers: 2, Configs: map[string][]byte{
		"sync": rig.Settings(t, f.Addrs(), durable(map[string]any{"value_format": "body", "producer_async_flush_timeout": 20})),
	}})
	l := startLoad(t, f, n)
	l.mayDouble = true
	for range 5 {
		l.answered(100)
		s.Signal(syscall.SIGKILL)
		s.Wait()
		s = startAlone(t, s.Socket, "-spool", dir, "-drain-timeout", "20s")
	}
	l.answered(100)
	close(l.stop)
	l.wg.Wait()
	l.stop = make(chan struct{}) // end closes it
	f.Records(t, "t", l.status[200])
	s.Signal(syscall.SIGTERM)
	if code := s.Wait(); code != 0 || spooled(t, s) != "0" {
		t.Errorf("exit code %d, and %s records are in the spool", code, spooled(t, s))
	}
	for status := range l.end() {
		if status != 200 && status != 503 {
			t.Errorf("%d", status)
		}
	}
}

// As with a reload of Kong: nobody notices.
func TestCompanionReplacementOfTheProcess(t *testing.T) {
	f, s, n := startCompanionFaults(t)
	l := startLoad(t, f, n)
	for range 3 {
		l.answered(100)
		next := startAlone(t, s.Socket)
		s.Signal(syscall.SIGTERM)
		s.Wait()
		s = next
	}
	l.answered(100)
	if status := l.end(); len(status) != 1 {
		t.Errorf("%v", status)
	}
}

// As with a supervisor that starts the next process when the last has ended.
func TestCompanionRestartOfTheProcess(t *testing.T) {
	f, s, n := startCompanionFaults(t)
	l := startLoad(t, f, n)
	for range 3 {
		l.answered(100)
		s.Signal(syscall.SIGTERM)
		s.Wait()
		s = startAlone(t, s.Socket)
	}
	l.answered(100)
	if status := l.end(); len(status) != 1 {
		t.Errorf("%v", status)
	}
}

func TestCompanionReloadOfKong(t *testing.T) {
	f, _, n := startCompanionFaults(t)
	l := startLoad(t, f, n)
	for range 3 {
		l.answered(100)
		old, err := n.WorkerPID("sync")
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Reload(); err != nil {
			t.Fatal(err)
		}
		rig.Eventually(t, "the old worker has ended", func() bool { return syscall.Kill(old, 0) != nil })
	}
	l.answered(100)
	if status := l.end(); len(status) != 1 {
		t.Errorf("%v", status)
	}
}

func TestCompanionKillOfAWorker(t *testing.T) {
	f, _, n := startCompanionFaults(t)
	l := startLoad(t, f, n)
	for range 3 {
		l.answered(100)
		pid, err := n.WorkerPID("sync")
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	l.answered(100)
	for status := range l.end() {
		if status != 200 && status != 0 { // of a worker that is gone
			t.Errorf("%d", status)
		}
	}
}

// cutter is between the handler and the server. It can cut a connection at any byte.
type cutter struct {
	t      *testing.T
	server string

	mu       sync.Mutex
	up, down int // after how many bytes of the next connection; -1: never
	conns    []net.Conn
	sent     bytes.Buffer // what the last connection has sent up
}

// startCutter returns a cutter, and the socket of the plugin protocol that leads to it.
func startCutter(t *testing.T, server string) (*cutter, string) {
	t.Helper()
	c := &cutter{t: t, server: companion.Path(server), up: -1, down: -1}
	socket := filepath.Join(rig.ShortDir(t), "cut.socket")
	l, err := net.Listen("unix", companion.Path(socket))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.serve(nc) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		c.drop()
		wg.Wait()
	})
	return c, socket
}

func (c *cutter) serve(nc net.Conn) {
	to, err := net.Dial("unix", c.server)
	if err != nil {
		_ = nc.Close()
		return
	}
	c.mu.Lock()
	c.conns = append(c.conns, nc, to)
	up, down := c.up, c.down
	c.up, c.down = -1, -1
	c.sent.Reset()
	c.mu.Unlock()
	closeBoth := func() {
		_ = nc.Close()
		_ = to.Close()
	}
	limited := func(r io.Reader, n int) io.Reader {
		if n < 0 {
			return r
		}
		return io.LimitReader(r, int64(n))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(nc, limited(to, down))
		closeBoth()
	}()
	_, _ = io.Copy(io.MultiWriter(to, lockedWriter{c}), limited(nc, up))
	closeBoth()
	<-done
}

type lockedWriter struct{ c *cutter }

func (w lockedWriter) Write(b []byte) (int, error) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	return w.c.sent.Write(b)
}

// drop closes all connections.
func (c *cutter) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, nc := range c.conns {
		_ = nc.Close()
	}
	c.conns = nil
}

// arm has the next connection cut, and ends the current one.
func (c *cutter) arm(up, down int) {
	c.mu.Lock()
	c.up, c.down = up, down
	c.mu.Unlock()
	c.drop()
}

// kinds returns the kinds of the frames that the last connection has sent up.
func (c *cutter) kinds() (kinds []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for b := c.sent.Bytes(); len(b) >= 8; {
		kinds = append(kinds, b[4])
		b = b[min(len(b), 8+int(binary.LittleEndian.Uint32(b))):]
	}
	return kinds
}

func (c *cutter) length() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent.Len()
}

// Whichever byte is the last one that passes, up or down.
func TestCompanionConnectionCutAtEveryByte(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	s := rig.Start(t)
	c, socket := startCutter(t, s.Socket)
	n := kongnginx.Start(t, kongnginx.Options{Files: companionFiles(t), Socket: socket, Configs: syncConfig(t, f)})
	client := n.Client(t, "sync", 1)
	statuses := map[string]int{}
	send := func(id string) int {
		resp, err := client.Post("http://kong/", "text/plain", strings.NewReader(id))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		statuses[id] = resp.StatusCode
		return resp.StatusCode
	}
	if status := send("first"); status != 200 {
		t.Fatal(status)
	}
	up := c.length()
	const down = 8 + 4 + 4 + len("0.1.0") + 8 + 16 + 8 + 4 + 8 // welcome, needs, answers
	for at := range up + 1 {
		c.arm(at, -1)
		if status := send(fmt.Sprint("up-", at)); status != 200 && status != 503 {
			t.Errorf("cut after %d bytes up, the answer is %d", at, status)
		}
	}
	for at := range down + 1 {
		c.arm(-1, at)
		if status := send(fmt.Sprint("down-", at)); status != 200 && status != 503 {
			t.Errorf("cut after %d bytes down, the answer is %d", at, status)
		}
	}
	seen := map[string]int{}
	for _, r := range f.Records(t, "t", 0) {
		seen[string(r.Value)]++
	}
	accepted := 0
	for id, status := range statuses {
		if status == 200 {
			accepted++
		}
		if status == 200 && seen[id] != 1 || seen[id] > 1 {
			t.Errorf("%s is answered %d, and there %d times", id, status, seen[id])
		}
	}
	t.Logf("%d of %d are answered with 200", accepted, len(statuses))
	if accepted < len(statuses)/3 { // cuts before the request's frame harm no request
		t.Error("too few are answered with 200")
	}
}

// Kong accepts clients before it has started plugin servers.
func TestCompanionWaitsForTheProcess(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	socket := filepath.Join(rig.ShortDir(t), "kafka-upstream.socket")
	n := kongnginx.Start(t, kongnginx.Options{Files: companionFiles(t), Socket: socket, Configs: syncConfig(t, f)})
	client := n.Client(t, "sync", 1)
	post := func() *http.Response {
		resp, err := client.Post("http://kong/", "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Error(err)
			return new(http.Response)
		}
		_ = resp.Body.Close()
		return resp
	}
	if resp := post(); resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("without a process: %d, %v", resp.StatusCode, resp.Header)
	}
	if log := n.ErrorLog(); !strings.Contains(log, "no connection to the plugin server: "+companion.Path(socket)) {
		t.Errorf("the error log does not say why:\n%s", log)
	}
	early := make(chan int)
	go func() { early <- post().StatusCode }()
	startAlone(t, socket)
	if status := <-early; status != 200 {
		t.Errorf("a request that waits for the process is answered %d", status)
	}
}

func TestCompanionOfAnotherVersionSaysTheCure(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	s := rig.Start(t)
	for name, row := range map[string]struct {
		from, to string
		status   int
	}{
		"release": {`RELEASE = "0.1.0"`, `RELEASE = "0.0.9"`, 200},
		"frames":  {"FRAMES = 1 ", "FRAMES = 9 ", 503},
	} {
		dir := companionFiles(t)
		file := filepath.Join(dir, "kong/plugins/kafka-upstream/handler.lua")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b, []byte(row.from)) {
			t.Fatalf("%s has no %s", file, row.from)
		}
		if err := os.WriteFile(file, bytes.Replace(b, []byte(row.from), []byte(row.to), 1), 0o644); err != nil {
			t.Fatal(err)
		}
		n := kongnginx.Start(t, kongnginx.Options{Files: dir, Socket: s.Socket, Configs: syncConfig(t, f)})
		client := n.Client(t, "sync", 1)
		client.Timeout = 4 * time.Second // a request waits 5 s for a process that is not there
		resp, err := client.Post("http://kong/", "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if log := n.ErrorLog(); resp.StatusCode != row.status || !strings.Contains(log, `run "kafka-upstream -companion" of the latter, and restart Kong`) {
			t.Errorf("%s: %d\n%s", name, resp.StatusCode, log)
		}
	}
}

// nginx logs each attempt to connect that fails, so there is none while no request waits.
func TestCompanionLooksForTheProcessOnlyWhileRequestsWait(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	socket, timers := filepath.Join(rig.ShortDir(t), "kafka-upstream.socket"), filepath.Join(rig.ShortDir(t), "timers")
	n := kongnginx.Start(t, kongnginx.Options{
		Files: companionFiles(t), Socket: socket, Configs: syncConfig(t, f),
		HTTP: fmt.Sprintf(`lua_check_client_abort on;
			server { listen unix:%s; location / { content_by_lua_block { ngx.print(ngx.timer.running_count()) } } }`, timers),
	})
	running := func() string {
		_, body := sendRaw(t, timers, []byte("GET / HTTP/1.1\r\nHost: kong\r\nConnection: close\r\n\r\n"))
		return string(body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://kong/", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if resp, err := n.Client(t, "sync", 1).Do(req); err == nil {
			_ = resp.Body.Close()
			t.Error("the request did not wait")
		}
	}()
	rig.Eventually(t, "the worker looks for the process", func() bool { return running() == "1" })
	cancel()
	<-gone
	rig.Eventually(t, "the worker looks no more", func() bool { return running() == "0" })
	startAlone(t, socket)
	resp, err := n.Client(t, "sync", 1).Post("http://kong/", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("a later request is answered %d", resp.StatusCode)
	}
}

// A configuration that Kong has replaced is taken back.
func TestCompanionForgetsConfigurations(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	s := rig.Start(t)
	c, socket := startCutter(t, s.Socket)
	n := kongnginx.Start(t, kongnginx.Options{Files: companionFiles(t), Socket: socket, Configs: syncConfig(t, f)})
	client := n.Client(t, "sync", 1)
	for _, path := range []string{"/", "/-/changed", "/", "/-/changed", "/"} {
		resp, err := client.Post("http://kong"+path, "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	rig.Eventually(t, "the configurations are taken back", func() bool { return bytes.Count(c.kinds(), []byte{4}) > 0 })
	if kinds := c.kinds(); bytes.Count(kinds, []byte{2}) != 3 {
		t.Errorf("frames are %v", kinds)
	}
}

// Kong changes the table of a configuration when a secret of a vault is rotated.
func TestCompanionSendsRotatedSecrets(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t", "u"))
	s := rig.Start(t)
	n := kongnginx.Start(t, kongnginx.Options{Files: companionFiles(t), Socket: s.Socket, Configs: map[string][]byte{
		"top": rig.Settings(t, f.Addrs(), map[string]any{"producer_async": false, "$refs": map[string]any{"topic": "{vault://env/topic}"}}),
	}, Stub: `
		local kong_access = require("kongstub").access
		require("kongstub").access = function(name)
			local topic = ngx.var.arg_topic
			require("kongstub").rotate(name, function(conf) conf.topic = topic end)
			return kong_access(name)
		end`})
	client := n.Client(t, "top", 1)
	for _, topic := range []string{"t", "t", "u", "t"} {
		resp, err := client.Post("http://kong/?topic="+topic, "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s: %d", topic, resp.StatusCode)
		}
	}
	if a, b := len(f.Records(t, "t", 3)), len(f.Records(t, "u", 1)); a != 3 || b != 1 {
		t.Errorf("%d and %d records", a, b)
	}
	if starts := strings.Count(s.Log.String(), "starting an instance"); starts != 3 {
		t.Errorf("%d configurations were sent", starts)
	}
}

// No Admin API, which a data plane does not have.
func TestCompanionCertificatesComeFromKong(t *testing.T) {
	ca, ca2 := testcert.New("an authority"), testcert.New("another")
	f := startMutual(t, ca, ca2)
	dir := t.TempDir()
	pair := rig.SecretKey(ca.Client("kong"))
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("crt", pair.Cert)
	write("key", pair.Key)
	write("ca", slicesConcat(ca.PEM(), ca2.PEM()))
	_, n := startCompanion(t, kongnginx.Options{
		Configs: map[string][]byte{"tls": rig.Settings(t, f.Addrs(), mutualTLS(certID))},
		Stub: fmt.Sprintf(`
			local function read(name) local f = assert(io.open(%q .. "/" .. name)) local s = f:read("*a") f:close() return s end
			function kong.db.certificates:select(key)
				assert(self == kong.db.certificates and key.id == %q)
				return { cert = read("crt"), key = read("key") }
			end`, dir, certID),
	}, "-admin-url", "", "-ca-file", filepath.Join(dir, "ca"))
	resp, err := n.Client(t, "tls", 1).Post("http://kong/", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if came := f.came(); resp.StatusCode != 200 || fmt.Sprint(came) != "[kong]" {
		t.Errorf("%d, the broker saw %q", resp.StatusCode, came)
	}
}

// A registry asks for a certificate of its own.
func TestCompanionCertificatesForRegistriesComeFromKong(t *testing.T) {
	ca := testcert.New("an authority")
	came := make(chan string, 10)
	registry := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		came <- r.TLS.PeerCertificates[0].Subject.CommonName
		fmt.Fprint(w, `{"subject":"s","version":1,"id":1,"schema":"\"string\""}`)
	}))
	registry.TLS = ca.ServerConfig("127.0.0.1")
	registry.TLS.ClientAuth = tls.RequireAnyClientCert
	registry.StartTLS()
	defer registry.Close()
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	dir := t.TempDir()
	pair := rig.SecretKey(ca.Client("for-the-registry"))
	for name, b := range map[string][]byte{"crt": pair.Cert, "key": pair.Key, "ca": ca.PEM()} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, n := startCompanion(t, kongnginx.Options{
		Configs: map[string][]byte{"schema": rig.Settings(t, f.Addrs(), map[string]any{
			"producer_async": false, "value_format": "body",
			"schema_registry": map[string]any{"confluent": map[string]any{
				"url": registry.URL, "certificate_id": certID, "value_schema": map[string]any{"subject_name": "s"},
			}},
		})},
		Stub: fmt.Sprintf(`
			local function read(name) local f = assert(io.open(%q .. "/" .. name)) local s = f:read("*a") f:close() return s end
			function kong.db.certificates:select(key)
				return key.id == %q and { cert = read("crt"), key = read("key") }
			end`, dir, certID),
	}, "-admin-url", "", "-ca-file", filepath.Join(dir, "ca"))
	resp, err := n.Client(t, "schema", 1).Post("http://kong/", "application/json", strings.NewReader(`"x"`))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Fatalf("it is answered %d", resp.StatusCode)
	}
	if name := <-came; name != "for-the-registry" {
		t.Errorf("the registry saw %q", name)
	}
}

// A configuration is sent although the request that came first has ended while Kong looked up the
// certificate.
func TestCompanionConfigurationOutlivesItsFirstRequest(t *testing.T) {
	ca := testcert.New("an authority")
	f := startMutual(t, ca, ca)
	dir := t.TempDir()
	pair := rig.SecretKey(ca.Client("kong"))
	for name, b := range map[string][]byte{"crt": pair.Cert, "key": pair.Key, "ca": ca.PEM()} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, n := startCompanion(t, kongnginx.Options{
		Configs: map[string][]byte{"tls": rig.Settings(t, f.Addrs(), mutualTLS(certID))},
		HTTP:    "lua_check_client_abort on;",
		Stub: fmt.Sprintf(`
			local function read(name) local f = io.open(%q .. "/" .. name) local s = f and f:read("*a") if f then f:close() end return s end
			function kong.db.certificates:select(key)
				while not read("go") do ngx.sleep(0.01) end
				return key.id == %q and { cert = read("crt"), key = read("key") }
			end`, dir, certID),
	}, "-admin-url", "", "-ca-file", filepath.Join(dir, "ca"))
	send := func(limit time.Duration) (int, error) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "POST", "http://kong/", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := n.Client(t, "tls", 1).Do(req)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	if status, err := send(300 * time.Millisecond); err == nil {
		t.Fatalf("the first request did not wait for the certificate: %d", status)
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte("go"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, err := send(30 * time.Second); err != nil || status != 200 {
		t.Errorf("the next request: %d, %v", status, err)
	}
	if came := f.came(); fmt.Sprint(came) != "[kong]" {
		t.Errorf("the broker saw %q", came)
	}
}

func slicesConcat(all ...[]byte) []byte { return bytes.Join(all, nil) }

// HTTP/2 has bodies without a length, and nginx puts large ones into files.
func TestCompanionBodiesOfAnySize(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	_, n := startCompanion(t, kongnginx.Options{Configs: syncConfig(t, f), Workers: 2})
	want := map[string]bool{}
	for _, version := range []int{1, 2} {
		client := n.Client(t, "sync", version)
		for i, size := range []int{0, 1, 8 << 10, 8<<10 + 1, 20 << 10, 70 << 10, 1000 << 10} {
			for _, known := range []bool{true, false} {
				body := fmt.Sprint(version, i, known)
				body += strings.Repeat("x", max(size-len(body), 0))
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				var from io.Reader = strings.NewReader(body)
				if !known {
					from = struct{ io.Reader }{from}
				}
				req, err := http.NewRequestWithContext(ctx, "POST", "http://kong/", from)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				cancel()
				if resp.StatusCode != 200 {
					t.Errorf("HTTP/%d, %d bytes, known %t: %d", version, size, known, resp.StatusCode)
				}
				want[body] = true
			}
		}
	}
	for _, r := range f.Records(t, "t", len(want)) {
		if !want[string(r.Value)] {
			t.Errorf("a record of %d bytes was not sent", len(r.Value))
		}
		delete(want, string(r.Value))
	}
	if len(want) > 0 {
		t.Errorf("%d are missing", len(want))
	}
}

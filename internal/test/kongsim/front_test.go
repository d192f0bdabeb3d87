package kongsim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func do(t testing.TB, s *Sim, method, path, host string, body io.Reader) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, s.URL()+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

const testHost = "kafka-upstream.dev"

func TestNoRouteIsKongs404(t *testing.T) {
	p := startFake(t, ok)
	s := startSim(t, Options{Socket: p.socket, Config: []byte(recordedConfig)})
	res, body := do(t, s, "GET", "/", "other.dev", nil)
	var m struct {
		Message   string `json:"message"`
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil || res.StatusCode != 404 || m.Message != "no Route matched with those values" || m.RequestID != res.Header.Get("X-Kong-Request-Id") {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
}

func TestARouteWithoutPluginOrExitSaysThatNothingIsProxied(t *testing.T) {
	p := startFake(t, func(*fakeConn) {})
	s := startSim(t, Options{Socket: p.socket, Config: []byte(recordedConfig + "\n- hosts: [bare.dev]\n")})
	for _, host := range []string{testHost, "bare.dev"} {
		res, body := do(t, s, "GET", "/", host, nil)
		if res.StatusCode != 503 || !strings.Contains(body, "stand-in for Kong and has no upstreams") {
			t.Errorf("%s: got %d %s", host, res.StatusCode, body)
		}
	}
}

func TestAFailedEventIsKongs500AndInTheErrorLog(t *testing.T) {
	p := startFake(t, func(c *fakeConn) { c.ask("kong.request.get_horoscope", nil) })
	s := startSim(t, Options{Socket: p.socket, Config: []byte(recordedConfig)})
	res, body := do(t, s, "GET", "/", testHost, nil)
	if res.StatusCode != 500 || !strings.Contains(body, `"An unexpected error occurred"`) || !strings.Contains(body, res.Header.Get("X-Kong-Request-Id")) {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
	if log := strings.Join(s.ErrorLog(), "\n"); !strings.Contains(log, "[error]") || !strings.Contains(log, "get_horoscope") {
		t.Errorf("log: %s", log)
	}
	if s.Stats().Retries != 0 {
		t.Error("it was retried")
	}
}

func TestLogCallsReachTheErrorLogWithTheirLevel(t *testing.T) {
	p := startFake(t, func(c *fakeConn) {
		for _, level := range []string{"debug", "info", "notice", "warn", "err", "crit", "alert"} {
			c.ask("kong.log."+level, listArg("it is ", level))
		}
		ok(c)
	})
	var mu sync.Mutex
	seen := map[string]string{}
	s := startSim(t, Options{Socket: p.socket, Config: []byte(recordedConfig), OnLog: func(level, message string) {
		mu.Lock()
		defer mu.Unlock()
		seen[level] = message
	}})
	do(t, s, "GET", "/", testHost, nil)
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 7 {
		t.Errorf("seen %v", seen)
	}
	for level, message := range seen {
		if message != "it is "+level {
			t.Errorf("%s: %q", level, message)
		}
	}
	if log := strings.Join(s.ErrorLog(), "\n"); !strings.Contains(log, "[error] it is err, client: 127.0.0.1, server: kong, request: \"GET / HTTP/1.1\"") {
		t.Errorf("log: %s", log)
	}
}

func TestRequestsAreSpreadOverTheWorkers(t *testing.T) {
	p := startFake(t, ok)
	s := startSim(t, Options{Socket: p.socket, Config: []byte(recordedConfig), Workers: 3})
	for range 9 {
		if res, _ := do(t, s, "GET", "/", testHost, nil); res.StatusCode != 200 {
			t.Fatal(res.Status)
		}
	}
	if st := s.Stats(); st.Starts != 3 || st.Events != 9 || st.Closes != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestBodiesAboveTheBufferGoToAFileThatEndsWithTheRequest(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		for _, size := range []int{0, 1, 1023, 1024, 1025, 100_000} {
			t.Run(fmt.Sprintf("%d,chunked=%v", size, chunked), func(t *testing.T) {
				want := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
				var got []byte
				var path string
				p := startFake(t, func(c *fakeConn) {
					reply := c.ask("kong.request.get_raw_body", nil)
					if size <= 1024 {
						got = reply[2:]
						if size > 127 {
							got = reply[3:]
						}
					} else {
						got = checkTempFile(t, reply)
						path, _ = stringArg(append([]byte{0x0a}, reply[1:]...))
					}
					ok(c)
				})
				s := startSim(t, Options{Socket: p.socket, Config: []byte(recordedConfig), BodyBuffer: 1024})
				var body io.Reader = bytes.NewReader(want)
				if chunked {
					body = io.MultiReader(body)
				}
				do(t, s, "POST", "/", testHost, body)
				if !bytes.Equal(got, want) {
					t.Errorf("the plugin saw %d bytes, want %d", len(got), size)
				}
				if path != "" {
					waitUntil(t, "the temp file is gone", func() bool { _, err := os.Stat(path); return os.IsNotExist(err) })
				}
			})
		}
	}
}

func waitUntil(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so within 10 s: %s", what)
		}
	}
}

// ask returns what a plugin is told about a raw request.
func answerTo(t *testing.T, raw, method string, args []byte) []byte {
	t.Helper()
	var got []byte
	p := startFake(t, func(c *fakeConn) { got = c.ask(method, args); ok(c) })
	s := startSim(t, Options{Socket: p.socket, Config: []byte(recordedConfig)})
	if res := send(t, s, []byte(raw)); !strings.HasPrefix(res, "HTTP/1.1 200") {
		t.Fatalf("got %q", res)
	}
	return got
}

func TestTheAbsoluteFormIsReducedToItsPath(t *testing.T) {
	raw := "GET http://Kafka-Upstream.dev/abs?x=1 HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n"
	if got := answerTo(t, raw, "kong.request.get_path_with_query", nil); string(got) != "\n\x08/abs?x=1" {
		t.Errorf("get_path_with_query %q", got)
	}
	if got := answerTo(t, raw, "kong.nginx.get_var", stringField(1, "request")); !strings.HasSuffix(string(got), "GET http://Kafka-Upstream.dev/abs?x=1 HTTP/1.1") {
		t.Errorf("request %q", got)
	}
}

func TestHeadersWithNamesThatNginxIgnoresAreLeftOut(t *testing.T) {
	raw := "GET / HTTP/1.1\r\nHost: kafka-upstream.dev\r\nConnection: close\r\nX.Dot: 1\r\nX_Under: 2\r\n\r\n"
	got := string(answerTo(t, raw, "kong.request.get_headers", int32Field(1, 1000)))
	if strings.Contains(got, "x.dot") || !strings.Contains(got, "x_under") {
		t.Errorf("headers %q", got)
	}
}

func TestHeadersAboveTheLimitAreCutSilently(t *testing.T) {
	raw := "GET / HTTP/1.1\r\nHost: kafka-upstream.dev\r\nConnection: close\r\n" + strings.Repeat("A: 1\r\n", 200) + "\r\n"
	for limit, want := range map[int32]int{1: 0, 100: 99, 1000: 200} {
		got := answerTo(t, raw, "kong.request.get_headers", int32Field(1, limit))
		if n := bytes.Count(got, []byte("\x1a\x011")); n != want {
			t.Errorf("limit %d: %d values, want %d", limit, n, want)
		}
	}
}

func TestTheConfigurationIsHandedToStartAsKongDoes(t *testing.T) {
	var config atomic.Pointer[[]byte]
	p := startFake(t, func(c *fakeConn) { b := c.config(); config.Store(&b); ok(c) })
	s := startSim(t, Options{Socket: p.socket, Config: []byte(`
_format_version: "3.0"
services:
- name: orders
  url: https://orders.example:8443/api
  routes:
  - name: r
    hosts: [kafka-upstream.dev]
    plugins:
    - {name: kafka-upstream, instance_name: mine, config: {topic: "a<b", secret: "{vault://env/known}"}}
`)})
	get := func() (m map[string]any) {
		do(t, s, "GET", "/", testHost, nil)
		if err := json.Unmarshal(*config.Load(), &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := get()
	first := m["name"]
	for k, want := range map[string]any{"topic": "a<b", "port": 9092.0, "secret": "", "plugin_instance_name": "mine", "route_id": stableUUID("services[1].routes[1]")} {
		if m[k] != want {
			t.Errorf("%s is %v, want %v", k, m[k], want)
		}
	}
	for _, k := range []string{"__seq__", "__plugin_id", "__key__", "__ws_id", "name"} {
		if m[k] == nil {
			t.Errorf("%s is missing", k)
		}
	}
	if fmt.Sprint(m["empty"]) != "[]" || fmt.Sprint(m["nested"]) != "map[on:false]" {
		t.Errorf("empty %v, nested %v", m["empty"], m["nested"])
	}
	if err := s.SetConfig([]byte(recordedConfig)); err != nil {
		t.Fatal(err)
	}
	m = get()
	if _, present := m["secret"]; present {
		t.Error("an unset field is there")
	}
	if m["name"] == first {
		t.Error("auto gave the same string at another load")
	}
}

func TestAChangeOfTheConfigurationStartsNewInstancesLazily(t *testing.T) {
	p := startFake(t, ok)
	s := startSim(t, Options{Socket: p.socket, Config: []byte(recordedConfig), Workers: 1})
	do(t, s, "GET", "/", testHost, nil)
	if err := s.SetConfig([]byte(recordedConfig)); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Starts != 1 {
		t.Errorf("started before any request: %+v", st)
	}
	do(t, s, "GET", "/", testHost, nil)
	if got := strings.Join(p.commands(), ","); got != "START 1 kafka-upstream,EVENT 1,START 2 kafka-upstream,CLOSE 1,EVENT 2" {
		t.Error(got)
	}
}

func TestABadConfigurationLeavesTheOldOneInPlace(t *testing.T) {
	p := startFake(t, ok)
	s := startSim(t, Options{Socket: p.socket, Config: []byte(recordedConfig)})
	if err := s.SetConfig([]byte("_format_version: '3.0'\nroutes: [{}]")); err == nil {
		t.Fatal("no error")
	}
	if res, _ := do(t, s, "GET", "/", testHost, nil); res.StatusCode != 200 {
		t.Error(res.Status)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(frames([]byte("kong.request.get_method"), nil))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add(frames(append(int32Field(1, 200), 0x1a, 0)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := bufio.NewReader(bytes.NewReader(raw))
		var buf []byte
		for {
			b, err := readFrame(r, buf)
			if err != nil {
				if strings.Contains(err.Error(), "\n") {
					t.Errorf("not one sentence: %v", err)
				}
				return
			}
			if len(b) > len(raw) || cap(b) > len(raw)+128<<10 {
				t.Fatalf("a frame of %d bytes in %d from %d", len(b), cap(b), len(raw))
			}
			buf = b
			parseExit(b)
			logMessage(b)
		}
	})
}

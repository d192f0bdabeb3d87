package e2e

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kongsim"
	"kafka-upstream/internal/test/testcert"
)

// What the tests of TLS, client certificates and SASL share.

// site is the stand-in for Kong with the program, as it is set up for a secured
// Kafka.
type site struct {
	*kongsim.Sim
	t      *testing.T
	client *http.Client
	log    *rig.Lines // Kong's error log at all levels, so also what the program prints
}

// secured starts a site with the declarative configuration and flags of the
// program. Where tests leave records that cannot be delivered, the flags must
// hold -drain-timeout, and the program may say so at its end.
func secured(t *testing.T, config string, flags ...string) *site {
	t.Helper()
	transport := new(http.Transport)
	s := &site{t: t, log: new(rig.Lines), client: &http.Client{Transport: transport}}
	sim, err := kongsim.Start(t.Context(), kongsim.Options{
		Config: []byte(config), Binary: rig.Binary, Args: append([]string{"-kong-prefix", rig.ShortDir(t)}, flags...), Workers: 2,
		OnLog: func(level, message string) { fmt.Fprintf(s.log, "[%s] %s\n", level, message) },
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, s.log)
	}
	s.Sim = sim
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := sim.Close(); err != nil && !slices.Contains(flags, "-drain-timeout") {
			t.Error(err)
		}
		if strings.Contains(s.log.String(), "DATA RACE") {
			t.Error("the program has a data race")
		}
		if t.Failed() {
			t.Logf("Kong's error log:\n%s", s.log)
		}
	})
	return s
}

// hosts is a declarative configuration with one route for each host, to which
// the plugin is bound with that configuration.
func hosts(configs map[string][]byte) string {
	var b strings.Builder
	b.WriteString("_format_version: \"3.0\"\nroutes:\n")
	for _, host := range slices.Sorted(maps.Keys(configs)) {
		fmt.Fprintf(&b, "- name: %s\n  hosts: [%s]\n  plugins:\n  - name: kafka-upstream\n    config: %s\n", host, host, configs[host])
	}
	return b.String()
}

const host = "kafka-upstream.dev" // of kongYAML's route

// send posts a text to a host and returns the status and the body of the answer.
func (s *site) send(host, text string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest("POST", s.URL(), strings.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Host = host
	req.Header.Set("Content-Type", "text/plain")
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	fmt.Fprintf(s.log, "[client] %s was answered %d %s\n", host, resp.StatusCode, b)
	return resp.StatusCode, string(b)
}

// want sends a text and fails the test unless that is the answer's status.
func (s *site) want(host string, status int) {
	s.t.Helper()
	if got, body := s.send(host, "hello"); got != status {
		s.t.Errorf("%s was answered %d %s, want %d", host, got, body, status)
	}
}

// change replaces Kong's configuration.
func (s *site) change(config string) {
	s.t.Helper()
	if err := s.SetConfig([]byte(config)); err != nil {
		s.t.Fatal(err)
	}
}

// errors returns the lines of Kong's error log at its level error: what is seen
// in a Kong with the log level that it has by default.
func (s *site) errors() string {
	var b strings.Builder
	for line := range strings.Lines(s.log.String()) {
		if strings.HasPrefix(line, "[err] ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// wantError waits until Kong's error log has the text at its level error. A
// failure of an asynchronous delivery is told by a later request, so some are
// sent to the host meanwhile, unless that is "".
func (s *site) wantError(host, text string) {
	s.t.Helper()
	next := time.Now()
	rig.Eventually(s.t, fmt.Sprintf("Kong's error log has %q", text), func() bool {
		if host != "" && time.Now().After(next) {
			s.send(host, "and what of the last?")
			next = time.Now().Add(250 * time.Millisecond)
		}
		return strings.Contains(s.errors(), text)
	})
}

// count returns how many lines of the log hold the text.
func (s *site) count(text string) int {
	n := 0
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// sasl is the authentication of a configuration.
func sasl(mechanism, user, password string) map[string]any {
	return map[string]any{"strategy": "sasl", "mechanism": mechanism, "user": user, "password": password}
}

// overTLS is the security of a configuration, with more of it.
func overTLS(more ...any) map[string]any {
	m := map[string]any{"ssl": true}
	for i := 0; i+1 < len(more); i += 2 {
		m[more[i].(string)] = more[i+1]
	}
	return m
}

// with merges settings.
func with(all ...map[string]any) map[string]any {
	m := make(map[string]any)
	for _, more := range all {
		maps.Copy(m, more)
	}
	return m
}

// synced are settings with which a request is answered once its record is
// acknowledged, or has failed after two attempts.
var synced = map[string]any{"producer_async": false, "producer_request_retries_max_attempts": 2}

// caFlag returns the flag -ca-file with a file that holds these authorities.
func caFlag(t *testing.T, authorities ...*testcert.CA) []string {
	t.Helper()
	var pem []byte
	for _, ca := range authorities {
		pem = append(pem, ca.PEM()...)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"-ca-file", file}
}

// proxy stands before a broker and counts the connections to it. Only the first
// contact goes by it: a broker names itself in its metadata.
type proxy struct {
	net.Listener
	to      string
	session func(client, broker net.Conn) // copies; nil for all there is

	mu    sync.Mutex
	times []time.Time // when connections were accepted
	conns []net.Conn
	wg    sync.WaitGroup
}

func startProxy(t *testing.T, to string, session func(client, broker net.Conn)) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: to, session: session}
	p.wg.Go(p.serve)
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) addrs() []string { return []string{p.Addr().String()} }

func (p *proxy) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, c)
}

func (p *proxy) serve() {
	for {
		client, err := p.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		p.mu.Lock()
		p.times = append(p.times, time.Now())
		p.mu.Unlock()
		p.keep(client)
		broker, err := net.Dial("tcp", p.to)
		if err != nil {
			client.Close()
			continue
		}
		p.keep(broker)
		p.wg.Go(func() {
			defer client.Close()
			defer broker.Close()
			if p.session != nil {
				p.session(client, broker)
				return
			}
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = io.Copy(broker, client); broker.Close() })
			_, _ = io.Copy(client, broker)
			client.Close()
			wg.Wait()
		})
	}
}

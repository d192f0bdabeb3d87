// Package apicurio gives tests a genuine schema registry: Apicurio Registry, which serves
// Confluent's API. Its tests have the build tag "kafka", because `make kafka` fetches it.
//
// TestMain ends the shared one by [StopShared].
package apicurio

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kafka-upstream/internal/test/child"
)

//go:embed version.txt
var version string

const startDeadline = 60 * time.Second // for a registry to answer

// Registry is a running Apicurio Registry. Its schemas are in files, so that they outlive a
// Kill. Its methods may be called concurrently, except that a Restart comes after a Kill.
type Registry struct {
	address string
	dir     string
	lease   *child.Lease
	client  *http.Client
	proc    *child.Process
}

var shared struct {
	mu       sync.Mutex
	registry *Registry
}

// Shared is the registry of all tests of the binary: the first call starts it. A test uses
// subjects of its own, and restarts what it killed.
func Shared(t testing.TB) *Registry {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.registry == nil {
		begin := time.Now()
		r, err := start()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("Apicurio Registry was ready after %v", time.Since(begin).Round(time.Millisecond))
		shared.registry = r
	}
	r := shared.registry
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(r.tail())
		}
	})
	return r
}

// StopShared ends the registry that [Shared] started. No test may run any more.
func StopShared() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.registry != nil {
		shared.registry.close()
		shared.registry = nil
	}
}

func start() (*Registry, error) {
	var err error
	r := &Registry{client: &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}}
	if r.dir, err = os.MkdirTemp("", "apicurio-"); err != nil {
		return nil, err
	}
	for range 5 { // another program may be faster at the port
		if r.lease, err = child.LeasePorts(1); err != nil {
			break
		}
		r.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(r.lease.Ports[0]))
		if err = r.run(); err == nil {
			return r, nil
		}
		if !strings.Contains(r.tail(), "already in use") && !strings.Contains(r.tail(), "Port already bound") {
			break
		}
		r.lease.Release()
	}
	err = fmt.Errorf("Apicurio Registry does not run: %w%s", err, r.tail())
	r.close()
	return nil, err
}

// run starts the process and waits until it answers.
func (r *Registry) run() error {
	installed := child.Installed("apicurio-" + strings.TrimSpace(version))
	jars, _ := filepath.Glob(filepath.Join(installed, "*-runner.jar"))
	if len(jars) != 1 {
		return fmt.Errorf("it is not in %s: run `make kafka`", installed)
	}
	java, err := child.Java()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(r.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	host, port, err := net.SplitHostPort(r.address)
	if err != nil {
		return err
	}
	cmd := exec.Command(java, slices.Concat(child.Flags, []string{"-Xmx256m",
		"-Dquarkus.http.host=" + host, "-Dquarkus.http.port=" + port,
		"-Dquarkus.banner.enabled=false", "-Dquarkus.log.level=WARN", `-Dquarkus.log.category."io.apicurio".level=WARN`,
		"-Dquarkus.http.access-log.enabled=false",
		"-Dapicurio.datasource.url=jdbc:h2:file:" + filepath.Join(r.dir, "registry"),
		"-jar", jars[0]})...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.dir, log, log
	if r.proc, err = child.Start(cmd); err != nil {
		return err
	}
	for deadline := time.Now().Add(startDeadline); ; time.Sleep(50 * time.Millisecond) {
		err := r.call(context.Background(), http.MethodGet, "/subjects", nil, nil)
		switch {
		case err == nil:
			return nil
		case r.proc.Ended():
			return fmt.Errorf("it has ended: %v", r.proc.Err())
		case time.Now().After(deadline):
			return fmt.Errorf("it does not answer within %v: %w", startDeadline, err)
		}
	}
}

func (r *Registry) close() {
	if r.proc != nil {
		r.proc.Kill()
	}
	if r.lease != nil {
		r.lease.Release()
	}
	r.client.CloseIdleConnections()
	os.RemoveAll(r.dir)
}

// URL is where Confluent's API is, without a slash at its end.
func (r *Registry) URL() string { return "http://" + r.address + "/apis/ccompat/v7" }

// Kill ends the registry by SIGKILL, and returns when it is gone.
func (r *Registry) Kill() {
	r.proc.Kill()
	r.client.CloseIdleConnections()
}

// Restart starts it again after a Kill, at the same address with the same schemas.
func (r *Registry) Restart(t testing.TB) {
	t.Helper()
	if err := r.run(); err != nil {
		t.Fatalf("Apicurio Registry did not come back: %v%s", err, r.tail())
	}
}

// Schema is a schema as Confluent's API has it.
type Schema struct {
	Type       string      `json:"schemaType,omitempty"` // "AVRO" if empty, JSON, PROTOBUF
	Text       string      `json:"schema"`
	References []Reference `json:"references,omitempty"`
}

// Reference names a schema that another one uses.
type Reference struct {
	Name    string `json:"name"`
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

// Register makes the schema a version of the subject, and returns its id.
func (r *Registry) Register(t testing.TB, subject string, s Schema) (id int) {
	t.Helper()
	var answer struct{ ID int }
	if err := r.call(t.Context(), http.MethodPost, "/subjects/"+url.PathEscape(subject)+"/versions", s, &answer); err != nil {
		t.Fatalf("registering %s: %v", subject, err)
	}
	return answer.ID
}

// call sends a request of Confluent's API, and decodes the answer unless that is nil.
func (r *Registry) call(ctx context.Context, method, path string, body, answer any) error {
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, r.URL()+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	res, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if b, err = io.ReadAll(res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", res.Status, b)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(b, answer)
}

func (r *Registry) log() string { return filepath.Join(r.dir, "log") }

// tail is what the registry logged last.
func (r *Registry) tail() string {
	log, _ := os.ReadFile(r.log())
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return "\nthe end of the registry's log:\n\t" + strings.Join(lines[max(0, len(lines)-30):], "\n\t")
}

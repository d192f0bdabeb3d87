package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongsim"
)

// gateway starts the stand-in for Kong with the program, which it runs as Kong
// does, and a route without a service as the documentation has it.
func gateway(t *testing.T, config string, args ...string) *kongsim.Sim {
	t.Helper()
	log := new(rig.Lines)
	sim, err := kongsim.Start(t.Context(), kongsim.Options{
		Config: []byte(config), Binary: rig.Binary, Args: append([]string{"-kong-prefix", rig.ShortDir(t)}, args...), Workers: 3, Stderr: log,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
		if strings.Contains(log.String(), "DATA RACE") {
			t.Error("the program has a data race")
		}
		if t.Failed() {
			t.Logf("the program printed:\n%s", log)
		}
	})
	return sim
}

// kongYAML is a declarative configuration with one route, to which the plugin
// is bound with that configuration.
func kongYAML(t *testing.T, config []byte) string {
	t.Helper()
	return `_format_version: "3.0"
routes:
- name: kafka-upstream
  hosts: [kafka-upstream.dev]
  plugins:
  - name: kafka-upstream
    config: ` + string(config) + "\n" // JSON is YAML
}

// request is one that is sent, with what has to be in its message.
type request struct {
	n                         int
	method, target, typ, body string
	args                      any // body_args
	query                     map[string]any
}

// randomRequest makes the n-th request from r.
func randomRequest(r *rand.Rand, n int) request {
	q := request{n: n, method: []string{"POST", "PUT", "PATCH"}[r.IntN(3)], args: map[string]any{}}
	value := strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(200)) + "é\"\\/\n<&>"
	q.query = map[string]any{"n": strconv.Itoa(n), "v": value, "flag": true}
	q.target = fmt.Sprintf("/orders/%d?n=%d&v=%s&flag", n%7, n, url.QueryEscape(value))
	switch n % 5 {
	case 0:
		q.typ, q.args = "application/json", map[string]any{"n": json.Number(strconv.Itoa(n)), "v": value}
		b, _ := json.Marshal(q.args)
		q.body = string(b)
	case 1:
		q.typ, q.args = "application/x-www-form-urlencoded", map[string]any{"n": strconv.Itoa(n), "v": value}
		q.body = url.Values{"n": {strconv.Itoa(n)}, "v": {value}}.Encode()
	case 2:
		q.typ, q.body = "text/plain", value
	case 3:
		q.typ, q.body = "application/octet-stream", value+"\xff\x00"
	case 4: // above client_body_buffer_size: by way of a file
		q.typ, q.body = "text/plain; charset=utf-8", value+strings.Repeat("0123456789", 900+r.IntN(2000))
	}
	return q
}

func (q request) send(base string) (status int, body string, err error) {
	req, err := http.NewRequest(q.method, base+q.target, strings.NewReader(q.body))
	if err != nil {
		return 0, "", err
	}
	req.Host = "kafka-upstream.dev"
	req.Header.Set("Content-Type", q.typ)
	req.Header.Set("X-Number", strconv.Itoa(q.n))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// compare says how the message differs from the request it was made of.
func (q request) compare(m map[string]any) error {
	headers, _ := m["headers"].(map[string]any)
	body := q.body
	if q.typ == "application/octet-stream" {
		body = base64.StdEncoding.EncodeToString([]byte(q.body))
	}
	for field, want := range map[string]any{
		"method": q.method, "uri": q.target, "uri_args": q.query, "body": body, "body_args": q.args,
	} {
		if !reflect.DeepEqual(m[field], want) {
			return fmt.Errorf("%s is %v, want %v", field, m[field], want)
		}
	}
	if _, ok := m["body_base64"]; ok != (q.typ == "application/octet-stream") {
		return fmt.Errorf("body_base64 is %v", m["body_base64"])
	}
	if headers["content-type"] != q.typ || headers["host"] != "kafka-upstream.dev" {
		return fmt.Errorf("headers are %v", headers)
	}
	return nil
}

// traffic sends n different requests from 32 clients, and then compares what is
// in the topic with what was answered: as many records as answers with 200, none
// twice, each equal to its request.
func traffic(t *testing.T, base string, n int, records func(n int) []*kgo.Record) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	requests := make([]request, n)
	for i := range requests {
		requests[i] = randomRequest(r, i)
	}
	var mu sync.Mutex
	accepted := make(map[int]bool)
	next := make(chan int)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := range next {
				status, body, err := requests[i].send(base)
				if err != nil || status != 200 || body != `{"message":"message sent"}` {
					t.Errorf("request %d: %d %s %v", i, status, body, err)
					continue
				}
				mu.Lock()
				accepted[i] = true
				mu.Unlock()
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()

	seen := make(map[int]bool)
	for _, rec := range records(len(accepted)) {
		d := json.NewDecoder(bytes.NewReader(rec.Value))
		d.UseNumber()
		var m map[string]any
		if err := d.Decode(&m); err != nil {
			t.Fatalf("record at %d/%d: %v", rec.Partition, rec.Offset, err)
		}
		headers, _ := m["headers"].(map[string]any)
		number, _ := headers["x-number"].(string)
		i, err := strconv.Atoi(number)
		switch {
		case err != nil || i < 0 || i >= n:
			t.Fatalf("a record that nobody sent: %s", rec.Value)
		case seen[i]:
			t.Errorf("request %d is in the topic twice", i)
		case !accepted[i]:
			t.Errorf("request %d is in the topic, and its client was told otherwise", i)
		}
		seen[i] = true
		if err := requests[i].compare(m); err != nil {
			t.Errorf("request %d: %v", i, err)
		}
	}
	if !maps.Equal(seen, accepted) {
		missing := slices.DeleteFunc(slices.Sorted(maps.Keys(accepted)), func(i int) bool { return seen[i] })
		t.Errorf("%d records for %d answers with 200; missing are %v", len(seen), len(accepted), missing[:min(len(missing), 20)])
	}
}

func TestTrafficArrivesAsItWasSent(t *testing.T) {
	for name, async := range map[string]bool{"async": true, "sync": false} {
		t.Run(name, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.SeedTopics(10, "t"))
			sim := gateway(t, kongYAML(t, rig.Settings(t, f.Addrs(), all(map[string]any{"producer_async": async}))))
			traffic(t, sim.URL(), 1000, func(n int) []*kgo.Record { return f.Records(t, "t", n) })
		})
	}
}

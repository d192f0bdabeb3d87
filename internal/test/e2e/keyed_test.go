package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"kafka-upstream/internal/test/e2e/rig"
)

var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

const (
	// clients send at the same time, each the requests with its number modulo clients.
	clients = 8
	// keys is a multiple of the number of clients: each client has keys of its own, and sends
	// the requests of a key one after another.
	keys = 40
)

// mixed is a load of records with and without keys. The first clients have a route of their
// own for each codec, on which requests name their topic, one of ten, and their key, so that
// each codec comes to each topic. The records of the other clients have no key, and go to a
// topic of their own.
type mixed struct {
	plain string   // the topic without keys
	keyed []string // ten topics
}

func newMixed(plain string) *mixed {
	m := &mixed{plain: plain}
	for i := range 10 {
		m.keyed = append(m.keyed, fmt.Sprintf("%s-%d", plain, i))
	}
	return m
}

func (m *mixed) topics() []string { return append([]string{m.plain}, m.keyed...) }

// target returns where request i goes.
func (m *mixed) target(i int) string {
	if codec := i % clients; codec < len(codecs) {
		return fmt.Sprintf("/%s?topic=%s&key=%d", codecs[codec], m.keyed[i/keys%len(m.keyed)], i%keys)
	}
	return "/"
}

// config is Kong's declarative configuration with all the routes, and with more settings.
func (m *mixed) config(t *testing.T, brokers []string, more map[string]any) []byte {
	t.Helper()
	var routes strings.Builder
	add := func(name, path string, own map[string]any) {
		settings := maps.Clone(own)
		maps.Copy(settings, more)
		fmt.Fprintf(&routes, `- name: %s
  hosts: [kafka-upstream.dev]
  paths: [%s]
  plugins:
  - name: kafka-upstream
    config: %s
`, name, path, rig.Settings(t, brokers, settings))
	}
	add("plain", "/", map[string]any{"topic": m.plain})
	for _, codec := range codecs {
		add(codec, "/"+codec, map[string]any{
			"topic": m.keyed[0], "allowed_topics": m.keyed, "topics_query_arg": "topic", "key_query_arg": "key", "compression_type": codec,
		})
	}
	return []byte("_format_version: \"3.0\"\nroutes:\n" + routes.String())
}

// checkKeys fails the test if a record has not the key of its request, or if the records of a
// key in a topic are in several partitions, or not in the order of their requests; a record
// may be there again. records are in the order of their offsets.
func (m *mixed) checkKeys(t *testing.T, records []*kgo.Record) {
	t.Helper()
	type place struct{ topic, key string }
	type progress struct {
		partition int32
		last      int
		seen      map[int]bool
	}
	all := make(map[place]*progress)
	for _, r := range records {
		var message struct {
			Args struct{ I int } `json:"body_args"`
		}
		if err := json.Unmarshal(r.Value, &message); err != nil {
			t.Fatal(err)
		}
		at, i := place{r.Topic, string(r.Key)}, message.Args.I
		if m.target(i) == "/" {
			if r.Key != nil || r.Topic != m.plain {
				t.Errorf("request %d without a key is in topic %s with the key %q", i, r.Topic, r.Key)
			}
			continue
		}
		if at.key != fmt.Sprint(i%keys) {
			t.Errorf("request %d has the key %q", i, at.key)
			continue
		}
		p := all[at]
		if p == nil {
			p = &progress{partition: r.Partition, last: -1, seen: make(map[int]bool)}
			all[at] = p
		}
		if r.Partition != p.partition {
			t.Errorf("key %s of topic %s is in the partitions %d and %d", at.key, at.topic, p.partition, r.Partition)
		}
		if p.seen[i] || i >= marker { // markers are not sent by the key's client
			continue
		}
		if i < p.last {
			t.Errorf("topic %s, partition %d: request %d is after %d, both of key %s", at.topic, r.Partition, i, p.last, at.key)
		}
		p.seen[i], p.last = true, i
	}
	if len(all) == 0 {
		t.Error("no record has a key")
	}
}

package e2e

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// keyed are the settings by which requests choose their topic and their key, with that
// codec.
func keyed(topics []string, codec string) map[string]any {
	return map[string]any{
		"topic": topics[0], "allowed_topics": topics, "topics_query_arg": "topic", "key_query_arg": "key", "compression_type": codec,
	}
}

// keys is a multiple of the number of clients: each client has keys of its own, and sends
// the requests of a key one after another.
const keys = 40

// keyedTarget returns where request i goes, so that each key comes to each topic.
func keyedTarget(topics []string, i int) string {
	return fmt.Sprintf("/?topic=%s&key=%d", topics[i/keys%len(topics)], i%keys)
}

func tenTopics(name string) (topics []string) {
	for i := range 10 {
		topics = append(topics, fmt.Sprintf("%s-%d", name, i))
	}
	return topics
}

// checkOrder fails the test if the records of a key in a topic are in several partitions, or
// not in the order of their requests; a record may be there again. records are in the order
// of their offsets.
func checkOrder(t *testing.T, records []*kgo.Record) {
	t.Helper()
	type place struct{ topic, key string }
	type progress struct {
		partition int32
		last      int
		seen      map[int]bool
	}
	all := make(map[place]*progress)
	for _, r := range records {
		var m struct {
			Args struct{ I int } `json:"body_args"`
		}
		if err := json.Unmarshal(r.Value, &m); err != nil {
			t.Fatal(err)
		}
		at, i := place{r.Topic, string(r.Key)}, m.Args.I
		if i >= marker || at.key != fmt.Sprint(i%keys) {
			if i < marker {
				t.Errorf("request %d has the key %q", i, at.key)
			}
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
		if p.seen[i] {
			continue
		}
		if i < p.last {
			t.Errorf("topic %s, partition %d: request %d is after %d, both of key %s", at.topic, r.Partition, i, p.last, at.key)
		}
		p.seen[i], p.last = true, i
	}
}

// withKeys returns the fault with records that have keys, go to ten topics, and are
// compressed by that codec.
func (f fault) withKeys(codec string) fault {
	f.codec = codec
	f.name += "; ten topics, keys, compression_type " + codec
	f.topic += "-" + codec
	return f
}

// withKeys returns the faults that are named, each with the codec that stands beside it.
func withKeys(faults []fault, codecs map[string]string) (some []fault) {
	for _, f := range faults {
		if codec := codecs[f.name]; codec != "" {
			some = append(some, f.withKeys(codec))
		}
	}
	if len(some) != len(codecs) {
		panic(fmt.Sprintf("there are not all of the faults %v", codecs))
	}
	return some
}

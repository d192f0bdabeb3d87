//go:build kafka

package e2e

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
)

// librdkafka has where librdkafka 2.0.2 puts keys in a topic of 10 partitions. To see it:
// kcat -P -X partitioner=consistent -K … to an Apache Kafka 4.4.0, and again with murmur2.
var librdkafka = []struct {
	key                 string
	consistent, murmur2 int32
}{
	{"", 0, 1},
	{"a", 7, 4},
	{"b", 1, 6},
	{"order-1", 9, 6},
	{"order-2", 3, 3},
	{"c-42", 9, 6},
	{"4711", 9, 2},
	{"alice", 5, 9},
	{"customer|eu-west", 0, 4},
	{"25f6c9b0-8f7a-4a0b-9d9e-3f5f0a5f1c11", 0, 8},
	{"Zoë Müller", 8, 8},
	{"日本", 6, 7},
	{"\x00", 7, 8},
	{"\xff\xfe\x00binary", 3, 4},
	{"a longer key than most, of a hundred bytes or so, so that a hash that reads words sees several of them", 0, 6},
	{"2026-11-28T12:00:00Z", 3, 4},
	{"0", 9, 6},
	{"1", 3, 9},
	{"2", 7, 8},
	{"3", 1, 3},
}

func TestKeysAreWhereOtherClientsPutThem(t *testing.T) {
	partitions := make([]int, 10)
	for i := range partitions {
		partitions[i] = i
	}
	crc32 := kafka.CRC32Balancer{Consistent: true}
	java := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	kafkatest.EachVersion(t, func(t *testing.T, version string) {
		cluster := kafkatest.Shared(t, version)
		configs := make(map[string][]byte)
		for _, p := range []string{"crc32", "murmur2"} {
			topic := cluster.CreateTopic(t, "keys-"+p, 10, 1, nil)
			configs[p] = rig.Settings(t, cluster.Addrs(kafkatest.Plaintext), map[string]any{
				"topic": topic, "partitioner": p, "key_query_arg": "k", "value_format": "body", "producer_async": false})
		}
		sim := gateway(t, hosts(configs))
		for _, v := range librdkafka {
			for p := range configs {
				sent{target: "/?k=" + url.QueryEscape(v.key), body: "1"}.check(t, sim.URL(), p)
			}
			if got := crc32.Balance(kafka.Message{Key: []byte(v.key)}, partitions...); int32(got) != v.consistent {
				t.Errorf("%q: kafka-go's CRC32Balancer has partition %d, librdkafka %d", v.key, got, v.consistent)
			}
			if got := java.Partition(&kgo.Record{Key: []byte(v.key)}, 10); int32(got) != v.murmur2 {
				t.Errorf("%q: franz-go has partition %d, librdkafka %d", v.key, got, v.murmur2)
			}
		}
		for p := range configs {
			records := cluster.Records(t, "keys-"+p, len(librdkafka))
			for _, v := range librdkafka {
				want := v.consistent
				if p == "murmur2" {
					want = v.murmur2
				}
				at := slices.IndexFunc(records, func(r *kgo.Record) bool { return r.Key != nil && string(r.Key) == v.key })
				if at < 0 {
					t.Errorf("%s: no record has the key %q", p, v.key)
				} else if got := records[at].Partition; got != want {
					t.Errorf("%s: key %q is in partition %d, want %d", p, v.key, got, want)
				}
			}
		}
	})
}

// All that a record can have, compressed by each codec, in one partition: read by Kafka's
// console consumer and by franz-go.
func TestRecordsAreReadByOtherConsumers(t *testing.T) {
	kafkatest.EachVersion(t, func(t *testing.T, version string) {
		cluster := kafkatest.Shared(t, version)
		topic := cluster.CreateTopic(t, "read-by-others", 1, 1, nil)
		configs := make(map[string][]byte)
		for _, codec := range codecs {
			configs[codec] = rig.Settings(t, cluster.Addrs(kafkatest.Plaintext), map[string]any{
				"topic": topic, "compression_type": codec, "value_format": "body", "tombstones": codec != "none", "producer_async": false,
				"key_query_arg": "k", "timestamp_header": "x-time", "split": "none", "headers": map[string]any{"include_headers": []string{"x-a", "x-b"}},
			})
		}
		sim := gateway(t, hosts(configs))
		long := strings.Repeat("Zoë", 50)
		var printed, read []string
		add := func(line, record string) {
			printed = append(printed, fmt.Sprintf(line, len(printed)))
			read = append(read, record)
		}
		for i, codec := range codecs {
			at := 1700000000123 + i
			header := fmt.Sprintf("x-time: %d", at)
			sent{target: "/?k=a%20b", headers: []string{header, "x-b: é", "x-a: 1", "x-a: 2", "content-type: text/plain"}, body: long}.check(t, sim.URL(), codec)
			add(fmt.Sprintf("CreateTime:%d\tPartition:0\tOffset:%%d\tx-a:1,x-a:2,x-b:é,content-type:text/plain\ta b\t%s", at, long),
				fmt.Sprintf("%s a b %s x-a=1 x-a=2 x-b=é content-type=text/plain @%d", codec, long, at))
			sent{target: "/", headers: []string{header}, body: codec}.check(t, sim.URL(), codec)
			add(fmt.Sprintf("CreateTime:%d\tPartition:0\tOffset:%%d\tNO_HEADERS\tnull\t%s", at, codec), fmt.Sprintf("%s null %s @%d", codec, codec, at))
			sent{target: "/?k=gone", headers: []string{header}}.check(t, sim.URL(), codec)
			value, empty := "null", "null"
			if codec == "none" { // without tombstones
				value, empty = "", `""`
			}
			add(fmt.Sprintf("CreateTime:%d\tPartition:0\tOffset:%%d\tNO_HEADERS\tgone\t%s", at, value), fmt.Sprintf("%s gone %s @%d", codec, empty, at))
		}
		out := cluster.ConsoleConsumer(t, topic, len(printed), kafkatest.FormatterProperties(version,
			"print.timestamp", "print.partition", "print.offset", "print.headers", "print.key")...)
		if got := strings.Split(strings.TrimSuffix(out, "\n"), "\n"); !slices.Equal(got, printed) {
			t.Errorf("the console consumer printed\n%s\nwant\n%s", out, strings.Join(printed, "\n"))
		}
		var got []string
		for _, r := range cluster.Records(t, topic, len(read)) {
			got = append(got, codecs[r.Attrs.CompressionType()]+" "+show(r, topic))
		}
		if !slices.Equal(got, read) {
			t.Errorf("franz-go read\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(read, "\n"))
		}
	})
}

func TestMissingTopicLeavesRoomForOthersInRealKafka(t *testing.T) {
	kafkatest.EachVersion(t, func(t *testing.T, version string) {
		cluster := kafkatest.Shared(t, version)
		quiet := cluster.CreateTopic(t, "quiet", 3, 1, nil)
		outage{noisy: "noisy", quiet: quiet, brokers: cluster.Addrs(kafkatest.Plaintext), records: cluster.Records,
			end: func() { cluster.CreateTopic(t, "noisy", 3, 1, nil) }}.check(t)
	})
}

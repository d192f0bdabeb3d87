package brokerconn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	_ "github.com/segmentio/kafka-go/protocol/apiversions"
	_ "github.com/segmentio/kafka-go/protocol/initproducerid"
	_ "github.com/segmentio/kafka-go/protocol/metadata"
	_ "github.com/segmentio/kafka-go/protocol/produce"
	_ "github.com/segmentio/kafka-go/protocol/saslauthenticate"
	_ "github.com/segmentio/kafka-go/protocol/saslhandshake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// asking is a request for topic "t", and partition 3 of it.
func asking(key kmsg.Key, version int16) *request {
	return &request{key: int16(key), version: version, correlation: 7, answered: true, topics: [][]byte{[]byte("t")}, partition: 3, records: 200}
}

// answerTo is what a broker says, with a value in each field.
func answerTo(key kmsg.Key, version int16) kmsg.Response {
	var answer kmsg.Response
	switch key {
	case kmsg.ApiVersions:
		r := kmsg.NewPtrApiVersionsResponse()
		for k, last := range map[kmsg.Key]int16{kmsg.Produce: 13, kmsg.Metadata: 13, kmsg.ApiVersions: 4, kmsg.InitProducerID: 5, kmsg.SASLHandshake: 1, kmsg.SASLAuthenticate: 2, 1000: 0} {
			r.ApiKeys = append(r.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: int16(k), MaxVersion: last})
		}
		r.ThrottleMillis = 1
		answer = r
	case kmsg.Metadata:
		r := kmsg.NewPtrMetadataResponse()
		r.ThrottleMillis, r.ClusterID, r.ControllerID = 1, kmsg.StringPtr("cluster"), 2
		for id, host := range []string{"127.0.0.1", "broker-1.example.org.", "fe80::1%eth0", "under_score"} {
			b := kmsg.NewMetadataResponseBroker()
			b.NodeID, b.Host, b.Port = int32(id), host, 9092
			if id > 0 {
				b.Rack = kmsg.StringPtr("rack")
			}
			r.Brokers = append(r.Brokers, b)
		}
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = kmsg.StringPtr("t")
		for i := range int32(5) {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition, p.Leader, p.LeaderEpoch = i, i-1, 9
			p.Replicas, p.ISR, p.OfflineReplicas = []int32{0, 1, 2}, []int32{0}, []int32{1, 2}
			topic.Partitions = append(topic.Partitions, p)
		}
		r.Topics = append(r.Topics, topic)
		answer = r
	case kmsg.Produce:
		r := kmsg.NewPtrProduceResponse()
		p := kmsg.NewProduceResponseTopicPartition()
		p.Partition, p.ErrorCode, p.BaseOffset, p.ErrorMessage = 3, 87, 5, kmsg.StringPtr("not these")
		for i := range int32(3) {
			e := kmsg.NewProduceResponseTopicPartitionErrorRecord()
			e.RelativeOffset = i
			if i > 0 {
				e.ErrorMessage = kmsg.StringPtr("not this")
			}
			p.ErrorRecords = append(p.ErrorRecords, e)
		}
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic, topic.Partitions = "t", append(topic.Partitions, p)
		r.Topics, r.ThrottleMillis = append(r.Topics, topic), 1
		answer = r
	case kmsg.InitProducerID:
		r := kmsg.NewPtrInitProducerIDResponse()
		r.ThrottleMillis, r.ProducerID, r.ProducerEpoch = 1, 1<<40, 3
		answer = r
	case kmsg.SASLHandshake:
		r := kmsg.NewPtrSASLHandshakeResponse()
		r.SupportedMechanisms = []string{"PLAIN", "SCRAM-SHA-256"}
		answer = r
	case kmsg.SASLAuthenticate:
		r := kmsg.NewPtrSASLAuthenticateResponse()
		r.SASLAuthBytes, r.ErrorMessage, r.SessionLifetimeMillis = []byte("challenge"), kmsg.StringPtr("no"), 3_600_000
		answer = r
	}
	answer.SetVersion(version)
	return answer
}

// each calls f for each request that kafka-go can make, in each version.
func each(t *testing.T, f func(t *testing.T, key kmsg.Key, version int16)) {
	for _, key := range []kmsg.Key{kmsg.ApiVersions, kmsg.Metadata, kmsg.Produce, kmsg.InitProducerID, kmsg.SASLHandshake, kmsg.SASLAuthenticate} {
		for v := range newest(int16(key)) + 1 {
			t.Run(fmt.Sprintf("%s/%d", key.Name(), v), func(t *testing.T) { f(t, key, v) })
		}
	}
}

// bodyOf is what follows an answer's correlation id: the tagged fields of its header, if its version
// has any, and the answer. ApiVersions' header has none in any version (KIP-511).
func bodyOf(answer kmsg.Response) []byte {
	var header []byte
	if answer.IsFlexible() && answer.Key() != int16(kmsg.ApiVersions) {
		header = []byte{0}
	}
	return answer.AppendTo(header)
}

func frame(correlation int32, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
	return append(binary.BigEndian.AppendUint32(b, uint32(correlation)), body...)
}

func TestEveryVersionThatKafkaGoCanTakeIsKnown(t *testing.T) {
	for key := range int16(200) {
		if last := newest(key); last >= 0 && protocol.ApiKey(key).MaxVersion() != last {
			t.Errorf("kafka-go has versions up to %d of %v, and %d is the newest whose answer is known", protocol.ApiKey(key).MaxVersion(), protocol.ApiKey(key), last)
		}
	}
}

func TestAnswerOfABrokerIsTakenWhole(t *testing.T) {
	each(t, func(t *testing.T, key kmsg.Key, version int16) {
		r := asking(key, version)
		body := bodyOf(answerTo(key, version))
		if err := r.check(body); err != nil {
			t.Fatal(err)
		}
		if len(body) > r.limit() {
			t.Errorf("%d bytes are above the limit", len(body))
		}
		if _, _, err := protocol.ReadResponse(bytes.NewReader(frame(7, body)), protocol.ApiKey(key), version); err != nil {
			t.Errorf("kafka-go: %v", err)
		}
		for n := range body {
			if err := r.check(body[:n]); err == nil {
				t.Errorf("taken without its last %d bytes", len(body)-n)
			}
		}
		if err := r.check(append(bytes.Clone(body), 0)); err == nil {
			t.Error("taken with a byte too many")
		}
	})
}

func TestAnswerWithoutAnyElementIsTaken(t *testing.T) {
	for v := range int16(9) {
		empty := kmsg.NewPtrMetadataResponse()
		empty.SetVersion(v)
		if err := asking(kmsg.Metadata, v).check(empty.AppendTo(nil)); err != nil {
			t.Errorf("Metadata version %d: %v", v, err)
		}
	}
	for v := range int16(2) {
		empty := kmsg.NewPtrSASLAuthenticateResponse()
		empty.SetVersion(v)
		if err := asking(kmsg.SASLAuthenticate, v).check(empty.AppendTo(nil)); err != nil {
			t.Errorf("SaslAuthenticate version %d: %v", v, err)
		}
	}
}

// Whatever number stands at any place of an answer, kafka-go takes it without a panic
// and without much memory, or it is not taken.
func TestNoNumberInAnAnswerIsTrusted(t *testing.T) {
	each(t, func(t *testing.T, key kmsg.Key, version int16) {
		r := asking(key, version)
		body := bodyOf(answerTo(key, version))
		for at := range body {
			for _, n := range []uint32{1e6, math.MaxInt32, math.MaxUint32} {
				for _, size := range []int{2, 4} {
					if at+size > len(body) {
						continue
					}
					b := bytes.Clone(body)
					copy(b[at:], binary.BigEndian.AppendUint32(nil, n)[4-size:])
					if r.check(b) != nil {
						continue
					}
					if _, _, err := protocol.ReadResponse(bytes.NewReader(frame(7, b)), protocol.ApiKey(key), version); err != nil {
						t.Fatalf("%d in %d bytes at %d: taken, and kafka-go says %v", n, size, at, err)
					}
				}
			}
		}
	})
}

func TestMetadataThatKafkaGoCannotActOnIsNotTaken(t *testing.T) {
	for name, change := range map[string]func(*kmsg.MetadataResponse){
		"host with a comma":             func(r *kmsg.MetadataResponse) { r.Brokers[0].Host = "127.0.0.1,127.0.0.1" },
		"comma alone":                   func(r *kmsg.MetadataResponse) { r.Brokers[1].Host = "," },
		"comma in a zone":               func(r *kmsg.MetadataResponse) { r.Brokers[0].Host = "fe80::1%a,b" },
		"no host":                       func(r *kmsg.MetadataResponse) { r.Brokers[0].Host = "" },
		"host with a port":              func(r *kmsg.MetadataResponse) { r.Brokers[0].Host = "broker:9092" },
		"host in brackets":              func(r *kmsg.MetadataResponse) { r.Brokers[0].Host = "[::1]" },
		"host with a space":             func(r *kmsg.MetadataResponse) { r.Brokers[0].Host = "a b" },
		"host with a line feed":         func(r *kmsg.MetadataResponse) { r.Brokers[0].Host = "a\nb" },
		"control character in a zone":   func(r *kmsg.MetadataResponse) { r.Brokers[0].Host = "fe80::1%\x1b[2J" },
		"host that is not ASCII":        func(r *kmsg.MetadataResponse) { r.Brokers[0].Host = "brök" },
		"host with a slash":             func(r *kmsg.MetadataResponse) { r.Brokers[0].Host = "http://broker" },
		"host that is too long":         func(r *kmsg.MetadataResponse) { r.Brokers[0].Host = strings.Repeat("a", 255) },
		"port 0":                        func(r *kmsg.MetadataResponse) { r.Brokers[0].Port = 0 },
		"negative port":                 func(r *kmsg.MetadataResponse) { r.Brokers[0].Port = -9092 },
		"port 65536":                    func(r *kmsg.MetadataResponse) { r.Brokers[0].Port = 65536 },
		"negative broker":               func(r *kmsg.MetadataResponse) { r.Brokers[0].NodeID = -1 },
		"broker twice":                  func(r *kmsg.MetadataResponse) { r.Brokers[1].NodeID = 0 },
		"another topic":                 func(r *kmsg.MetadataResponse) { r.Topics[0].Topic = kmsg.StringPtr("u") },
		"topic without a name":          func(r *kmsg.MetadataResponse) { r.Topics[0].Topic = kmsg.StringPtr("") },
		"topic twice":                   func(r *kmsg.MetadataResponse) { r.Topics = append(r.Topics, r.Topics[0]) },
		"negative partition":            func(r *kmsg.MetadataResponse) { r.Topics[0].Partitions[0].Partition = -1 },
		"partition twice":               func(r *kmsg.MetadataResponse) { r.Topics[0].Partitions[0].Partition = 4 },
		"partition with a large number": func(r *kmsg.MetadataResponse) { r.Topics[0].Partitions[0].Partition = maxPartitions },
		"too many brokers": func(r *kmsg.MetadataResponse) {
			for i := range maxBrokers {
				r.Brokers = append(r.Brokers, kmsg.MetadataResponseBroker{NodeID: int32(100 + i), Host: "h", Port: 1})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for v := range int16(9) {
				answer := answerTo(kmsg.Metadata, v).(*kmsg.MetadataResponse)
				change(answer)
				var broken violation
				if err := asking(kmsg.Metadata, v).check(answer.AppendTo(nil)); !errors.As(err, &broken) {
					t.Errorf("version %d: %v", v, err)
				}
			}
		})
	}
}

func TestLargestTopicIsTakenAndNoLargerOne(t *testing.T) {
	answer := answerTo(kmsg.Metadata, 8).(*kmsg.MetadataResponse)
	p := answer.Topics[0].Partitions[0]
	answer.Topics[0].Partitions = nil
	for i := range int32(maxPartitions) {
		p.Partition = i
		answer.Topics[0].Partitions = append(answer.Topics[0].Partitions, p)
	}
	body := answer.AppendTo(nil)
	r := asking(kmsg.Metadata, 8)
	if err := r.check(body); err != nil || len(body) > r.limit() {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	p.Partition = maxPartitions
	answer.Topics[0].Partitions = append(answer.Topics[0].Partitions, p)
	if r.check(answer.AppendTo(nil)) == nil {
		t.Error("and a larger one")
	}
}

func TestProduceAnswerForAnotherPartitionIsNotTaken(t *testing.T) {
	for name, change := range map[string]func(*kmsg.ProduceResponse){
		"another topic":     func(r *kmsg.ProduceResponse) { r.Topics[0].Topic = "u" },
		"longer topic":      func(r *kmsg.ProduceResponse) { r.Topics[0].Topic = "tt" },
		"another partition": func(r *kmsg.ProduceResponse) { r.Topics[0].Partitions[0].Partition = 2 },
		"no topic":          func(r *kmsg.ProduceResponse) { r.Topics = nil },
		"no partition":      func(r *kmsg.ProduceResponse) { r.Topics[0].Partitions = nil },
		"topic twice":       func(r *kmsg.ProduceResponse) { r.Topics = append(r.Topics, r.Topics[0]) },
		"partition twice": func(r *kmsg.ProduceResponse) {
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, r.Topics[0].Partitions[0])
		},
	} {
		t.Run(name, func(t *testing.T) {
			for v := range int16(9) {
				answer := answerTo(kmsg.Produce, v).(*kmsg.ProduceResponse)
				change(answer)
				var broken violation
				if err := asking(kmsg.Produce, v).check(answer.AppendTo(nil)); !errors.As(err, &broken) {
					t.Errorf("version %d: %v", v, err)
				}
			}
		})
	}
	t.Run("more errors than records", func(t *testing.T) {
		r := asking(kmsg.Produce, 8)
		r.records = 2
		if err := r.check(answerTo(kmsg.Produce, 8).AppendTo(nil)); err == nil {
			t.Error("taken")
		}
	})
}

func TestProducerIDThatNoBatchCanHaveIsNotTaken(t *testing.T) {
	for name, change := range map[string]func(*kmsg.InitProducerIDResponse){
		"no id":          func(r *kmsg.InitProducerIDResponse) { r.ProducerID = -1 },
		"negative epoch": func(r *kmsg.InitProducerIDResponse) { r.ProducerEpoch = -2 },
	} {
		for v := range newest(initProducerIDKey) + 1 {
			answer := answerTo(kmsg.InitProducerID, v).(*kmsg.InitProducerIDResponse)
			change(answer)
			var broken violation
			if err := asking(kmsg.InitProducerID, v).check(bodyOf(answer)); !errors.As(err, &broken) {
				t.Errorf("%s, version %d: %v", name, v, err)
			}
			answer.ErrorCode = 31 // then they mean nothing
			if err := asking(kmsg.InitProducerID, v).check(bodyOf(answer)); err != nil {
				t.Errorf("%s with an error, version %d: %v", name, v, err)
			}
		}
	}
}

// Brokers may add tagged fields to a version (KIP-482).
func TestTaggedFieldsAreTakenIfTheyFit(t *testing.T) {
	body := bodyOf(answerTo(kmsg.InitProducerID, 4))
	for _, row := range []struct {
		tags []byte
		ok   bool
	}{
		{[]byte{0}, true},
		{[]byte{2, 0, 1, 'x', 7, 0}, true},
		{[]byte{1, 0, 2, 'x'}, false},
		{[]byte{1, 0}, false},
		{[]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, false},
		{[]byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0x07}, false},
		{[]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}, false},
		{[]byte{0x80}, false},
		{nil, false},
	} {
		b := append(bytes.Clone(body[:len(body)-1]), row.tags...)
		if err := asking(kmsg.InitProducerID, 4).check(b); (err == nil) != row.ok {
			t.Errorf("% x: %v", row.tags, err)
		}
		if !row.ok {
			continue // kafka-go would count to two billion
		}
		if _, _, err := protocol.ReadResponse(bytes.NewReader(frame(7, b)), protocol.InitProducerId, 4); err != nil {
			t.Errorf("% x: kafka-go says %v", row.tags, err)
		}
	}
}

func TestBrokerWithoutAVersionInCommonOfInitProducerIDIsTaken(t *testing.T) {
	for _, change := range []func(*kmsg.ApiVersionsResponseApiKey){
		func(k *kmsg.ApiVersionsResponseApiKey) { k.MinVersion, k.MaxVersion = 5, 6 },
		func(k *kmsg.ApiVersionsResponseApiKey) { k.ApiKey = 2000 }, // or without any
	} {
		answer := answerTo(kmsg.ApiVersions, 0).(*kmsg.ApiVersionsResponse)
		for i := range answer.ApiKeys {
			if answer.ApiKeys[i].ApiKey == initProducerIDKey {
				change(&answer.ApiKeys[i])
			}
		}
		if err := asking(kmsg.ApiVersions, 0).check(answer.AppendTo(nil)); err != nil {
			t.Error(err)
		}
	}
}

func TestBrokerWithoutAVersionInCommonIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*kmsg.ApiVersionsResponse)
		code   kafka.Error // 0: a violation
	}{
		{"error code", func(r *kmsg.ApiVersionsResponse) { r.ErrorCode = 35 }, kafka.UnsupportedVersion},
		{"error code alone", func(r *kmsg.ApiVersionsResponse) { r.ErrorCode, r.ApiKeys = 42, nil }, kafka.InvalidRequest},
		{"no API", func(r *kmsg.ApiVersionsResponse) { r.ApiKeys = nil }, kafka.UnsupportedVersion},
		{"a controller", func(r *kmsg.ApiVersionsResponse) {
			r.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: 18, MaxVersion: 4}}
		}, kafka.UnsupportedVersion},
		{"only newer versions", func(r *kmsg.ApiVersionsResponse) {
			for i := range r.ApiKeys {
				r.ApiKeys[i].MinVersion, r.ApiKeys[i].MaxVersion = 9, 20
			}
		}, kafka.UnsupportedVersion},
		{"versions that end before they begin", func(r *kmsg.ApiVersionsResponse) {
			for i := range r.ApiKeys {
				r.ApiKeys[i].MinVersion, r.ApiKeys[i].MaxVersion = 3, 2
			}
		}, 0},
		{"negative versions", func(r *kmsg.ApiVersionsResponse) {
			for i := range r.ApiKeys {
				r.ApiKeys[i].MinVersion, r.ApiKeys[i].MaxVersion = -2, -1
			}
		}, 0},
		{"an API twice", func(r *kmsg.ApiVersionsResponse) { r.ApiKeys = append(r.ApiKeys, r.ApiKeys...) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			for v := range int16(3) {
				answer := answerTo(kmsg.ApiVersions, v).(*kmsg.ApiVersionsResponse)
				c.change(answer)
				err := asking(kmsg.ApiVersions, v).check(answer.AppendTo(nil))
				var broken violation
				if c.code == 0 && !errors.As(err, &broken) || c.code != 0 && !errors.Is(err, c.code) {
					t.Errorf("version %d: %v", v, err)
				}
			}
		})
	}
}

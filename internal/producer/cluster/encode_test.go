package cluster

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	produceAPI "github.com/segmentio/kafka-go/protocol/produce"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// arbitrary returns records of every kind that there is.
func arbitrary(rnd *rand.Rand) (records []record) {
	text := func() []byte {
		switch rnd.IntN(4) {
		case 0:
			return nil
		case 1:
			return []byte{}
		}
		return bytes.Repeat([]byte{byte(rnd.Uint32())}, rnd.IntN(1<<rnd.IntN(16)))
	}
	at := time.UnixMilli(rnd.Int64N(4e12))
	for range 1 + rnd.IntN(100) {
		r := record{time: at.Add(time.Duration(rnd.Int64N(2e12) - 1e12)), key: text(), value: text()}
		for range rnd.IntN(4) {
			r.headers = append(r.headers, protocol.Header{Key: string(text()), Value: text()})
		}
		records = append(records, r)
	}
	return records
}

// kafka-go encodes a request without identity to the same bytes.
func TestRequestIsEncodedAsKafkaGoDoes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		b := &batch{topic: "topic", partition: 7, acks: -1, timeout: 1234, records: arbitrary(rnd)}
		f := form{version: batchVersion + int16(rnd.IntN(6)), identity: none}
		got := b.encoded(f)
		var records []protocol.Record
		for _, r := range b.records {
			from := protocol.Record{Time: r.time, Headers: r.headers}
			if r.key != nil {
				from.Key = protocol.NewBytes(r.key)
			}
			if r.value != nil {
				from.Value = protocol.NewBytes(r.value)
			}
			records = append(records, from)
		}
		var want bytes.Buffer
		if err := protocol.WriteRequest(&want, f.version, int32(binary.BigEndian.Uint32(got[8:])), clientID, &produceAPI.Request{Acks: -1, Timeout: 1234,
			Topics: []produceAPI.RequestTopic{{Topic: "topic", Partitions: []produceAPI.RequestPartition{{Partition: 7,
				RecordSet: protocol.RecordSet{Version: 2, Records: protocol.NewRecordReader(records...)}}}}}}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("%d records, version %d: %d bytes, and kafka-go has %d", len(records), f.version, len(got), want.Len())
		}
	}
}

func TestIdentityIsInTheBatch(t *testing.T) {
	b := &batch{topic: "t", acks: -1, records: arbitrary(rand.New(rand.NewPCG(3, 4)))}
	for codec := range protocol.Attributes(5) {
		want := Identity{1 << 40, 300, 1 << 20}
		frame := b.encoded(form{version: 8, codec: codec, identity: want})
		req := kmsg.NewPtrProduceRequest()
		req.SetVersion(8)
		if err := req.ReadFrom(frame[4+2+2+4+2+len(clientID):]); err != nil {
			t.Fatal(err)
		}
		var got kmsg.RecordBatch
		if err := got.ReadFrom(req.Topics[0].Partitions[0].Records); err != nil {
			t.Fatal(err)
		}
		if (Identity{got.ProducerID, got.ProducerEpoch, got.FirstSequence}) != want || got.NumRecords != int32(len(b.records)) || protocol.Attributes(got.Attributes) != codec {
			t.Errorf("%+v", got)
		}
	}
}

// What a connection may still read is not changed by the next attempt, whatever its form.
func TestRequestThatWasNotAnsweredIsNotChanged(t *testing.T) {
	b := newBatch("t", 0, -1)
	b.add(record{value: bytes.Repeat([]byte("x"), 1000)})
	first := b.encoded(form{version: 8, identity: Identity{1, 0, 0}})
	if same := b.encoded(form{version: 8, identity: Identity{1, 0, 0}}); &same[0] != &first[0] {
		t.Error("it was encoded twice")
	}
	had := bytes.Clone(first)
	b.answered(false)
	b.encoded(form{version: 8, identity: Identity{1, 1, 0}})
	b.encoded(form{version: 8, codec: protocol.Gzip, identity: Identity{1, 1, 0}})
	b.free()
	next := newBatch("t", 1, -1)
	next.add(record{value: bytes.Repeat([]byte("y"), 1000)})
	next.encoded(form{version: 8})
	if !bytes.Equal(first, had) {
		t.Error("it was changed")
	}
}

func TestSizesOfNumbers(t *testing.T) {
	for shift := range 64 {
		for _, n := range []int64{1 << shift, 1<<shift - 1, -(1 << shift), -(1 << shift) - 1, 0} {
			if got, want := varintSize(n), len(binary.AppendVarint(nil, n)); got != want {
				t.Errorf("%d has %d bytes, not %d", n, want, got)
			}
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	messages := make([]kafka.Message, 200)
	for i := range messages {
		messages[i] = kafka.Message{Topic: "t", Value: make([]byte, 1024), Time: time.Now()}
	}
	b.ReportAllocs()
	b.SetBytes(200 << 10)
	for b.Loop() {
		batch := batchOf(messages, 1)
		batch.encoded(form{version: 8, identity: none})
		batch.free()
	}
}

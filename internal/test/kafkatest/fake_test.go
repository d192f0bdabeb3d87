package kafkatest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/testcert"
)

// write sends records "k0"="v0" … to partition 0 in one batch by kafka-go.
func write(t *testing.T, addrs []string, topic string, n int, transport *kafka.Transport) error {
	t.Helper()
	if transport == nil {
		transport = &kafka.Transport{}
	}
	transport.ClientID = "writer"
	w := &kafka.Writer{
		Addr: kafka.TCP(addrs...), Topic: topic, Transport: transport,
		Balancer:     kafka.BalancerFunc(func(kafka.Message, ...int) int { return 0 }),
		RequiredAcks: kafka.RequireAll, BatchSize: n, BatchTimeout: time.Minute,
		WriteTimeout: 10 * time.Second, MaxAttempts: 3, WriteBackoffMin: time.Millisecond,
	}
	defer transport.CloseIdleConnections()
	defer w.Close()
	var messages []kafka.Message
	for i := range n {
		messages = append(messages, kafka.Message{
			Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i),
			Time:    time.UnixMilli(1700000000000 + int64(i)),
			Headers: []kafka.Header{{Key: "h", Value: []byte("w")}},
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return w.WriteMessages(ctx, messages...)
}

// checkWritten looks for what write has sent.
func checkWritten(t *testing.T, records []*kgo.Record, n int) {
	t.Helper()
	if len(records) != n {
		t.Fatalf("got %d records, want %d", len(records), n)
	}
	for i, r := range records {
		got := fmt.Sprintf("%d/%d %s=%s %d %s=%s", r.Partition, r.Offset, r.Key, r.Value, r.Timestamp.UnixMilli(), r.Headers[0].Key, r.Headers[0].Value)
		want := fmt.Sprintf("0/%d k%d=v%d %d h=w", i, i, i, 1700000000000+int64(i))
		if got != want {
			t.Errorf("record %d is %s, want %s", i, got, want)
		}
	}
}

func TestFakeGivesBackWhatWasWritten(t *testing.T) {
	f := StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(2, "orders"))
	if err := write(t, f.Addrs(), "orders", 5, nil); err != nil {
		t.Fatal(err)
	}
	checkWritten(t, f.Records(t, "orders", 5), 5)
	if got := f.Records(t, "orders", 0); len(got) != 5 {
		t.Errorf("with n = 0 there are %d records, want 5", len(got))
	}
}

func TestEmptyTopicHasNoRecords(t *testing.T) {
	f := StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(2, "orders"))
	if got := f.Records(t, "orders", 0); len(got) != 0 {
		t.Errorf("got %d records", len(got))
	}
}

func TestTooFewRecordsAreAnErrorThatCounts(t *testing.T) {
	f := StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	if err := write(t, f.Addrs(), "orders", 2, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := readTopics(ctx, f.Addrs(), []string{"orders"}, 3, nil)
	if err == nil || !strings.Contains(err.Error(), "2 of 3 records") {
		t.Errorf("got error %v, want one that says 2 of 3 records", err)
	}
}

func TestFakeNotesProduceRequestsAsTheyAreOnTheWire(t *testing.T) {
	f := StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(2, "orders"))
	before := time.Now()
	if err := write(t, f.Addrs(), "orders", 3, &kafka.Transport{}); err != nil {
		t.Fatal(err)
	}
	produces := f.Produces()
	if len(produces) != 1 || f.Requests(kmsg.Produce) != 1 {
		t.Fatalf("%d Produce requests noted, %d counted, want 1", len(produces), f.Requests(kmsg.Produce))
	}
	p := produces[0]
	if p.Acks != -1 || p.ClientID != "writer" || p.Version != 8 {
		t.Errorf("acks %d of client %s by version %d, want -1, writer and 8", p.Acks, p.ClientID, p.Version)
	}
	if p.Timeout < 4900*time.Millisecond || p.Timeout > 5*time.Second {
		t.Errorf("timeout %v, want the half of kafka-go's 10 s", p.Timeout)
	}
	if p.Broker != f.Addrs()[0] || p.Conn < 1 || p.Conn > f.Connections() {
		t.Errorf("sent to %s on connection %d of %d", p.Broker, p.Conn, f.Connections())
	}
	if p.At.Before(before) || p.At.After(time.Now()) {
		t.Errorf("it came at %v", p.At)
	}
	if len(p.Batches) != 1 {
		t.Fatalf("batches %+v", p.Batches)
	}
	b := p.Batches[0]
	if b.Topic != "orders" || b.Partition != 0 || b.Records != 3 || b.Codec != 0 || b.ProducerID != -1 {
		t.Errorf("batch %+v", b)
	}
	if b.Bytes <= 61 || b.Bytes >= p.Bytes {
		t.Errorf("a batch of %d bytes in a request of %d", b.Bytes, p.Bytes)
	}
}

func TestFakeDoesNotCountItsOwnRequests(t *testing.T) {
	f := StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	if err := write(t, f.Addrs(), "orders", 1, nil); err != nil {
		t.Fatal(err)
	}
	metadata, connections := f.Requests(kmsg.Metadata), f.Connections()
	f.Records(t, "orders", 1)
	if f.Requests(kmsg.Metadata) != metadata || f.Connections() != connections || f.Requests(kmsg.Fetch) != 0 {
		t.Errorf("after Records: %d metadata requests, %d connections, %d fetches; before %d, %d and 0",
			f.Requests(kmsg.Metadata), f.Connections(), f.Requests(kmsg.Fetch), metadata, connections)
	}
}

func TestFakeSeesWhatAFaultAnswers(t *testing.T) {
	f := StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	refused := 0
	f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		refused++
		return nil, fmt.Errorf("connection closed"), refused == 1
	})
	if err := write(t, f.Addrs(), "orders", 1, nil); err != nil {
		t.Fatal(err)
	}
	if got := f.Requests(kmsg.Produce); got != 2 {
		t.Errorf("%d Produce requests counted, want 2", got)
	}
}

func TestFakeNamesTopicsThatARequestHasByID(t *testing.T) {
	f := StartFake(t, kfake.NumBrokers(3), kfake.SeedTopics(1, "orders"))
	cl, err := kgo.NewClient(kgo.SeedBrokers(f.Addrs()...), kgo.DefaultProduceTopic("orders"), kgo.ProducerBatchCompression(kgo.GzipCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	value := bytes.Repeat([]byte("x"), 10000)
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: value}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	produces := f.Produces()
	if len(produces) != 1 || len(produces[0].Batches) != 1 {
		t.Fatalf("produces %+v", produces)
	}
	p, b := produces[0], produces[0].Batches[0]
	if p.Version < 13 || b.Topic != "orders" || b.Codec != 1 || b.ProducerID < 0 || b.Bytes > 1000 {
		t.Errorf("version %d, batch %+v; want 13 or up, orders, compressed by gzip, with a producer id", p.Version, b)
	}
}

func TestFakeByTLSIsObservedToo(t *testing.T) {
	ca := testcert.New("fake")
	f := StartFakeTLS(t, ca.ServerConfig("127.0.0.1"), kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	if err := write(t, f.Addrs(), "orders", 2, &kafka.Transport{TLS: &tls.Config{RootCAs: ca.Pool()}}); err != nil {
		t.Fatal(err)
	}
	checkWritten(t, f.Records(t, "orders", 2), 2)
	if got := f.Produces(); len(got) != 1 || got[0].Batches[0].Records != 2 {
		t.Errorf("produces %+v", got)
	}
}

func TestDroppedConnectionIsReplaced(t *testing.T) {
	f := StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	cl, err := kgo.NewClient(kgo.SeedBrokers(f.Addrs()...), kgo.DefaultProduceTopic("orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for range 2 {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		f.DropConnections()
	}
	produces := f.Produces()
	if len(produces) != 2 || produces[0].Conn == produces[1].Conn {
		t.Errorf("produces %+v, want two on different connections", produces)
	}
	f.Records(t, "orders", 2)
}

func TestFakeHoldsRequestsUntilTheyAreLetGo(t *testing.T) {
	f := StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	let := make(chan struct{})
	f.Hold(kmsg.Produce, func(gone <-chan struct{}) {
		select {
		case <-gone:
		case <-let:
		}
	})
	written := make(chan error, 1)
	go func() { written <- write(t, f.Addrs(), "orders", 3, nil) }()
	for deadline := time.Now().Add(20 * time.Second); f.Requests(kmsg.Produce) == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if n := len(f.Records(t, "orders", 0)); n != 0 || len(f.Produces()) != 1 {
		t.Errorf("%d records are there, of %d requests", n, len(f.Produces()))
	}
	close(let)
	if err := <-written; err != nil {
		t.Error(err)
	}
	checkWritten(t, f.Records(t, "orders", 3), 3)
}

func TestFakeThatHoldsRequestsCanBeClosed(t *testing.T) {
	f := StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	f.Hold(kmsg.Produce, func(gone <-chan struct{}) { <-gone })
	const writers = 3
	written := make(chan error, writers)
	for range writers {
		go func() { written <- write(t, f.Addrs(), "orders", 1, nil) }()
	}
	for deadline := time.Now().Add(20 * time.Second); f.Requests(kmsg.Produce) < writers && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	f.Close()
	for range writers {
		if <-written == nil {
			t.Error("a request was answered")
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	req := kmsg.NewPtrProduceRequest()
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "orders"
	partition := kmsg.NewProduceRequestTopicPartition()
	batch := kmsg.RecordBatch{Magic: 2, Length: 49}
	partition.Records = batch.AppendTo(nil)
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	for _, version := range []int16{3, 8, 9, 13} {
		req.SetVersion(version)
		f.Add(kmsg.NewRequestFormatter(kmsg.FormatterClientID("c")).AppendRequest(nil, req, 7)[4:])
	}
	f.Add([]byte{0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 4 && binary.BigEndian.Uint16(body) == 0 {
			// From version 9 up, kmsg counts to whatever number of tags a request
			// claims to have, as kfake does: what is of this package is seen below.
			binary.BigEndian.PutUint16(body[2:], binary.BigEndian.Uint16(body[2:])%9)
		}
		r, err := parseRequest(body)
		if err != nil || r.produce == nil {
			return
		}
		sum := 0
		for _, b := range r.produce.Batches {
			sum += b.Bytes
		}
		if sum > len(body) {
			t.Errorf("batches of %d bytes in a request of %d", sum, len(body))
		}
	})
}

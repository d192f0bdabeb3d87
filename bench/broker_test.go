//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func started(t *testing.T, args ...string) (b *brokerProcess, address string) {
	t.Helper()
	b, err := startBroker(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.stop)
	return b, net.JoinHostPort(b.Host, strconv.Itoa(b.Port))
}

// produceRecords sends n records as kafka-go does, with that acks.
func produceRecords(t *testing.T, address string, n int, acks kafka.RequiredAcks) {
	t.Helper()
	tr := new(kafka.Transport)
	defer tr.CloseIdleConnections()
	w := &kafka.Writer{Addr: kafka.TCP(address), Topic: "t0", BatchSize: 7, BatchTimeout: time.Millisecond, RequiredAcks: acks, Transport: tr}
	messages := make([]kafka.Message, n)
	for i := range messages {
		messages[i].Value = []byte("value " + strconv.Itoa(i))
	}
	if err := w.WriteMessages(t.Context(), messages...); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func wantRecords(t *testing.T, b *brokerProcess, want int64) {
	t.Helper()
	var c counted
	var err error
	if poll(10*time.Second, func() bool { c, err = b.counted(); return err != nil || c.Records >= want }) != nil || c.Records != want {
		t.Errorf("the broker counts %d records, want %d, %v", c.Records, want, err)
	}
}

func TestBrokerCountsRecords(t *testing.T) {
	b, address := started(t)
	produceRecords(t, address, 100, kafka.RequireAll)
	wantRecords(t, b, 100)
	produceRecords(t, address, 50, kafka.RequireNone)
	wantRecords(t, b, 150)
}

// Another client, which sends as an idempotent producer.
func TestBrokerCountsRecordsOfFranzGo(t *testing.T) {
	b, address := started(t)
	cl, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DefaultProduceTopic("t0"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for i := range 3 {
		if err := cl.ProduceSync(ctx, kgo.StringRecord("a"), kgo.StringRecord("b")).FirstErr(); err != nil {
			t.Fatal(i, err)
		}
	}
	wantRecords(t, b, 6)
}

func TestBrokerTakesItsTime(t *testing.T) {
	_, address := started(t, "-delay", "80ms")
	began := time.Now()
	produceRecords(t, address, 1, kafka.RequireOne)
	if took := time.Since(began); took < 80*time.Millisecond {
		t.Errorf("acknowledged after %v", took)
	}
}

func TestBrokerIsAwayUntilItComes(t *testing.T) {
	b, address := started(t, "-away")
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("a broker that is away takes connections")
	}
	if err := b.come(); err != nil {
		t.Fatal(err)
	}
	produceRecords(t, address, 5, kafka.RequireOne)
	wantRecords(t, b, 5)
}

func FuzzBrokerAnswer(f *testing.F) {
	for key, version := range versions {
		req := kmsg.RequestForKey(key.Int16())
		req.SetVersion(version)
		f.Add(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)[4:])
	}
	batch := make([]byte, 61)
	batch[16], batch[60] = 2, 3
	binary.BigEndian.PutUint32(batch[8:], 61-12)
	f.Add(batch)
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := recordsIn(b); err == nil && (n < 0 || len(b) == 0 && n != 0) {
			t.Errorf("%d records", n)
		}
		if len(b) >= 10 {
			_, _ = (&broker{topics: 1, partitions: 1}).answer(b)
		}
	})
}

package cluster

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/kafkatest"
)

// hasProducerID reports whether the batch of a produce request has an identity.
func hasProducerID(r kmsg.Request) bool {
	batch := r.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records
	return int64(binary.BigEndian.Uint64(batch[atProducer:])) >= 0
}

// Brokers before 4.0 refuse an identity where log.message.format.version is older than 0.11.
func TestTopicOfAnOlderFormatGetsItsRecordsWithoutIdentity(t *testing.T) {
	for _, codec := range []string{"none", "gzip"} {
		t.Run(codec, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t", "u"))
			f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: kerr.UnsupportedForMessageFormat, Count: -1, When: hasProducerID})
			c := newTestCluster(t, f.Addrs(), func(o *Options) { idempotent(o); o.Compression, o.Topics = codec, []string{"t", "u"} })
			produce(t, c, "a")
			produce(t, c, "b")
			wantTopic(t, f, "ab")
			wantInexact(t, c, 2, 0, 0)
			other := messages("c")
			other[0].Topic = "u"
			if err := c.Produce(t.Context(), other); err != nil {
				t.Fatal(err)
			}
			if all := sentAs(f); all[len(all)-1] == none {
				t.Error("so do others")
			}
		})
	}
}

// What may be in the log as one batch is not sent as another one, as the second part of a batch that
// was split.
func TestNothingIsSentAfterTheEnd(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	for range 100 {
		c := newTestCluster(t, f.Addrs(), func(o *Options) { idempotent(o); o.Backoff = time.Hour; o.MinPause = time.Hour })
		produce(t, c, "a")
		before := len(f.Produces())
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 1})
		ended := make(chan error, 2)
		go func() {
			for _, part := range []string{"b", "c"} {
				ended <- c.Produce(c.Context(), messages(part))
			}
		}()
		eventually(t, "the batch waits for its next attempt", func() bool { return c.watch().attempts.Load() == 2 })
		c.Close(errOver)
		for range 2 {
			if err := <-ended; !errors.Is(err, errOver) {
				t.Error(err)
			}
		}
		if n := len(f.Produces()) - before; n != 1 {
			t.Fatalf("%d requests, sent as %s", n, shape(sentAs(f)[before:]))
		}
	}
}

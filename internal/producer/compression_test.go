package producer

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/kafkatest"
)

// codecsOf returns the codec of each produce request, 0 for none.
func codecsOf(f *kafkatest.Fake) (all []int8) {
	for _, p := range f.Produces() {
		all = append(all, p.Batches[0].Codec)
	}
	return all
}

func TestCompressionIsCountedByCodec(t *testing.T) {
	for codec := range Codec(Codecs) {
		f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
		p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Compression = codec.String() })
		send(t, p, strings.Repeat("x", 10_000))
		settled(t, p)
		sent := f.Produces()[0].Batches[0]
		want := CompressionStats{Configured: true, Batches: 1, Before: 10_000, After: int64(sent.Bytes)}
		if got := topicOf(p).ledger.Compression; got[codec] != want || sent.Codec != int8(codec)+1 || sent.Bytes > 1000 {
			t.Errorf("%v: %+v, on the wire %+v", codec, got, sent)
		}
		for other, s := range topicOf(p).ledger.Compression {
			if Codec(other) != codec && s != (CompressionStats{}) {
				t.Errorf("%v: %+v", Codec(other), s)
			}
		}
	}
}

// Each part of a batch is compressed like the whole.
func TestBatchThatIsTooLargeIsSplitWithItsCodec(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.MessageTooLarge, Count: 1})
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Compression, o.BatchRecords, o.Linger = "zstd", 4, 1<<40 })
	for range 4 {
		send(t, p, strings.Repeat("x", 100))
	}
	if s := settled(t, p); s.Delivered != 4 {
		t.Errorf("%+v", s)
	}
	if got := codecsOf(f); !slices.Equal(got, []int8{4, 4, 4}) {
		t.Errorf("the codecs are %v", got)
	}
	f.Records(t, "t", 4)
}

func TestCodecThatABrokerDoesNotTakeIsWarnedOfOnce(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(3, "t"))
	f.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		batch := r.(*kmsg.ProduceRequest).Topics[0].Partitions[0]
		if batch.Records[22]&7 == 0 { // the second byte of the attributes
			return nil, nil, false
		}
		response := r.ResponseKind().(*kmsg.ProduceResponse)
		response.Topics = []kmsg.ProduceResponseTopic{{Topic: "t", Partitions: []kmsg.ProduceResponseTopicPartition{
			{Partition: batch.Partition, ErrorCode: kerr.UnsupportedCompressionType.Code},
		}}}
		return response, nil, true
	})
	var log lockedBuffer
	p := newTestProducer(t, f.Addrs(), func(o *Options) { o.Compression, o.BatchRecords, o.MaxAttempts = "snappy", 1, 1 })
	p.logger = slog.New(slog.NewTextHandler(&log, nil))
	for i := range 10 {
		send(t, p, fmt.Sprint(i))
	}
	if s := settled(t, p); s.Delivered != 10 {
		t.Errorf("%+v", s)
	}
	if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "batches are sent uncompressed") || !strings.Contains(text, "compression_type=snappy") {
		t.Errorf("the log reads\n%s", text)
	}
	if s := topicOf(p).ledger.Compression[Snappy]; s.Uncompressed != 10 || s.Batches != 0 {
		t.Errorf("%+v", s)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestOptionsThatMeanTheSameHaveTheSameKey(t *testing.T) {
	key := testOptions(nil, nil).Key()
	for name, row := range map[string]struct {
		set  func(*Options)
		same bool
	}{
		"none":               {func(o *Options) { o.Compression = "none" }, true},
		"gzip":               {func(o *Options) { o.Compression = "gzip" }, false},
		"gating that is off": {func(o *Options) { o.HealthGating = HealthGating{ProbeInterval: 5000, Recoveries: 1} }, true},
		"gating":             {func(o *Options) { o.HealthGating.Failures = 3 }, false},
	} {
		if got := testOptions(nil, row.set).Key() == key; got != row.same {
			t.Errorf("%s: the keys are the same: %v", name, got)
		}
	}
	sync := func(failures int) Key {
		return testOptions(nil, func(o *Options) { o.Async, o.HealthGating.Failures = false, failures }).Key()
	}
	if sync(0) != sync(3) {
		t.Error("gating counts without Async")
	}
}

package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"kafka-upstream/internal/test/kafkatest"
)

var allCodecs = []string{"gzip", "snappy", "lz4", "zstd"}

// codecsOnWire returns the codec of each produce request so far.
func codecsOnWire(f *kafkatest.Fake) (all []string) {
	for _, p := range f.Produces() {
		all = append(all, append([]string{"none"}, allCodecs...)[p.Batches[0].Codec])
	}
	return all
}

func wantCodecs(t *testing.T, f *kafkatest.Fake, want ...string) {
	t.Helper()
	if got := codecsOnWire(f); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("produce requests had the codecs %v, want %v", got, want)
	}
}

func TestCompressedRecordsArriveAsTheyAre(t *testing.T) {
	for _, codec := range append(allCodecs, "none", "") {
		t.Run(codec, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
			c := newTestCluster(t, f.Addrs(), func(o *Options) { o.Compression = codec })
			if err := c.Await(t.Context(), "t"); err != nil {
				t.Fatal(err)
			}
			at := time.UnixMilli(1_700_000_000_000)
			sent := []kafka.Message{
				{Topic: "t", Key: []byte("k"), Value: bytes.Repeat([]byte("value "), 20_000), Time: at,
					Headers: []kafka.Header{{Key: "h", Value: []byte("1")}, {Key: "h", Value: []byte{}}, {Key: "", Value: []byte("x")}}},
				{Topic: "t", Value: nil, Time: at.Add(time.Second)},
				{Topic: "t", Key: []byte{}, Value: []byte{}, Time: at.Add(-time.Second)},
			}
			if err := c.Produce(t.Context(), sent); err != nil {
				t.Fatal(err)
			}
			for i, got := range f.Records(t, "t", len(sent)) {
				want := sent[i]
				if !bytes.Equal(got.Key, want.Key) || (got.Key == nil) != (want.Key == nil) || !bytes.Equal(got.Value, want.Value) || !got.Timestamp.Equal(want.Time) {
					t.Errorf("record %d: key %q, %d bytes of value, time %v", i, got.Key, len(got.Value), got.Timestamp)
				}
				if len(got.Headers) != len(want.Headers) {
					t.Fatalf("record %d: headers %v", i, got.Headers)
				}
				for j, h := range want.Headers {
					if got.Headers[j].Key != h.Key || !bytes.Equal(got.Headers[j].Value, h.Value) {
						t.Errorf("record %d: header %d is %v, want %v", i, j, got.Headers[j], h)
					}
				}
			}
			w := c.watch()
			if codec == "none" || codec == "" {
				wantCodecs(t, f, "none")
				if w.bytes.Load() != 0 || w.compressed.Load() != 0 {
					t.Errorf("%d bytes were counted, %d compressed", w.bytes.Load(), w.compressed.Load())
				}
				return
			}
			wantCodecs(t, f, codec)
			onWire := int64(f.Produces()[0].Batches[0].Bytes)
			if got := w.compressed.Load(); got != onWire || got > 20_000 {
				t.Errorf("%d bytes after compression were counted, %d are on the wire", got, onWire)
			}
			if got := w.bytes.Load(); got != 120_001+4 {
				t.Errorf("%d bytes before compression", got)
			}
		})
	}
}

// Java's SnappyInputStream reads its own framing only.
func TestSnappyIsFramedAsJavaReadsIt(t *testing.T) {
	b := &batch{records: []record{{value: bytes.Repeat([]byte("x"), 100_000)}}}
	frame := b.encoded(form{version: 8, codec: protocol.Snappy, identity: none})
	batch := frame[len(frame)-b.compressedBytes():]
	if head := batch[batchHeader:][:16]; string(head) != "\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01" {
		t.Errorf("it begins with %x", head)
	}
}

func TestEveryAttemptHasTheSameCodec(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), func(o *Options) { o.Compression, o.Backoff = "lz4", time.Millisecond })
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: 2})
	produce(t, c, "a", "b")
	wantCodecs(t, f, "lz4", "lz4", "lz4")
	if err := c.Produce(t.Context(), messages("c")); err != nil { // a part of a batch that was rejected
		t.Fatal(err)
	}
	wantCodecs(t, f, "lz4", "lz4", "lz4", "lz4")
	if got := values(t, f, 3); got != "abc" {
		t.Errorf("the topic has %s", got)
	}
}

func values(t *testing.T, f *kafkatest.Fake, n int) string {
	var all strings.Builder
	for _, r := range f.Records(t, "t", n) {
		all.Write(r.Value)
	}
	return all.String()
}

func TestCodecThatABrokerDoesNotTakeIsLeftOut(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.UnsupportedCompressionType, kerr.UnsupportedForMessageFormat} {
		f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
		c := newTestCluster(t, f.Addrs(), func(o *Options) { o.Compression, o.MaxAttempts = "gzip", 1 })
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: code, Count: 1})
		produce(t, c, "a")
		produce(t, c, "b")
		wantCodecs(t, f, "gzip", "none", "none")
		w := c.watch()
		if got := values(t, f, 2); got != "ab" || w.attempts.Load() != 2 || w.compressionFailed.Load() != 1 || w.uncompressed.Load() != 2 {
			t.Errorf("%v: the topic has %s after %d attempts, %d warnings, %d batches uncompressed", code,
				got, w.attempts.Load(), w.compressionFailed.Load(), w.uncompressed.Load())
		}
	}
}

// Random bytes become larger. The broker takes what fits it uncompressed.
func TestBatchThatCompressionMakesTooLargeIsSentAsItIs(t *testing.T) {
	value := make([]byte, 100_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(value)
	for _, codec := range allCodecs {
		f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
		limit := len(value) + 80
		f.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
			f.KeepControl()
			topic := r.(*kmsg.ProduceRequest).Topics[0]
			if len(topic.Partitions[0].Records) <= limit {
				return nil, nil, false
			}
			response := r.ResponseKind().(*kmsg.ProduceResponse)
			response.Topics = []kmsg.ProduceResponseTopic{{Topic: topic.Topic, TopicID: topic.TopicID, Partitions: []kmsg.ProduceResponseTopicPartition{{ErrorCode: kerr.MessageTooLarge.Code}}}}
			return response, nil, true
		})
		c := newTestCluster(t, f.Addrs(), func(o *Options) { o.Compression, o.MaxAttempts = codec, 1 })
		produce(t, c, string(value))
		produce(t, c, "small")
		if got := codecsOnWire(f); len(got) < 2 || got[len(got)-1] != codec || got[len(got)-2] != "none" {
			t.Errorf("produce requests had the codecs %v", got)
		}
		if got := values(t, f, 2); got != string(value)+"small" {
			t.Errorf("the topic has %d bytes", len(got))
		}
		large := string(value) + strings.Repeat("x", 100_000)
		if err := c.Produce(t.Context(), messages(large)); !errors.Is(err, kafka.MessageSizeTooLarge) {
			t.Errorf("a record that is too large, compressed or not: %v", err)
		}
	}
}

func TestCodecIsTriedAgainLater(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), func(o *Options) { o.Compression, o.MaxAttempts = "gzip", 1 })
	later := func() {
		past := time.Now().Add(-time.Second)
		c.use("t").uncompressed.Store(&past)
	}
	for _, row := range []struct {
		refused  bool
		warnings int32
	}{{true, 1}, {true, 1}, {false, 1}, {true, 2}} {
		if row.refused {
			f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.UnsupportedCompressionType, Count: 1})
		}
		produce(t, c, "x")
		if n := c.watch().compressionFailed.Load(); n != row.warnings {
			t.Errorf("%d warnings, want %d", n, row.warnings)
		}
		later()
	}
	wantCodecs(t, f, "gzip", "none", "gzip", "none", "gzip", "gzip", "none")
}

// Kafka before 2.1 closes the connection when it reads zstd, before 0.11 at a batch of format 2.
func TestCodecIsNotSentToBrokersThatAreTooOldForIt(t *testing.T) {
	for _, row := range []struct{ codec, sent string }{{"zstd", "none"}, {"lz4", "lz4"}} {
		f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"), kfake.MaxVersions(kversion.V2_0_0()))
		c := newTestCluster(t, f.Addrs(), func(o *Options) { o.Compression, o.MaxAttempts = row.codec, 1 })
		produce(t, c, "a")
		produce(t, c, "b")
		wantCodecs(t, f, row.sent, row.sent)
		if got := values(t, f, 2); got != "ab" {
			t.Errorf("%s: the topic has %s", row.codec, got)
		}
	}
	for _, row := range []struct {
		version int16
		codec   protocol.Attributes
		want    error
	}{{2, 0, kafka.UnsupportedVersion}, {2, protocol.Lz4, kafka.UnsupportedVersion}, {3, protocol.Lz4, nil}, {6, protocol.Zstd, kafka.UnsupportedCompressionType}, {7, protocol.Zstd, nil}} {
		b := &batch{codec: row.codec, identity: none, records: []record{{value: []byte("a")}}}
		r := b.request()
		r.Required(map[protocol.ApiKey]int16{protocol.Produce: row.version})
		var sent bytes.Buffer
		_, err := r.RawExchange(struct {
			io.Reader
			io.Writer
		}{new(bytes.Buffer), &sent})
		if row.want != nil && (!errors.Is(err, row.want) || sent.Len() > 0) || row.want == nil && sent.Len() == 0 {
			t.Errorf("version %d, codec %d: %v, and %d bytes were sent", row.version, row.codec, err, sent.Len())
		}
	}
}

// brokenCodec fails to compress.
type brokenCodec struct{ compress.Codec }

var errCodec = errors.New("the codec is broken")

type brokenWriter struct{}

func (brokenWriter) Write(p []byte) (int, error)            { return 0, errCodec }
func (brokenWriter) Close() error                           { return errCodec }
func (brokenCodec) NewWriter(io.Writer) (w io.WriteCloser)  { return brokenWriter{} }
func (brokenCodec) NewReader(r io.Reader) (_ io.ReadCloser) { return io.NopCloser(r) }

func TestBatchThatCannotBeCompressedIsSentAsItIs(t *testing.T) {
	whole := compress.Codecs[compress.Gzip]
	compress.Codecs[compress.Gzip] = brokenCodec{whole}
	t.Cleanup(func() { compress.Codecs[compress.Gzip] = whole })
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), func(o *Options) { o.Compression, o.MaxAttempts = "gzip", 1 })
	produce(t, c, "a", "b")
	wantCodecs(t, f, "none")
	if got, w := values(t, f, 2), c.watch(); got != "ab" || w.compressionFailed.Load() != 1 {
		t.Errorf("the topic has %s, %d warnings", got, w.compressionFailed.Load())
	}
}

// A batch is reused once its request was answered, and with it the memory for its bytes.
func TestBatchesThatAreReusedHaveTheirOwnRecords(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := newTestCluster(t, f.Addrs(), func(o *Options) { o.Compression = "snappy" })
	var want strings.Builder
	for i := range 50 {
		value := strings.Repeat(fmt.Sprint(i, ","), 50-i)
		want.WriteString(value)
		produce(t, c, value)
	}
	if got := values(t, f, 50); got != want.String() {
		t.Errorf("the topic has %s", got)
	}
}

// countingCodec counts those that compress at the same time.
type countingCodec struct {
	compress.Codec
	now, most atomic.Int32
}

type countingWriter struct {
	io.WriteCloser
	codec *countingCodec
}

func (c *countingCodec) NewWriter(w io.Writer) io.WriteCloser {
	c.most.Store(max(c.now.Add(1), c.most.Load()))
	return countingWriter{c.Codec.NewWriter(w), c}
}

func (w countingWriter) Close() error {
	for range 100 { // lets others begin
		runtime.Gosched()
	}
	w.codec.now.Add(-1)
	return w.WriteCloser.Close()
}

// A compressor may take 17 MiB: the batches of many topics are not compressed all at once.
func TestFewBatchesAreCompressedAtATime(t *testing.T) {
	whole := compress.Codecs[compress.Zstd]
	counting := &countingCodec{Codec: whole}
	compress.Codecs[compress.Zstd] = counting
	t.Cleanup(func() { compress.Codecs[compress.Zstd] = whole })
	c := newTestCluster(t, []string{"127.0.0.1:1"}, func(o *Options) { o.Compression = "zstd" })
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			b := &batch{records: []record{{value: bytes.Repeat([]byte("x"), 10_000)}}}
			if b.encoded(form{version: 8, codec: c.codecOf(c.use("t"))}); b.compressedBytes() == 0 {
				t.Error("not compressed")
			}
		})
	}
	all.Wait()
	if n, most := counting.most.Load(), int32(runtime.GOMAXPROCS(0)); n > most {
		t.Errorf("%d at a time, with %d processors", n, most)
	}
}

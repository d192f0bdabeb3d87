package producer

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/producer/cluster"
	"kafka-upstream/internal/test/kafkatest"
)

func idempotent(o *Options) { o.Acks, o.Idempotent = -1, true }

func TestFaultAcknowledgementLostDoublesNothingIfIdempotent(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 5})
	p := newTestProducer(t, f.Addrs(), idempotent)
	l := startLoad(t, p)
	time.Sleep(300 * time.Millisecond)
	if lost, doubled := l.end(f); lost > 0 || doubled > 0 {
		t.Errorf("%d lost, %d doubled: want none", lost, doubled)
	}
}

const mayhemTimeout = 100 * time.Millisecond

// mayhem does a fault at random to the cluster, with each of which a broker tells the truth.
func mayhem(rnd *rand.Rand, f *kafkatest.Fake) {
	times := 1 + rnd.IntN(4)
	produce := func(err *kerr.Error) { f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: err, Count: times}) }
	switch rnd.IntN(12) {
	case 0, 1:
		produce(kerr.RequestTimedOut) // it was written
	case 2:
		produce(kerr.NotEnoughReplicasAfterAppend)
	case 3:
		produce([]*kerr.Error{kerr.NotLeaderForPartition, kerr.NetworkException, kerr.NotEnoughReplicas, kerr.KafkaStorageError}[rnd.IntN(4)])
	case 4, 5:
		f.CutAnswers(times)
	case 6:
		f.DropConnections()
	case 7:
		f.ShufflePartitionLeaders()
	case 8:
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.CoordinatorLoadInProgress, Count: times})
	case 9:
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.UnsupportedCompressionType, When: func(r kmsg.Request) bool {
			const attributes = 22
			return r.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records[attributes]&7 != 0
		}})
	case 10, 11: // requests come late: their answers are not waited for any more, and others were sent since
		var held atomic.Int32
		late := mayhemTimeout + time.Duration(rnd.IntN(400))*time.Millisecond
		f.Hold(kmsg.Produce, func(gone <-chan struct{}) {
			if held.Add(1) > int32(times) {
				return
			}
			select {
			case <-gone:
			case <-time.After(late):
			}
		})
	}
}

// lie has a broker refuse an identity that it could take, as after it has lost its state.
func lie(rnd *rand.Rand, f *kafkatest.Fake) {
	codes := []*kerr.Error{kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.ClusterAuthorizationFailed}
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: codes[rnd.IntN(len(codes))], Count: 1 + rnd.IntN(4), When: func(r kmsg.Request) bool {
		const producer = 43
		return r.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records[producer] < 0x80 // not -1
	}})
}

// The faults, the records and their times are chosen by a seed; whatever they are, each record is in
// the topic once, and each partition has the order in which they were sent. Some batches are too
// large for their topic, and are split; some have records that brokers refuse. Where brokers refuse identities that they could take, records
// may be there twice, but none is lost.
func TestEachRecordIsWrittenOnceAndInOrderUnderFaultsByChance(t *testing.T) {
	const records, values = 1500, 40
	for i := range 8 {
		seed, lies := rand.Uint64(), i%4 == 3
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 0))
			codec, opts := []string{"", "", "gzip", "lz4"}[rnd.IntN(4)], []kfake.Opt{kfake.NumBrokers(2), kfake.SeedTopics(3, "t")}
			if codec == "" { // a batch that was written compressed may be too large once its codec is refused
				opts = append(opts, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "700"}))
			}
			f := kafkatest.StartFake(t, opts...)
			p := newTestProducer(t, f.Addrs(), func(o *Options) {
				idempotent(o)
				o.BatchRecords, o.MaxAttempts, o.Backoff, o.Timeout = 1+rnd.IntN(30), 1000, time.Millisecond, mayhemTimeout
				o.Linger = time.Duration(rnd.IntN(3)) * time.Millisecond
				o.Compression = codec
			})
			bad := 0
			if codec == "" {
				refuseRecords(t, f, kerr.InvalidTimestamp, func(bad []bool) (named []int) {
					for i := range bad {
						if bad[i] {
							named = append(named, i)
						}
					}
					return named
				})
			}
			for i := range records {
				if rnd.IntN(40) == 0 {
					mayhem(rnd, f)
				}
				if lies && rnd.IntN(100) == 0 {
					lie(rnd, f)
				}
				if rnd.IntN(20) == 0 {
					time.Sleep(time.Duration(rnd.IntN(4)) * time.Millisecond)
				}
				r := record(fmt.Sprintf("%d%s", i, strings.Repeat(" ", rnd.IntN(values))))
				if rnd.IntN(2) == 0 {
					r.Key = fmt.Append(nil, rnd.IntN(5))
				}
				if codec == "" && rnd.IntN(50) == 0 {
					r.Value = []byte(badValue)
					bad++
				}
				if err := p.Send(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			s := settled(t, p)
			if s.Delivered != int64(records-bad) || s.Failed != int64(bad) {
				t.Errorf("%+v", s)
			}
			seen := make(map[int]int)
			last := make(map[string]int) // by partition, and whether it has a key
			for _, r := range f.Records(t, "t", int(s.Delivered)) {
				i, err := strconv.Atoi(strings.TrimRight(string(r.Value), " "))
				if err != nil {
					t.Fatal(err)
				}
				if seen[i]++; seen[i] > 1 {
					if !lies {
						t.Errorf("record %d is there %d times", i, seen[i])
					}
					continue
				}
				of := fmt.Sprint(r.Partition, r.Key == nil)
				if before, ok := last[of]; ok && before >= i {
					t.Errorf("partition %d has record %d after %d", r.Partition, i, before)
				}
				last[of] = i
			}
			if len(seen) != records-bad {
				t.Errorf("%d records are lost", records-bad-len(seen))
			}
			n := topicOf(p).ledger.Idempotence.Inexact
			if codec == "" { // what was split may have been written before, for all that is known
				n[cluster.UnknownOutcome] = 0
			}
			if !lies && n != [cluster.Inexactnesses]int64{} {
				t.Errorf("inexact: %v", n)
			}
		})
	}
}

func TestBatchThatMayBeThereTwiceIsCountedAndLoggedOnce(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { idempotent(o); o.MaxAttempts = 1 })
	var log lockedBuffer
	p.logger = slog.New(slog.NewTextHandler(&log, nil))
	for range 3 {
		f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut})
		send(t, p, "x")
		settled(t, p)
	}
	if n := topicOf(p).ledger.Idempotence.Inexact[cluster.UnknownOutcome]; n != 3 {
		t.Errorf("%d were counted", n)
	}
	if n := strings.Count(log.String(), "a batch was given up without an answer"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}

// Brokers that have a batch already may not say where.
func TestOffsetsOfADuplicateAreNotKnown(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	p := newTestProducer(t, f.Addrs(), func(o *Options) { idempotent(o); o.Async = false })
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut})
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.DuplicateSequenceNumber})
	var results [3]Result
	if err := p.SendAll(t.Context(), []Record{record("a"), record("b"), record("c")}, results[:]); err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r != (Result{Offset: -1}) {
			t.Errorf("record %d: %+v", i, r)
		}
	}
	if n := topicOf(p).ledger.Idempotence.Duplicates; n == 0 {
		t.Error("no duplicate")
	}
}

package kafkatest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// clientID is how this package's own requests name themselves.
const clientID = "kafkatest"

// readDeadline is the longest that records are waited for.
const readDeadline = 60 * time.Second

// CreateTopic creates a topic and returns its name when every running broker
// knows the leaders of its partitions.
func (c *Cluster) CreateTopic(t testing.TB, name string, partitions, replicas int, configs map[string]string) string {
	t.Helper()
	c.CreateTopics(t, []string{name}, partitions, replicas, configs)
	return name
}

// CreateTopics is CreateTopic for several topics, by one request: the brokers are waited for
// once.
func (c *Cluster) CreateTopics(t testing.TB, names []string, partitions, replicas int, configs map[string]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startDeadline)
	defer cancel()
	values := make(map[string]*string)
	for k, v := range configs {
		values[k] = &v
	}
	created, err := c.admin(t).CreateTopics(ctx, int32(partitions), int16(replicas), values, names...)
	if err == nil {
		err = created.Error()
	}
	if err != nil {
		t.Fatalf("creating the topics %s: %v", strings.Join(names, ", "), err)
	}
	if err := c.waitInSync(ctx, names...); err != nil {
		t.Fatalf("waiting for the leaders of the topics %s: %v", strings.Join(names, ", "), err)
	}
}

// admin is a client of the PLAINTEXT listener, closed at the end of t.
func (c *Cluster) admin(t testing.TB) *kadm.Client {
	t.Helper()
	cl, err := newClient(c.Addrs(Plaintext))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

// Records waits until the topic holds n records, and returns all that it holds
// then, ordered by partition and offset: a record that was stored twice is there
// twice. It fails t where fewer than n are there after 60 s. With n = 0 it
// returns what there is.
func (c *Cluster) Records(t testing.TB, topic string, n int) []*kgo.Record {
	t.Helper()
	return c.RecordsOf(t, []string{topic}, n)
}

// RecordsOf is Records for several topics, which hold n records together. They are ordered by
// topic first.
func (c *Cluster) RecordsOf(t testing.TB, topics []string, n int) []*kgo.Record {
	t.Helper()
	return records(t, c.Addrs(Plaintext), topics, n)
}

func records(t testing.TB, addrs []string, topics []string, n int, opts ...kgo.Opt) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readDeadline)
	defer cancel()
	read, err := readTopics(ctx, addrs, topics, n, opts)
	if err != nil {
		t.Fatalf("reading the topics %s: %v", strings.Join(topics, ", "), err)
	}
	return read
}

// partition is one of a topic.
type partition struct {
	topic string
	id    int32
}

func readTopics(ctx context.Context, addrs []string, topics []string, n int, opts []kgo.Opt) ([]*kgo.Record, error) {
	cl, err := newClient(addrs, opts...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	starts, ends, err := waitOffsets(ctx, kadm.NewClient(cl), topics, n)
	if err != nil {
		return nil, err
	}
	consume := make(map[string]map[int32]kgo.Offset)
	left := make(map[partition]bool) // whose end is still to be reached
	for p, end := range ends {
		if end > starts[p] {
			if consume[p.topic] == nil {
				consume[p.topic] = make(map[int32]kgo.Offset)
			}
			consume[p.topic][p.id] = kgo.NewOffset().At(starts[p])
			left[p] = true
		}
	}
	if len(left) == 0 {
		return nil, nil
	}
	// Control records are asked for only to see the end of a partition.
	cl, err = newClient(addrs, append(slices.Clone(opts), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumePartitions(consume))...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var read []*kgo.Record
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, fmt.Errorf("%d records read, and not yet the ends of the partitions %v: %w", len(read), left, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			p := partition{r.Topic, r.Partition}
			if r.Offset >= ends[p] {
				return
			}
			if r.Offset == ends[p]-1 {
				delete(left, p)
			}
			if !r.Attrs.IsControl() {
				read = append(read, r)
			}
		})
	}
	slices.SortFunc(read, func(a, b *kgo.Record) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return read, nil
}

// waitOffsets returns the start and end offsets of the topics when there are n records
// between them.
func waitOffsets(ctx context.Context, adm *kadm.Client, topics []string, n int) (starts, ends map[partition]int64, err error) {
	for {
		var have int64
		starts, err = listed(adm.ListStartOffsets(ctx, topics...))
		if err == nil {
			ends, err = listed(adm.ListEndOffsets(ctx, topics...))
			for p := range ends {
				have += ends[p] - starts[p]
			}
		}
		if err == nil && have >= int64(n) {
			return starts, ends, nil
		}
		if !pause(ctx) {
			return nil, nil, fmt.Errorf("%d of %d records are there after %v (last error: %v)", have, n, readDeadline, err)
		}
	}
}

// listed turns kadm's offsets into plain ones, and any partition's error into
// one.
func listed(offsets kadm.ListedOffsets, err error) (map[partition]int64, error) {
	if err == nil {
		err = offsets.Error()
	}
	if err != nil {
		return nil, err
	}
	plain := make(map[partition]int64)
	offsets.Each(func(o kadm.ListedOffset) { plain[partition{o.Topic, o.Partition}] = o.Offset })
	return plain, nil
}

package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// waitReady returns when each running broker's metadata shows a controller and
// those that were started. It gives up at once where one of these has ended.
func (c *Cluster) waitReady(ctx context.Context, started ...*broker) error {
	return c.eachBroker(ctx, nil, func(m *kmsg.MetadataResponse, err error) (bool, error) {
		for _, b := range started {
			if !b.running() {
				return true, b.endError()
			}
		}
		if err != nil {
			return false, err
		}
		var known []int32
		for _, b := range m.Brokers {
			known = append(known, b.NodeID)
		}
		for _, b := range started {
			if !slices.Contains(known, int32(b.id)) {
				return false, fmt.Errorf("it knows the brokers %v, not %d", known, b.id)
			}
		}
		if m.ControllerID < 0 {
			return false, errors.New("it knows no controller")
		}
		return true, nil
	})
}

// WaitInSync returns when every partition of the topics has a leader and all
// its replicas are in sync, as each running broker sees it; it fails t where
// that takes more than 60 s.
func (c *Cluster) WaitInSync(t testing.TB, topics ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startDeadline)
	defer cancel()
	if err := c.waitInSync(ctx, topics...); err != nil {
		t.Fatalf("the replicas of %v are not in sync: %v", topics, err)
	}
}

func (c *Cluster) waitInSync(ctx context.Context, topics ...string) error {
	return c.eachBroker(ctx, topics, func(m *kmsg.MetadataResponse, err error) (bool, error) {
		if err != nil {
			return false, err
		}
		for _, topic := range m.Topics {
			if err := kerr.ErrorForCode(topic.ErrorCode); err != nil {
				return false, err
			}
			for _, p := range topic.Partitions {
				if p.Leader < 0 || len(p.ISR) < len(p.Replicas) {
					return false, fmt.Errorf("partition %d has leader %d and of its replicas %v only %v in sync", p.Partition, p.Leader, p.Replicas, p.ISR)
				}
			}
		}
		return true, nil
	})
}

// eachBroker asks one broker after the other for its metadata until check is
// done with it; a broker that has ended is passed over. The error is check's,
// at the end of ctx its last.
func (c *Cluster) eachBroker(ctx context.Context, topics []string, check func(*kmsg.MetadataResponse, error) (done bool, err error)) error {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, topic := range topics {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = kmsg.StringPtr(topic)
		req.Topics = append(req.Topics, rt)
	}
	for _, b := range c.brokers {
		if err := b.askUntil(ctx, req, check); err != nil {
			return fmt.Errorf("broker %d: %w", b.id, err)
		}
	}
	return nil
}

func (b *broker) askUntil(ctx context.Context, req *kmsg.MetadataRequest, check func(*kmsg.MetadataResponse, error) (bool, error)) error {
	// A client of this broker alone, for the answer has to be its own.
	cl, err := newClient([]string{b.addrs[Plaintext]})
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		res, err := cl.SeedBrokers()[0].Request(ctx, req)
		m, _ := res.(*kmsg.MetadataResponse)
		done, err := check(m, err)
		if done {
			return err
		}
		if !b.running() {
			return nil
		}
		if !pause(ctx) {
			return err
		}
	}
}

// endError says why a broker that was to run has ended.
func (b *broker) endError() error {
	b.mu.Lock()
	p, from := b.proc, b.logFrom
	b.mu.Unlock()
	log, _ := os.ReadFile(b.logPath())
	log = log[min(from, int64(len(log))):]
	if bytes.Contains(log, []byte("Address already in use")) || bytes.Contains(log, []byte("java.net.BindException")) {
		return errPortTaken
	}
	return fmt.Errorf("broker %d has ended: %v", b.id, p.Err())
}

func (b *broker) logPath() string { return filepath.Join(b.dir, "broker.log") }

func (b *broker) openLog() (*os.File, error) {
	return os.OpenFile(b.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// tails is what the brokers logged last. from, where not nil, holds by broker
// where in its log to begin.
func (c *Cluster) tails(from []int64) string {
	const most = 40
	var out strings.Builder
	for i, b := range c.brokers {
		log, _ := os.ReadFile(b.logPath())
		if from != nil {
			log = log[min(from[i], int64(len(log))):]
		}
		lines := strings.Split(strings.TrimSpace(string(log)), "\n")
		if len(log) == 0 {
			continue
		}
		lines = lines[max(0, len(lines)-most):]
		fmt.Fprintf(&out, "\nthe end of broker %d's log:\n\t%s", b.id, strings.Join(lines, "\n\t"))
	}
	return out.String()
}

// logEnds are the present ends of the brokers' logs.
func (c *Cluster) logEnds() []int64 {
	var ends []int64
	for _, b := range c.brokers {
		var end int64
		if info, err := os.Stat(b.logPath()); err == nil {
			end = info.Size()
		}
		ends = append(ends, end)
	}
	return ends
}

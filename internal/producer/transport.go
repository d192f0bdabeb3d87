package producer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	metadataAPI "github.com/segmentio/kafka-go/protocol/metadata"
	produceAPI "github.com/segmentio/kafka-go/protocol/produce"
)

const (
	// minPause is the shortest time between two looks at a cluster that does not
	// answer well, whatever the configured backoff.
	minPause = 20 * time.Millisecond
	// layoutAge is how long a number of partitions is trusted before it is looked
	// at again, aside from the way of a record.
	layoutAge = 10 * time.Second
	// patience is how long a record waits, while brokers answer, for what they
	// should have soon: a leader of its partition, or its topic. An election takes
	// a few seconds; a partition without a living replica, or a topic that nobody
	// makes, must not hold the buffer for ever.
	patience = 60 * time.Second
	// spread is how long brokers may take to learn of a partition, one after another.
	spread = 2 * time.Second
)

// transport stands between kafka-go's Writer and its Transport, and puts right
// what loses records or costs time when the two are used alone (measured for
// v0.4.51):
//
//   - The Writer asks for metadata with each record. Here the answer is the last
//     known layout, with no lock and no wait; it is renewed aside.
//   - A broker that is not the leader any more, or a connection that broke, makes
//     the Transport's layout and idle connections worthless; it would go on to use
//     them until the attempts are used up. Here the first failure drops both.
//   - Errors that pass are not all known to the Writer as such: a connection that
//     ends in the handshake, a partition without a leader, codes 8 and 9.
//   - While no broker can be reached nothing is attempted, so no attempt is used
//     up: a patient transport holds the request until one can be.
//   - The acknowledgement timeout that the broker is told is half of the Writer's
//     own; here it is the configured one.
//   - The Transport logs in by itself where no record asks for it; see connections.
type transport struct {
	open           func(number uint64) *connections
	dialer         *dialer
	servers        *servers
	topic          string
	requestTimeout time.Duration // told to the broker
	attempt        time.Duration // the longest that one attempt may take
	pause          time.Duration // before the cluster is looked at again
	resetPause     time.Duration // the shortest time between two resets of the connections
	patient        bool
	patience       time.Duration
	maxAttempts    int
	refused        func(error) bool // whether a broker said no to who we are; may be nil
	status         *status
	metrics        observer

	ctx    context.Context // of the transport's life
	cancel context.CancelCauseFunc

	layout   atomic.Pointer[layout]
	renewing atomic.Bool
	renewals sync.WaitGroup
	closing  sync.WaitGroup // for replaced connections to close; Add with mu held and before ctx ends

	mu      sync.Mutex
	conns   *connections
	resetAt time.Time
	worn    bool            // conns are to be replaced once resetAt is long enough ago
	refusal uint64          // the number of the last connections that were refused a login
	tries   map[int32]tries // of the batch at hand, by partition: there is one at a time
}

// tries are the attempts made for one batch. The Writer does not tell that two
// requests are about the same.
type tries struct {
	made  int
	first time.Time
}

// layout is what a cluster said about the topic.
type layout struct {
	response   *metadataAPI.Response
	partitions []metadataAPI.ResponsePartition // at least one
	at         time.Time
}

var _ kafka.RoundTripper = (*transport)(nil)

// observer is told what the transport does.
type observer interface {
	Attempt(retry bool, took time.Duration, err error) // one produce request
	Produced(took time.Duration)                       // a batch, since its first produce request
	Lookup(err error)                                  // one metadata request
	ConnectionOpened() (closed func())
	ConnectionFailed(err error)
}

var errNoLayout = errors.New("the layout of the cluster is not known yet")

// RoundTrip implements kafka.RoundTripper.
func (t *transport) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	switch r := req.(type) {
	case *metadataAPI.Request:
		l := t.layout.Load()
		if l == nil {
			return nil, errNoLayout
		}
		return l.response, nil
	case *produceAPI.Request:
		r.Timeout = int32(t.requestTimeout / time.Millisecond)
		began := time.Now()
		records := replayOf(r)
		res, err := t.produce(ctx, r, records)
		t.tried(r, began, res, err)
		if err == nil {
			records.free()
		}
		return res, err
	default:
		return t.current().RoundTrip(ctx, addr, req)
	}
}

// fetch asks the cluster for the topic's layout and keeps it. Where the cluster
// makes topics by itself, it makes this one, as it does for Kong's own producer.
func (t *transport) fetch(ctx context.Context) error {
	conns := t.current()
	err := t.ask(ctx, true)
	if err != nil {
		t.reset(conns)
	} else if t.sinceRefusal(conns) {
		t.dialer.accepted()
	}
	return err
}

// ask has the connections tell the topic's layout, or why they have none. It asks
// the cluster at most once: when they are new.
func (t *transport) ask(ctx context.Context, create bool) error {
	ctx, cancel := context.WithTimeout(ctx, t.attempt)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	conns := t.current()
	began := time.Now()
	res, err := conns.RoundTrip(ctx, t.servers, &metadataAPI.Request{
		TopicNames:             []string{t.topic},
		AllowAutoTopicCreation: create,
	})
	err = answered(began, err)
	if err == nil {
		err = t.keep(res.(*metadataAPI.Response))
	}
	t.noteRefusal(conns, err)
	t.metrics.Lookup(err)
	return err
}

func (t *transport) keep(res *metadataAPI.Response) error {
	for i := range res.Topics {
		topic := &res.Topics[i]
		switch {
		case topic.Name != t.topic:
		case topic.ErrorCode != 0:
			return fmt.Errorf("topic %s: %w", t.topic, kafka.Error(topic.ErrorCode))
		case len(topic.Partitions) > 0:
			t.layout.Store(&layout{res, topic.Partitions, time.Now()})
			return nil
		}
	}
	return fmt.Errorf("topic %s: %w", t.topic, kafka.UnknownTopicOrPartition)
}

// partitions returns the topic's partitions by the latest metadata.
func (t *transport) partitions() []metadataAPI.ResponsePartition { return t.layout.Load().partitions }

// refresh has the layout renewed if it is old.
func (t *transport) refresh() {
	if l := t.layout.Load(); l != nil && time.Since(l.at) > layoutAge {
		t.renew()
	}
}

// renew fetches the layout aside. Where that fails the last known one stays.
func (t *transport) renew() {
	if !t.renewing.CompareAndSwap(false, true) {
		return
	}
	t.renewals.Go(func() {
		defer t.renewing.Store(false)
		if err := t.fetch(t.ctx); err != nil {
			if l := t.layout.Load(); l != nil { // not again at once
				t.layout.CompareAndSwap(l, &layout{l.response, l.partitions, time.Now()})
			}
		}
	})
}

// tried counts an attempt.
func (t *transport) tried(req *produceAPI.Request, began time.Time, res kafka.Response, err error) {
	again := false // the Writer will try again, if attempts are left
	if r, ok := res.(*produceAPI.Response); ok && err == nil {
		if refusal := refusalIn(r); refusal != nil {
			code := kafka.Error(refusal.ErrorCode)
			err, again = code, code.Temporary()
		}
	} else if err != nil {
		_, again = errors.AsType[temporary](err)
	}
	partition := partitionIn(req)
	t.mu.Lock()
	b := t.tries[partition]
	if b.made++; b.made == 1 {
		b.first = began
	}
	over := !again || b.made >= t.maxAttempts
	if over {
		delete(t.tries, partition)
	} else {
		if t.tries == nil {
			t.tries = make(map[int32]tries)
		}
		t.tries[partition] = b
	}
	t.mu.Unlock()
	t.metrics.Attempt(b.made > 1, time.Since(began), err)
	if over {
		t.metrics.Produced(time.Since(b.first))
	}
}

// partitionGone reports whether the cluster knows the topic but not the request's
// partition.
func (t *transport) partitionGone(ctx context.Context, req *produceAPI.Request) bool {
	if t.ask(ctx, false) != nil {
		return false
	}
	partition := partitionIn(req)
	return !slices.ContainsFunc(t.partitions(), func(p metadataAPI.ResponsePartition) bool { return p.PartitionIndex == partition })
}

func (t *transport) partitionGoneError(req *produceAPI.Request) error {
	return &partitionGoneError{t.topic, partitionIn(req), len(t.partitions())}
}

// partitionIn returns the partition of a produce request, which has only one.
func partitionIn(req *produceAPI.Request) int32 { return req.Topics[0].Partitions[0].Partition }

// refusalOf returns the code with which the broker rejected the batch, 0 if it did not.
func refusalOf(res kafka.Response) kafka.Error {
	if r, ok := res.(*produceAPI.Response); ok {
		if refusal := refusalIn(r); refusal != nil {
			return kafka.Error(refusal.ErrorCode)
		}
	}
	return 0
}

// refusalIn returns what the answer says of the partition, nil if the broker has
// taken the batch.
func refusalIn(r *produceAPI.Response) *produceAPI.ResponsePartition {
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			if p := &r.Topics[i].Partitions[j]; p.ErrorCode != 0 {
				return p
			}
		}
	}
	return nil
}

// produce makes one attempt. What it returns ends the attempt: an error that may
// pass makes the Writer try again after the backoff.
func (t *transport) produce(ctx context.Context, req *produceAPI.Request, records *replay) (kafka.Response, error) {
	var since time.Time // when this attempt found that it has to wait
	var gone time.Time  // since when the metadata has lacked the partition
	for {
		records.rewind()
		conns := t.current()
		res, err := t.once(ctx, conns, req)
		if err == nil {
			code := refusalOf(res)
			res, err = t.accept(conns, req, res)
			if code != kafka.UnknownTopicOrPartition || !t.partitionGone(ctx, req) {
				return res, err
			}
			if gone.IsZero() {
				gone = time.Now()
			} else if time.Since(gone) > spread {
				return nil, t.partitionGoneError(req)
			}
			if !t.sleep(ctx) {
				return res, err
			}
			continue
		}
		if stale(err) { // the next one is another that is idle, or a new one
			continue
		}
		t.noteRefusal(conns, err)
		if t.letIn(ctx, conns, err) {
			continue
		}
		var reason error
		waits := t.patient && unsent(err)
		if unsent(err) {
			// Is it this partition, or the whole cluster? The layout tells.
			if reason = t.ask(ctx, false); reason != nil {
				err = reason
			}
		}
		// A login that was not tried says nothing about the layout.
		if _, held := errors.AsType[*heldError](err); !held || reason != nil {
			t.reset(conns)
		}
		if t.ctx.Err() != nil {
			return nil, context.Cause(t.ctx)
		}
		// A broker may not know a partition yet that was just added.
		if reason == nil && errors.Is(err, protocol.ErrNoPartition) && t.partitionGone(ctx, req) {
			if gone.IsZero() {
				gone = time.Now()
			} else if time.Since(gone) > spread {
				return nil, t.partitionGoneError(req)
			}
			waits = true // be it for its last attempt
		}
		t.status.trouble(t.leader(partitionIn(req)), err)
		switch {
		case !waits:
			return nil, temporary{err}
		case reason == nil, pending(reason):
			if since.IsZero() {
				since = time.Now()
			} else if time.Since(since) > t.patience {
				return nil, &gaveUpError{err, t.patience}
			}
		case !t.unreachable(reason): // a broker answers, and says no
			return nil, temporary{err}
		}
		if !t.sleep(ctx) {
			if t.ctx.Err() != nil { // the record waits, be it for its last attempt
				return nil, context.Cause(t.ctx)
			}
			return nil, temporary{err}
		}
	}
}

func (t *transport) once(ctx context.Context, conns *connections, req kafka.Request) (kafka.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, t.attempt)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)() // the Writer's own context knows nothing of our end
	began := time.Now()
	res, err := conns.RoundTrip(ctx, t.servers, req)
	return res, answered(began, err)
}

// noteRefusal has the dialer hold further logins back if err is a refused one.
func (t *transport) noteRefusal(conns *connections, err error) {
	if err == nil || t.refused == nil || !t.refused(err) {
		return
	}
	t.dialer.refused(err)
	if _, held := errors.AsType[*heldError](err); !held {
		t.mu.Lock()
		t.refusal = max(t.refusal, conns.number)
		t.mu.Unlock()
	}
}

// letIn reports whether err is that of a suppressed login which may now be retried: a
// generation that is newer than the refusal has fetched metadata, so the login works
// again. Without SASL (mTLS) there is no other signal.
func (t *transport) letIn(ctx context.Context, conns *connections, err error) bool {
	if _, held := errors.AsType[*heldError](err); !held {
		return false
	}
	if !t.sinceRefusal(conns) || t.ask(ctx, false) != nil {
		return false
	}
	t.dialer.accepted()
	return true
}

func (t *transport) fine() {
	t.status.fine()
	t.dialer.accepted()
}

// accept looks at the broker's answer. The Writer reads it too; what it does not
// do is to look for the new leader.
func (t *transport) accept(conns *connections, req *produceAPI.Request, res kafka.Response) (kafka.Response, error) {
	r, ok := res.(*produceAPI.Response) // none with acks 0
	if !ok {
		t.fine()
		return res, nil
	}
	refusal := refusalIn(r)
	if refusal == nil {
		t.fine()
		return res, nil
	}
	code := kafka.Error(refusal.ErrorCode)
	t.status.trouble(t.leader(partitionIn(req)), code)
	switch code {
	case kafka.BrokerNotAvailable, kafka.ReplicaNotAvailable:
		t.reset(conns)
		return nil, temporary{code} // to Kafka they pass; to the Writer they do not
	case kafka.UnknownTopicOrPartition, kafka.LeaderNotAvailable, kafka.NotLeaderForPartition,
		kafka.NetworkException, kafka.KafkaStorageError, kafka.ListenerNotFound,
		kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch:
		t.reset(conns)
	}
	if !code.Temporary() && !tooLarge(code) {
		if err := recordsRefused(refusal); err != nil {
			return nil, err // the Writer would not tell which
		}
	}
	return res, nil
}

// sinceRefusal reports whether the connections were made after the last refusal. What
// others know they may know from before.
func (t *transport) sinceRefusal(conns *connections) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return conns.number > t.refusal
}

func (t *transport) current() *connections {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.worn {
		t.replace()
	}
	return t.conns
}

// reset replaces the connections, unless that was done already: at once or, if the last
// replacement was less than resetPause ago, with the next use after that. Requests in
// flight keep theirs.
func (t *transport) reset(conns *connections) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns == conns {
		t.replace()
	}
}

// replace swaps the connections, or marks them as worn if the last swap was less than
// resetPause ago. The caller holds t.mu.
func (t *transport) replace() {
	if t.worn = time.Since(t.resetAt) < t.resetPause; !t.worn {
		t.swap()
	}
}

// swap starts a new generation of connections, and closes the current one as it becomes
// idle. The caller holds t.mu.
func (t *transport) swap() {
	old := t.conns
	t.conns = t.open(old.number + 1)
	t.resetAt = time.Now()
	old.replaced.Store(true)
	if t.ctx.Err() != nil { // close may be waiting already
		old.close(t.ctx)
	} else {
		t.closing.Go(func() { old.close(t.ctx) })
	}
}

// sleep waits before the cluster is looked at again. It reports false when there
// is no time left for that.
func (t *transport) sleep(ctx context.Context) bool {
	timer := time.NewTimer(t.pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-t.ctx.Done():
	}
	return false
}

// rest closes the idle connections, and ends kafka-go's goroutine that refreshes the
// metadata. The next request opens new connections.
func (t *transport) rest() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.worn = false
	t.swap()
}

// close ends every attempt with cause, and the goroutines of the transport.
func (t *transport) close(cause error) {
	t.cancel(cause)
	t.current().close(t.ctx)
	t.renewals.Wait()
	t.closing.Wait()
}

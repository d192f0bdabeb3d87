package producer

import (
	"sync"

	"kafka-upstream/internal/kafkaerr"
	"kafka-upstream/internal/producer/cluster"
)

// observer passes what the cluster reports to the topic's ledger and log.
type observer struct{ p *Producer }

var _ cluster.Observer = observer{}

// AttemptDone implements cluster.Observer.
func (o observer) AttemptDone(topic string, a cluster.Attempt) {
	o.count(topic, func(l *ledger) {
		l.produceRequest(a.Retry, a.Took, a.Err)
		if a.Last {
			l.DeliveryDuration.Observe(DurationBounds, a.Total.Seconds())
			if a.Duplicate {
				l.Idempotence.Duplicates++
			}
			if codec, ok := o.p.o.codec(); ok {
				l.Compression[codec].batch(a)
			}
		}
	})
	o.p.attemptDone(topic, a.Err)
}

// MetadataRequested implements cluster.Observer.
func (o observer) MetadataRequested(topic string, err error, shared bool) {
	o.count(topic, func(l *ledger) { l.metadataRequest(err) })
	if !shared {
		o.p.metadataRequested(topic, err)
	}
}

func (o observer) count(topic string, f func(*ledger)) {
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	if t := o.p.topics[topic]; t != nil {
		f(&t.ledger)
	}
}

// ConnectionOpened implements cluster.Observer.
func (o observer) ConnectionOpened() (closed func()) {
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	o.p.connections.Opened++
	return sync.OnceFunc(func() {
		o.p.mu.Lock()
		defer o.p.mu.Unlock()
		o.p.connections.Closed++
	})
}

// ConnectionFailed implements cluster.Observer.
func (o observer) ConnectionFailed(err error) {
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	o.p.connections.Failed[kafkaerr.Of(err)]++
}

// Unavailable implements cluster.Observer.
func (o observer) Unavailable(topic string, partition int32, err error) {
	if log := o.log(topic); log != nil {
		log.attemptFailed(o.p.leaderOf(topic, partition), err)
	}
}

// Recovered implements cluster.Observer.
func (o observer) Recovered(topic string) {
	if log := o.log(topic); log != nil {
		log.recovered()
	}
}

// log returns the log of a topic, nil if the topic is not in use any more.
func (o observer) log(topic string) *deliveryLog {
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	if t := o.p.topics[topic]; t != nil {
		return t.log
	}
	return nil
}

// NeedsMetadata implements cluster.Observer.
func (o observer) NeedsMetadata() bool { return o.p.needsMetadata() }

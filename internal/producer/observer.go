package producer

import (
	"sync"

	"kafka-upstream/internal/kafkaerr"
	"kafka-upstream/internal/producer/cluster"
)

// observer passes on what the cluster reports: to the producer's ledger and status.
type observer struct{ p *Producer }

var _ cluster.Observer = observer{}

// AttemptDone implements cluster.Observer.
func (o observer) AttemptDone(_ string, a cluster.Attempt) {
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	o.p.ledger.produceRequest(a.Retry, a.Took, a.Err)
	if a.Last {
		o.p.ledger.DeliveryDuration.Observe(DurationBounds, a.Total.Seconds())
	}
}

// MetadataRequested implements cluster.Observer.
func (o observer) MetadataRequested(_ string, err error) {
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	o.p.ledger.metadataRequest(err)
}

// ConnectionOpened implements cluster.Observer.
func (o observer) ConnectionOpened() (closed func()) {
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	o.p.connected.Opened++
	return sync.OnceFunc(func() {
		o.p.mu.Lock()
		defer o.p.mu.Unlock()
		o.p.connected.Closed++
	})
}

// ConnectionFailed implements cluster.Observer.
func (o observer) ConnectionFailed(err error) {
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	o.p.connected.Failed[kafkaerr.Of(err)]++
}

// Unavailable implements cluster.Observer.
func (o observer) Unavailable(_ string, partition int32, err error) {
	o.p.status.trouble(o.p.placeOf(partition), err)
}

// Recovered implements cluster.Observer.
func (o observer) Recovered(string) { o.p.status.fine() }

// NeedsMetadata implements cluster.Observer.
func (o observer) NeedsMetadata() bool { return o.p.needsMetadata() }

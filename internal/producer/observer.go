package producer

import "kafka-upstream/internal/producer/cluster"

// observer passes on what the cluster reports: to the metrics, and to the producer's status.
type observer struct{ p *Producer }

var _ cluster.Observer = observer{}

// AttemptDone implements cluster.Observer.
func (o observer) AttemptDone(_ string, a cluster.Attempt) {
	o.p.metrics.Attempt(a.Retry, a.Took, a.Err)
	if a.Last {
		o.p.metrics.Produced(a.Total)
	}
}

// MetadataRequested implements cluster.Observer.
func (o observer) MetadataRequested(_ string, err error) { o.p.metrics.Lookup(err) }

// ConnectionOpened implements cluster.Observer.
func (o observer) ConnectionOpened() (closed func()) { return o.p.metrics.ConnectionOpened() }

// ConnectionFailed implements cluster.Observer.
func (o observer) ConnectionFailed(err error) { o.p.metrics.ConnectionFailed(err) }

// Unavailable implements cluster.Observer.
func (o observer) Unavailable(_ string, partition int32, err error) {
	o.p.status.trouble(o.p.placeOf(partition), err)
}

// Recovered implements cluster.Observer.
func (o observer) Recovered(string) { o.p.status.fine() }

// NeedsMetadata implements cluster.Observer.
func (o observer) NeedsMetadata() bool { return o.p.needsMetadata() }

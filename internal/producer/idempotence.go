package producer

import (
	"time"

	"kafka-upstream/internal/producer/cluster"
)

// Inexactness is why a batch may be in its topic twice.
type Inexactness = cluster.Inexactness

// Inexactnesses is how many reasons there are.
const Inexactnesses = cluster.Inexactnesses

// IdempotenceStats are the counts of batches that brokers are to write once.
type IdempotenceStats struct {
	Configured bool                         // for the topic
	Duplicates int64                        // batches that a broker said it had already
	Inexact    [cluster.Inexactnesses]int64 // batches that may be in the topic twice all the same
}

func (s *IdempotenceStats) add(t *IdempotenceStats) {
	s.Configured = s.Configured || t.Configured
	s.Duplicates += t.Duplicates
	for i := range s.Inexact {
		s.Inexact[i] += t.Inexact[i]
	}
}

// inexactPause is how long no other line is logged for the same reason.
const inexactPause = 10 * time.Minute

// Inexact implements cluster.Observer.
func (o observer) Inexact(topic string, partition int32, why cluster.Inexactness, err error) {
	o.p.mu.Lock()
	t := o.p.topics[topic]
	if t == nil {
		o.p.mu.Unlock()
		return
	}
	t.ledger.Idempotence.Inexact[why]++
	silent := !t.inexact[why].IsZero() && time.Since(t.inexact[why]) < inexactPause
	if !silent {
		t.inexact[why] = time.Now()
	}
	o.p.mu.Unlock()
	if !silent {
		t.log.log.Warn(inexactness[why], "partition", partition, "error", t.log.sentence(err, o.p.leaderOf(topic, partition)))
	}
}

// inexactness is what the log says.
var inexactness = [cluster.Inexactnesses]string{
	cluster.NoProducerID:    "batches are sent without a producer id for now: a retry may write one twice",
	cluster.SequenceRefused: "a broker does not know the sequence of a batch that it may have: it may be written twice",
	cluster.UnknownOutcome:  "a batch was given up without an answer: it may be in the topic all the same",
}

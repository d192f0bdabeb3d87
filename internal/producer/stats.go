package producer

import (
	"runtime"
	"sync/atomic"
)

// Stats counts the records that were handed to a producer. Each accepted record
// is buffered, or has met one fate:
//
//	Accepted = Delivered + Failed + Left + Buffered
type Stats struct {
	Accepted      int64 // into the buffer
	Refused       int64 // not accepted
	Delivered     int64 // acknowledged as configured; with acks 0, sent
	Failed        int64 // given up
	Left          int64 // given up at shutdown
	Buffered      int64 // waiting or on their way
	BufferedBytes int64 // keys and values of these
}

// counts are what Stats is made of, each counted by itself. A record is counted as
// accepted after it has taken its room, and its fate before the room is given back.
type counts struct{ accepted, refused, delivered, failed, left atomic.Int64 }

// Stats returns the counts at one moment. It waits for nobody, and nobody for it: it
// counts again where a record was in the middle of something.
func (p *Producer) Stats() Stats {
	for {
		c := &p.counts
		s := Stats{Delivered: c.delivered.Load(), Failed: c.failed.Load(), Left: c.left.Load()}
		s.Accepted = c.accepted.Load()
		buffered := p.room.used()
		s.Buffered, s.BufferedBytes = buffered.records(), buffered.bytes()
		if s.Accepted == s.Delivered+s.Failed+s.Left+s.Buffered {
			s.Refused = c.refused.Load()
			return s
		}
		runtime.Gosched()
	}
}

func sum(a, b Stats) Stats {
	return Stats{
		Accepted: a.Accepted + b.Accepted, Refused: a.Refused + b.Refused, Delivered: a.Delivered + b.Delivered,
		Failed: a.Failed + b.Failed, Left: a.Left + b.Left,
		Buffered: a.Buffered + b.Buffered, BufferedBytes: a.BufferedBytes + b.BufferedBytes,
	}
}

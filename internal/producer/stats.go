package producer

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

func sum(a, b Stats) Stats {
	return Stats{
		Accepted: a.Accepted + b.Accepted, Refused: a.Refused + b.Refused, Delivered: a.Delivered + b.Delivered,
		Failed: a.Failed + b.Failed, Left: a.Left + b.Left,
		Buffered: a.Buffered + b.Buffered, BufferedBytes: a.BufferedBytes + b.BufferedBytes,
	}
}

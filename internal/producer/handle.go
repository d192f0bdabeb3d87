package producer

import "context"

// Handle is an instance's share in a producer, for records to its topics. What a producer
// keeps for a topic, it forgets some time after the last Handle was released that has the
// topic. Its methods may be called from many goroutines at once.
type Handle struct {
	producer *Producer
	topics   []string // sorted
	release  func()
}

// Send is [Producer.Send], for a record to a topic of h.
func (h *Handle) Send(ctx context.Context, r Record) error { return h.producer.Send(ctx, r) }

// SendAll is [Producer.SendAll], for records to topics of h.
func (h *Handle) SendAll(ctx context.Context, records []Record, results []Result) error {
	return h.producer.SendAll(ctx, records, results)
}

// Append is [Producer.Append], for records to topics of h.
func (h *Handle) Append(records []Record, committed func(error)) {
	h.producer.Append(records, committed)
}

// Release gives the share back. The producer lives on while others have a share,
// and for a minute after the last record.
func (h *Handle) Release() { h.release() }

// Unavailable returns why records to the topic cannot be delivered at present, and since when;
// "" if no reason is known.
func (h *Handle) Unavailable(topic string) string {
	h.producer.mu.Lock()
	t := h.producer.topics[topic]
	h.producer.mu.Unlock()
	if t == nil {
		return ""
	}
	return t.log.unavailableSince()
}

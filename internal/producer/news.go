package producer

import (
	"sync"
	"sync/atomic"
	"time"
)

// newsEvery is how often the producers are asked for news while they have none.
const newsEvery = 100 * time.Millisecond

// news is what Kong's error log has to be told of all producers of a process. A loss has
// no request of its own, and the configuration it happened to may have none any more, so
// it is told with the next request of any.
type news struct {
	any   atomic.Bool // there may be some
	first atomic.Bool // some that must not wait for again

	mu       sync.Mutex
	again    time.Time // when the producers are asked next
	statuses map[*status]struct{}
}

func (n *news) add(s *status) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.statuses == nil {
		n.statuses = make(map[*status]struct{})
	}
	n.statuses[s] = struct{}{}
}

func (n *news) remove(s *status) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.statuses, s)
}

func (n *news) tell(first bool) {
	if first {
		n.first.Store(true)
	}
	n.any.Store(true)
}

// next returns one line, "" for none. No request waits for another one's.
func (n *news) next() string {
	if !n.any.Load() || !n.mu.TryLock() {
		return ""
	}
	defer n.mu.Unlock()
	now := time.Now()
	if now.Before(n.again) && !n.first.Load() {
		return ""
	}
	n.first.Store(false)
	n.any.Store(false)
	for s := range n.statuses {
		if s.toTell.Load() {
			n.any.Store(true)
			if line := s.kong(); line != "" {
				return line
			}
		}
		if s.closed.Load() && !s.toTell.Load() {
			delete(n.statuses, s)
		}
	}
	n.again = now.Add(newsEvery)
	return ""
}

package producer

import (
	"sync"
	"sync/atomic"
	"time"
)

// newsEvery is the shortest time between two searches for news that found none.
const newsEvery = 100 * time.Millisecond

// news collects what is to be reported in Kong's error log, for all producers of the
// process. When a record is lost its request was answered long before, and its
// configuration may get no further request, so the next request of any reports it.
type news struct {
	any   atomic.Bool // there may be news
	first atomic.Bool // there is news that must not wait for again

	mu    sync.Mutex
	again time.Time // when the next search may begin
	logs  map[*deliveryLog]struct{}
}

func (n *news) add(s *deliveryLog) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.logs == nil {
		n.logs = make(map[*deliveryLog]struct{})
	}
	n.logs[s] = struct{}{}
}

func (n *news) remove(s *deliveryLog) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.logs, s)
}

func (n *news) tell(first bool) {
	if first {
		n.first.Store(true)
	}
	n.any.Store(true)
}

// next returns one line, "" for none. It never blocks: while another request searches
// there is none.
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
	for s := range n.logs {
		if s.toTell.Load() {
			n.any.Store(true)
			if line := s.line(); line != "" {
				return line
			}
		}
		if s.closed.Load() && !s.toTell.Load() {
			delete(n.logs, s)
		}
	}
	n.again = now.Add(newsEvery)
	return ""
}

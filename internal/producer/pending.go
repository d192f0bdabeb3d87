package producer

import (
	"sync"
	"sync/atomic"
	"time"
)

// searchEvery is the shortest time between two searches for lines that found none.
const searchEvery = 100 * time.Millisecond

// pendingLines has the delivery logs of all topics of the process, and finds lines that are
// due in Kong's error log. When a record is lost, its request was answered long before, and
// its configuration may get no further request, so the next request of any configuration
// reports the loss.
type pendingLines struct {
	any   atomic.Bool // there may be a line
	first atomic.Bool // there is a line that must not wait until nextSearch

	searching  sync.Mutex // held by next alone
	nextSearch time.Time  // when the next search may begin

	mu   sync.Mutex // no other mutex is locked while this one is
	logs map[*deliveryLog]struct{}
}

func (n *pendingLines) add(l *deliveryLog) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.logs == nil {
		n.logs = make(map[*deliveryLog]struct{})
	}
	n.logs[l] = struct{}{}
}

func (n *pendingLines) remove(l *deliveryLog) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.logs, l)
}

func (n *pendingLines) schedule(first bool) {
	if first {
		n.first.Store(true)
	}
	n.any.Store(true)
}

// next returns one line, "" for none. It never waits: it returns "" while another goroutine
// searches.
func (n *pendingLines) next() string {
	if !n.any.Load() || !n.searching.TryLock() {
		return ""
	}
	defer n.searching.Unlock()
	now := time.Now()
	if now.Before(n.nextSearch) && !n.first.Load() {
		return ""
	}
	n.first.Store(false)
	n.any.Store(false)
	for _, l := range n.pending() {
		n.any.Store(true)
		if line := l.line(); line != "" {
			return line
		}
		if l.closed.Load() && !l.pending.Load() {
			n.remove(l)
		}
	}
	n.nextSearch = now.Add(searchEvery)
	return ""
}

// pending returns the logs that may have a line.
func (n *pendingLines) pending() (all []*deliveryLog) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.logs {
		switch {
		case l.pending.Load():
			all = append(all, l)
		case l.closed.Load():
			delete(n.logs, l)
		}
	}
	return all
}

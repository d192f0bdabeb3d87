package producer

import (
	"log/slog"
	"slices"
	"sync"

	"kafka-upstream/internal/spool"
)

// source is the queue of a topic in the spool, with the producers whose instances have the topic.
// The first of them takes the records; the others, of configurations with other settings, append
// to it. When Kong has replaced a configuration, the next one takes over, with the records that
// its predecessor could not deliver.
type source struct {
	queue *spool.Queue
	topic string

	mu       sync.Mutex // no other mutex is locked while this one is
	takers   []*Producer
	pending  bool           // there may be something, and there was no taker
	adopted  bool           // there may be batches of former processes
	returned []spool.Stored // undelivered by an earlier taker, in order; they come before those of the queue
}

// next takes records, at least one if there is any. inMemory: they count against the memory limit
// already. Only the taker calls it, one call at a time. It may wait for the disk.
func (s *source) next(maxRecords int, maxBytes int64) (taken []spool.Stored, inMemory bool, err error) {
	s.mu.Lock()
	if n := min(len(s.returned), maxRecords); n > 0 {
		taken = slices.Clone(s.returned[:n])
		if s.returned = s.returned[n:]; len(s.returned) == 0 {
			s.returned = nil
		}
		s.mu.Unlock()
		return taken, true, nil
	}
	s.mu.Unlock()
	taken, err = s.queue.Next(maxRecords, maxBytes)
	return taken, false, err
}

// recovered takes the batches of former processes that have come, which come before the records of
// next. Only the taker calls it. It may wait for the disk.
func (s *source) recovered() []spool.RecoveredBatch {
	s.mu.Lock()
	adopted := s.adopted
	s.adopted = false
	s.mu.Unlock()
	if !adopted {
		return nil
	}
	return s.queue.Unacknowledged()
}

// giveBack takes records back that were taken and are not delivered. They count against the
// memory limit for as long as nobody takes them again.
func (s *source) giveBack(records []spool.Stored) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.returned = append(s.returned, records...)
	slices.SortFunc(s.returned, func(a, b spool.Stored) int { return a.Position.Compare(b.Position) })
}

// isAwaited reports whether another producer waits to take records.
func (s *source) isAwaited() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.takers) > 1
}

// isPending reports whether there may be something that nobody has looked for.
func (s *source) isPending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending
}

// taker returns the producer that takes the records, nil if there is none.
func (s *source) taker() *Producer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.takers) == 0 {
		return nil
	}
	return s.takers[0]
}

// onReady is called when the queue has something for a next call that found nothing.
func (s *source) onReady() {
	s.mu.Lock()
	s.adopted = true // it is not told what has come
	s.mu.Unlock()
	s.notify()
}

// sourceKey names a source: destination and topic.
type sourceKey struct{ destination, topic string }

// sources has the sources of all producers of a pool.
type sources struct {
	spool *spool.Spool
	log   *slog.Logger

	mu  sync.Mutex // locked before a source's, and after a Producer's
	all map[sourceKey]*source
}

// join returns the source of a topic, among whose takers the producer is from now on. If it is
// new, the caller must have the queue call onReady, holding no lock.
func (s *sources) join(p *Producer, topic string) (of *source, isNew bool) {
	key := sourceKey{p.o.destination(), topic}
	s.mu.Lock()
	defer s.mu.Unlock()
	of = s.all[key]
	if isNew = of == nil; isNew {
		of = &source{queue: s.spool.Queue(key.destination, topic), topic: topic}
		s.all[key] = of
	}
	of.mu.Lock()
	joins := !slices.Contains(of.takers, p)
	if joins {
		of.takers = append(of.takers, p)
	}
	shared := joins && len(of.takers) > 1
	of.mu.Unlock()
	if shared {
		s.log.Info("configurations with different settings share the spool's records of a topic: they are sent with the settings of the one that was used first, for as long as Kong has it", "topic", topic)
	}
	return of, isNew
}

// joinAll is called when an instance of the producer has acquired the topics: what the spool has
// of them is delivered from now on.
func (s *sources) joinAll(p *Producer, topics []string) {
	for _, name := range topics {
		of, isNew := s.join(p, name)
		if isNew {
			of.queue.Ready(of.onReady)
			continue
		}
		switch first := of.taker(); {
		case first == nil: // p is closed, and has left meanwhile
		case first != p:
			first.handOver()
		case of.isPending():
			of.notify()
		}
	}
}

// isTaken reports whether a producer takes the records of a source.
func (s *sources) isTaken(key sourceKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.all[key]
	return of != nil && of.taker() != nil
}

// leave ends the producer's use of a source, which the next taker takes over: the caller calls
// notify once it holds no lock. It reports false if the producer did not use it.
func (s *source) leave(p *Producer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.takers, p)
	if i >= 0 {
		s.takers = slices.Delete(s.takers, i, i+1)
	}
	return i >= 0
}

// notify has the taker look for what there may be. Without one, the next does so when it comes.
func (s *source) notify() {
	s.mu.Lock()
	s.pending = len(s.takers) == 0
	s.mu.Unlock()
	if p := s.taker(); p != nil {
		p.sourceReady(s.topic)
	}
}

// leaveAll ends the use of all sources by a closed producer.
func (s *sources) leaveAll(p *Producer) {
	s.mu.Lock()
	var used []*source
	for _, of := range s.all {
		used = append(used, of)
	}
	s.mu.Unlock()
	for _, of := range used {
		if of.leave(p) {
			of.notify()
		}
	}
}

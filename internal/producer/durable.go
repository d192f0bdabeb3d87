package producer

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/spool"
)

// With Options.Durable a record is first appended to the spool, whose sender is told when it is
// on the disk. From there it is taken into the buffer, as this has room, by this process or by
// the next one. It leaves the spool when it is delivered, or failed and counted.

// Errors of Append. No record is in the spool.
var (
	ErrSpoolFull   = errors.New("the spool is full (-spool-limit), or its disk is")
	ErrSpoolFailed = errors.New("the spool cannot be written")
)

const (
	// takeRecords and takeBytes are how much is taken from a source at once.
	takeRecords = 256
	takeBytes   = 256 << 10
	// perStored is the overhead of a record from the spool, beside that of others.
	perStored = 128
	// takeAgain is when to try again while the process has no memory for more records, or the
	// spool cannot be read.
	takeAgain = 20 * time.Millisecond
)

// Append writes all records to the spool, or none of them. committed is called once, with nil
// when all are on the disk and will be delivered; else with one of the errors with which
// [Producer.Send] does not accept a record, [ErrSpoolFull] or [ErrSpoolFailed]. It may be called before Append
// returns, from any goroutine, and must not block.
func (p *Producer) Append(records []Record, committed func(error)) {
	now := time.Now()
	entries := make([]spool.Entry, len(records))
	p.mu.Lock()
	p.used = now
	needed, reason, err := int64(0), Rejection(0), error(nil)
	for i := range records {
		r := &records[i]
		t := p.topic(r.Topic)
		t.used = now
		size := sizeOfRecord(r)
		needed += memoryOf(size, len(r.Headers))
		switch {
		case size+Overhead > p.limit:
			reason, err = TooLarge, &TooLargeError{int(size + Overhead), int(p.limit)}
		case p.closed:
			reason, err = ShuttingDown, ErrClosed
		case p.unhealthy(t):
			p.startProbes()
			reason, err = Unhealthy, ErrUnhealthy
		}
		if err != nil {
			break
		}
		entries[i] = spool.Entry{Queue: t.source.queue, Record: spooled(r, now)}
	}
	if err == nil && !p.memory.Take(needed) {
		reason, err = MemoryFull, memory.ErrFull
	}
	if err != nil {
		p.rejectAppended(records, now, reason, err)
		p.mu.Unlock()
		committed(err)
		return
	}
	p.mu.Unlock()
	done := func(_ []spool.Position, err error) {
		p.memory.Return(needed) // what the spool keeps in memory is bounded by itself
		committed(p.appended(records, now, err))
	}
	if err := p.sources.spool.Append(entries, done); err != nil {
		done(nil, err)
	}
}

// spooled returns the record as the spool has it.
func spooled(r *Record, now time.Time) spool.Record {
	s := spool.Record{Key: r.Key, Value: r.Value, Timestamp: now.UnixMilli()}
	if !r.Time.IsZero() {
		s.Timestamp = r.Time.UnixMilli()
	}
	if len(r.Headers) > 0 {
		s.Headers = make([]spool.Header, len(r.Headers))
		for i := range r.Headers {
			s.Headers[i] = spool.Header(r.Headers[i])
		}
	}
	return s
}

func sizeOfRecord(r *Record) int64 {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value) + HeaderOverhead
	}
	return int64(n)
}

// appended counts records that the spool has taken, or not because of err. It returns the error
// of Append.
func (p *Producer) appended(records []Record, now time.Time, err error) error {
	reason := SpoolFailed
	switch {
	case errors.Is(err, spool.ErrFull):
		reason, err = SpoolFull, fmt.Errorf("%w: %w", ErrSpoolFull, err)
	case errors.Is(err, spool.ErrClosed):
		reason, err = ShuttingDown, ErrClosed
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrSpoolFailed, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.rejectAppended(records, now, reason, err)
		return err
	}
	for i := range records {
		p.topic(records[i].Topic).ledger.Appended.add(Amount{1, sizeOfRecord(&records[i])})
	}
	return nil
}

// rejectAppended counts and logs records that are not appended. The caller holds p.mu.
func (p *Producer) rejectAppended(records []Record, now time.Time, reason Rejection, err error) {
	all := make([]sending, len(records))
	for i := range records {
		all[i].to = p.topic(records[i].Topic)
	}
	p.reject(all, now, reason, err)
}

// sourceReady is called when the source of a topic may have something to take.
func (p *Producer) sourceReady(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	t := p.topics[name]
	if t == nil {
		t = p.topic(name)
	}
	p.markReady(t)
	p.startTaking()
}

// markReady has the topic's source looked at. The caller holds p.mu.
func (p *Producer) markReady(t *topic) {
	if !t.isReady {
		t.isReady = true
		p.ready = append(p.ready, t)
	}
}

// startTaking starts the goroutine that takes records from the sources, if it does not run and
// there is something to take. The caller holds p.mu.
func (p *Producer) startTaking() {
	if p.taker || p.ended || len(p.ready) == 0 || p.cluster.Context().Err() != nil {
		return
	}
	p.taker = true
	p.requests.Go(p.takeAll)
}

// draining reports whether a closed producer has more to take from its sources. The caller holds
// p.mu.
func (p *Producer) draining() bool {
	return p.closed && (p.taker || p.cluster.Context().Err() == nil && slices.ContainsFunc(p.ready, p.mayTake))
}

// mayTake reports whether the producer may take records from the topic's source. The caller
// holds p.mu.
func (p *Producer) mayTake(t *topic) bool {
	return !t.gaveUp && t.source.taker() == p && (t.orphaned.IsZero() || !t.source.isAwaited())
}

// takeAll takes records from the sources for as long as they have any and the buffer has room.
// The topics take turns. It is a goroutine of its own, because a source may wait for the disk.
func (p *Producer) takeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		t, room := p.nextToTake()
		if t == nil {
			break
		}
		t.taking, t.isReady = true, false // until next returns, onReady says what comes after it
		p.mu.Unlock()
		batches := p.takeBatches(t)
		var stored []spool.Stored
		var err error
		if len(batches) == 0 {
			stored, err = p.takeFrom(t, room)
		}
		p.mu.Lock()
		t.taking = false
		if len(batches) > 0 {
			stored = p.resume(t, batches)
		}
		if len(batches) > 0 || len(stored) > 0 || err != nil {
			p.markReady(t)
		}
		p.buffer(t, stored)
	}
	p.taker = false
	if p.closed { // the dispatcher of a closed producer waits for it
		p.signal()
	}
}

// nextToTake returns a topic whose source may have something, and how much of it may be taken;
// nil if there is none or the buffer has no room. It removes the topic from p.ready. The caller
// holds p.mu.
func (p *Producer) nextToTake() (*topic, Amount) {
	if p.cluster.Context().Err() != nil {
		return nil, Amount{}
	}
	for i, t := range p.ready {
		b := &t.ledger.Buffered
		room := Amount{min(p.records.room(b.Records), takeRecords), min(p.bytes.room(b.Bytes), takeBytes)}
		if room.Records > 0 && room.Bytes > 0 && p.mayTake(t) {
			p.ready = append(append(p.ready[:i:i], p.ready[i+1:]...), nil)[:len(p.ready)-1]
			return t, room
		}
	}
	return nil, Amount{}
}

// takeBatches takes what former processes may have sent from a source, and memory for it.
func (p *Producer) takeBatches(t *topic) []spool.RecoveredBatch {
	batches := t.source.recovered()
	for i := range batches {
		needed := int64(0)
		for j := range batches[i].Records {
			needed += memoryOfStored(&batches[i].Records[j])
		}
		if !p.takeMemory(needed) {
			for _, b := range batches[i:] {
				p.returnUntaken(t, b.Records)
			}
			return batches[:i]
		}
	}
	return batches
}

// takeFrom takes records from a source, and memory for them. It waits for memory, and after an
// error for a moment, so that the caller may try again.
func (p *Producer) takeFrom(t *topic, room Amount) ([]spool.Stored, error) {
	taken := room.Bytes + room.Bytes/8 + room.Records*(perRecord+perStored)
	for !p.memory.Take(taken) {
		if room.Records > 1 {
			room = Amount{1, 1} // a single record of any size
			taken = 0
			continue
		}
		if !p.pause() {
			return nil, nil
		}
	}
	stored, inMemory, err := t.source.next(int(room.Records), room.Bytes)
	if inMemory {
		p.memory.Return(taken)
		return stored, nil
	}
	if err != nil {
		p.memory.Return(taken)
		p.logger.Error("records in the spool cannot be read for now", "topic", t.name, "error", err)
		p.pause()
		return nil, err
	}
	needed := int64(0)
	for i := range stored {
		needed += memoryOfStored(&stored[i])
	}
	p.memory.Return(max(taken-needed, 0))
	if needed > taken && !p.takeMemory(needed-taken) {
		p.memory.Return(taken)
		p.returnUntaken(t, stored)
		return nil, nil
	}
	return stored, nil
}

// takeMemory takes memory for records that were read from the spool, and waits for it. What the
// limit never allows is taken at once: another process may have allowed it, and all others would
// wait behind it. It reports false if the producer has ended.
func (p *Producer) takeMemory(n int64) bool {
	for !p.memory.Take(n) {
		if n > p.memory.Size() {
			p.memory.Return(-n)
			return true
		}
		if !p.pause() {
			return false
		}
	}
	return true
}

// returnUntaken gives records back for which there was no memory. They count all the same: see
// source.giveBack.
func (p *Producer) returnUntaken(t *topic, records []spool.Stored) {
	for i := range records {
		p.memory.Return(-memoryOfStored(&records[i]))
	}
	t.source.giveBack(records)
}

// pause waits for a moment. It reports false if the producer has ended.
func (p *Producer) pause() bool {
	select {
	case <-time.After(takeAgain):
		return true
	case <-p.cluster.Context().Done():
		return false
	}
}

func sizeOfStored(s *spool.Stored) int64 {
	n := len(s.Record.Key) + len(s.Record.Value)
	for i := range s.Record.Headers {
		n += len(s.Record.Headers[i].Key) + len(s.Record.Headers[i].Value) + HeaderOverhead
	}
	return int64(n)
}

func memoryOfStored(s *spool.Stored) int64 {
	return memoryOf(sizeOfStored(s), len(s.Record.Headers)) + perStored
}

// buffer puts records that were taken from the topic's source into the buffer. The caller holds
// p.mu.
func (p *Producer) buffer(t *topic, stored []spool.Stored) {
	if len(stored) == 0 {
		return
	}
	var tooLarge []kafka.Message
	for i := range stored {
		q := p.take(t, &stored[i])
		size := q.size()
		if size+Overhead > p.limit { // it was appended by a configuration that allows more
			tooLarge = append(tooLarge, q.message(t.name, unassigned))
			continue
		}
		p.enqueue(t, q)
	}
	if len(tooLarge) > 0 {
		p.mu.Unlock()
		for i := range tooLarge {
			p.complete(t, tooLarge[i:i+1], &TooLargeError{int(sizeOfMessage(&tooLarge[i]) + Overhead), int(p.limit)})
		}
		p.mu.Lock()
	}
}

// take accepts a record that was taken from the topic's source. The caller holds p.mu.
func (p *Producer) take(t *topic, s *spool.Stored) queued {
	now := time.Now()
	p.used, t.used = now, now
	q := queued{key: s.Record.Key, value: s.Record.Value, accepted: now.Sub(p.started), timestamp: s.Record.Timestamp, stored: s, rejections: t.rejections}
	if len(s.Record.Headers) > 0 {
		headers := make([]kafka.Header, len(s.Record.Headers))
		for i := range headers {
			headers[i] = kafka.Header(s.Record.Headers[i])
		}
		q.headers = &headers
	}
	size := q.size()
	p.reserve(t, Amount{1, size})
	t.ledger.accept(size)
	return q
}

// done tells the spool that records need not be kept any more.
func (p *Producer) done(t *topic, messages []kafka.Message) {
	t.source.queue.Done(positionsOf(messages))
}

func positionsOf(messages []kafka.Message) []spool.Position {
	all := make([]spool.Position, len(messages))
	for i := range messages {
		all[i] = messages[i].WriterData.(*spool.Stored).Position
	}
	return all
}

// isReturned reports whether records with that error stay in the spool, for another producer or
// for the next process: nobody has refused them.
func isReturned(err error) bool {
	if errors.Is(err, errAbandoned) {
		return true
	}
	_, orphaned := errors.AsType[*orphanedError](err)
	return orphaned
}

// giveBack gives records back to the topic's source.
func (p *Producer) giveBack(t *topic, messages []kafka.Message, amount Amount) {
	records := make([]spool.Stored, len(messages))
	for i := range messages {
		records[i] = *messages[i].WriterData.(*spool.Stored)
	}
	t.source.giveBack(records)
	p.mu.Lock()
	p.reserve(t, Amount{-amount.Records, -amount.Bytes})
	t.ledger.giveBack(amount)
	p.markReady(t) // for when its configuration comes back
	p.startTaking()
	p.mu.Unlock()
	if t.source.taker() != p { // it has been closed without waiting for these
		t.source.notify()
	}
}

// handOver is called when another producer waits for a source: it gets it once no instance of
// this one has the topic.
func (p *Producer) handOver() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.topics {
		if !t.orphaned.IsZero() {
			p.removeUnusedIn(time.Second)
		}
	}
}

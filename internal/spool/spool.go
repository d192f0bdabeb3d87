// Package spool is a crash-safe log on disk: records are in it, on stable storage, before
// they are acknowledged, and stay until whoever reads them says that they are done with.
//
// A [Spool] has a directory of its own below [Options].Dir, and holds a lock on it as long as
// the process lives. It adopts the directories of processes that ended without emptying them.
// One goroutine writes: what was appended while the last fsync ran is the next commit group,
// which is one write and one fsync. docs/decisions/spool.md has the format of the files, what
// survives which failure, and what does not.
package spool

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Why records are not appended. The errors of this package wrap these, and say what happened
// and what to do.
var (
	// ErrFull means that the disk, or what the spool may use of it, is full. The spool takes
	// records again as soon as there is room.
	ErrFull = errors.New("the spool is full")
	// ErrFailed means that a write or an fsync failed. The spool tries again with a new file
	// after a back-off.
	ErrFailed = errors.New("the spool's disk failed")
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("the spool is closed")
)

// Options are the settings of a Spool.
type Options struct {
	// Dir is made if it does not exist. Several processes may share it.
	Dir string
	// Limit is how many bytes the files with records, those of adopted directories too, may
	// have together; 0 means no limit.
	Limit int64
	Log   *slog.Logger // nil: slog.Default()
	FS    FS           // nil: the operating system's files

	segmentSize int64         // for tests
	backOff     time.Duration // for tests
}

// Record is what the spool keeps for Kafka.
type Record struct {
	Key, Value []byte // nil: none, which is not the same as empty
	Headers    []Header
	Timestamp  int64 // Unix time in milliseconds
}

// Header is a header of a Record.
type Header struct {
	Key   string
	Value []byte // nil: none
}

// size is what a record counts for in limits on memory.
func (r *Record) size() int64 {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return int64(n)
}

// Entry is a record on its way into a queue.
type Entry struct {
	Queue  *Queue // of the same Spool
	Record Record
}

// Stored is a record that is in the spool.
type Stored struct {
	Position Position
	Record   Record
}

// Position says where a record is. It stays valid when another process adopts the record.
// Positions are comparable; no two records of a Spool have the same.
type Position struct {
	directory, segment uint64
	queue              uint32 // number of the queue in the segment
	number             uint32 // of the record among those of its queue in the segment
}

// Compare orders the positions of a queue: those of records that one process appended are in
// the order of its Append calls. It returns -1, 0 or 1.
func (p Position) Compare(other Position) int {
	return cmp.Or(cmp.Compare(p.directory, other.directory),
		cmp.Compare(p.segment, other.segment), cmp.Compare(p.number, other.number), cmp.Compare(p.queue, other.queue))
}

// String is for logs and tests.
func (p Position) String() string {
	return fmt.Sprintf("%x/%x/%d/%d", p.directory, p.segment, p.queue, p.number)
}

// Spool is safe for concurrent use.
//
// mu guards everything but the fields of the writer and of the janitor. It is held for no I/O
// but lines of the log, and for no call of a function from outside. No lock is taken while it
// is held; Queue.reading and noting are taken before it.
type Spool struct {
	fs          FS
	log         *slog.Logger
	root        string
	limit       int64
	segmentSize int64

	mu        sync.Mutex
	directory *directory // the process's own
	adopted   map[uint64]*directory
	segments  map[segmentKey]*segment
	queues    map[queueName]*Queue
	used      int64 // bytes of the files of all segments
	gated     bool  // the directories found at Open are not read yet: Next returns nothing
	cached    int64 // bytes of records in Queue.recent
	dirty     []*segment
	stats     counters
	health    health

	// The way to the writer.
	wake    sync.Cond // on mu
	groups  []*group
	spare   []*group
	queued  int64 // bytes of groups, the one that is being written included
	onGroup func()
	closing bool

	writer  writer
	janitor janitor
	noting  sync.Mutex // held while done files are written; before mu
	notes   notes
	closed  chan struct{} // closed when Close is done
}

// Open takes a directory of its own below o.Dir, and those of dead processes. The records in
// these are read in the background; until that is done, no queue returns any. The error is a
// sentence that says what is wrong with the directory.
func Open(o Options) (*Spool, error) {
	s := &Spool{
		fs: o.FS, log: o.Log, root: o.Dir, limit: o.Limit,
		segmentSize: cmp.Or(o.segmentSize, segmentSize(o.Limit)),
		adopted:     map[uint64]*directory{},
		segments:    map[segmentKey]*segment{},
		queues:      map[queueName]*Queue{},
		gated:       true,
		health:      health{first: cmp.Or(o.backOff, firstBackOff)},
		closed:      make(chan struct{}),
	}
	if s.fs == nil {
		s.fs = osFS{}
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.wake.L = &s.mu
	s.janitor.init()

	if err := s.fs.MakeRoot(s.root); err != nil {
		return nil, fmt.Errorf("could not use the directory %q for the spool: %w", s.root, err)
	}
	own, err := s.takeDirectory()
	if err != nil {
		return nil, fmt.Errorf("could not make a directory for the spool below %q: %w", s.root, err)
	}
	s.directory = own
	found, err := s.claim(true)
	if err != nil {
		s.release(own)
		return nil, err
	}
	s.writer.done = make(chan struct{})
	go s.runWriter()
	go s.runJanitor(found)
	return s, nil
}

// segmentSize is that of new segments: a small spool has many nonetheless, so that space comes
// back in small steps.
func segmentSize(limit int64) int64 {
	const least, most = 256 << 10, 64 << 20
	if limit <= 0 {
		return most
	}
	return min(max(limit/16, least), most)
}

// Queue returns the queue of the destination and the topic. The destination is an opaque
// string, without secrets: it is written to disk. Both are cut at 64 KiB.
func (s *Spool) Queue(destination, topic string) *Queue {
	const most = 1<<16 - 1
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue(queueName{destination[:min(len(destination), most)], topic[:min(len(topic), most)]})
}

// queue is called with mu held.
func (s *Spool) queue(name queueName) *Queue {
	q := s.queues[name]
	if q == nil {
		q = &Queue{spool: s, name: name, waiting: true, lanes: map[laneKey]*lane{}, identities: map[int32]Identity{}}
		s.queues[name] = q
	}
	return q
}

// OnGroup sets a function that is called once after all committed functions of a commit group.
// It must be set before the first Append, and must not block.
func (s *Spool) OnGroup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onGroup = f
}

// Close refuses further records, writes those that it has accepted, and hands the directories
// over to other processes. Those without a record are removed.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		<-s.closed
		return nil
	}
	s.closing = true
	s.wake.Signal()
	s.mu.Unlock()
	<-s.writer.done
	s.janitor.end()

	s.mu.Lock()
	queues := make([]*Queue, 0, len(s.queues))
	for _, q := range s.queues {
		queues = append(queues, q)
	}
	directories := make([]*directory, 0, len(s.adopted)+1)
	for _, d := range s.adopted {
		directories = append(directories, d)
	}
	directories = append(directories, s.directory)
	s.mu.Unlock()
	for _, q := range queues {
		q.reading.Lock()
		q.closeFile()
		q.reading.Unlock()
	}
	for _, d := range directories {
		s.release(d)
	}
	close(s.closed)
	return nil
}

// health says whether the spool takes records, and since what it does not. It is guarded by
// Spool.mu.
type health struct {
	refusal error         // wraps ErrFull or ErrFailed; nil: the last commit succeeded
	until   time.Time     // no attempt before; zero: at once
	delay   time.Duration // the last back-off
	first   time.Duration // back-off
}

// stateOf returns the state that a refusal stands for.
func stateOf(refusal error) State {
	switch {
	case refusal == nil:
		return OK
	case errors.Is(refusal, ErrFull):
		return Full
	}
	return Failed
}

const (
	firstBackOff = 100 * time.Millisecond
	lastBackOff  = 5 * time.Second
)

// refuse notes why nothing can be written, with a back-off for what involves the disk.
func (h *health) refuse(err error, backOff bool) {
	h.refusal, h.until = err, time.Time{}
	if backOff {
		h.delay = min(max(2*h.delay, h.first), lastBackOff)
		h.until = time.Now().Add(h.delay)
	}
}

// recover notes that a commit has succeeded.
func (h *health) recover() { *h = health{first: h.first} }

// retry allows an attempt now: there may be room.
func (h *health) retry() {
	if h.until.IsZero() { // the limit was reached
		h.recover()
		return
	}
	h.until = time.Now()
}

// refused returns why an attempt is not worth while now.
func (h *health) refused() error {
	if h.refusal == nil || h.until.IsZero() || !time.Now().Before(h.until) {
		return nil
	}
	return h.refusal
}

package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// seed returns the seed of a test's random numbers, which SPOOL_SEED sets.
func testSeed(t testing.TB) uint64 {
	n := uint64(time.Now().UnixNano())
	if v, err := strconv.ParseUint(os.Getenv("SPOOL_SEED"), 10, 64); err == nil {
		n = v
	}
	t.Logf("SPOOL_SEED=%d", n)
	return n
}

// fate is what is known of a record.
type fate int

const (
	asked    fate = iota // appended, without an answer
	acked                // on the disk
	refused              // reported as not stored
	void                 // the same, and a later record was stored by the same process
	finished             // Done was called
)

// ledger is what a client and Kafka know of the records of a spool, over several processes.
type ledger struct {
	mu      sync.Mutex
	next    int
	fates   map[int]fate
	groups  map[int]int        // record to the first of its Append
	batches map[int32][]string // by partition: what was written last, and before it if that was not answered
	written map[int32]bool     // the last one was answered
	closed  map[string]bool    // batches of which Done was called for all records
	frozen  bool               // the machine is off: answers come too late
}

func newLedger() *ledger {
	return &ledger{fates: map[int]fate{}, groups: map[int]int{}, batches: map[int32][]string{}, written: map[int32]bool{}, closed: map[string]bool{}}
}

func (l *ledger) freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frozen = true
}

// put appends n records, and waits for the answer.
func (l *ledger) put(s *Spool, q *Queue, n int) error {
	l.mu.Lock()
	first := l.next
	l.next += n
	var records []Record
	for i := range n {
		records = append(records, record(first+i))
		l.fates[first+i] = asked
		l.groups[first+i] = first
	}
	l.mu.Unlock()
	_, err := put(s, q, records...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.frozen {
		return err
	}
	for i := range n {
		if err == nil {
			l.fates[first+i] = acked
			for n, f := range l.fates {
				if f == refused {
					l.fates[n] = void
				}
			}
		} else {
			l.fates[first+i] = refused
		}
	}
	return err
}

func (l *ledger) done(q *Queue, stored []Stored) {
	l.mu.Lock()
	if !l.frozen {
		for _, r := range stored {
			l.fates[int(r.Record.Timestamp)] = finished
		}
	}
	l.mu.Unlock()
	q.Done(positions(stored))
}

func batchName(b Batch, stored []Stored) string {
	name := fmt.Sprint(b.Partition, b.ProducerID, b.Epoch, b.Sequence)
	for _, r := range stored {
		name += fmt.Sprint(" ", r.Record.Timestamp)
	}
	return name
}

// send writes the batch that records are sent as.
func (l *ledger) send(q *Queue, b Batch, stored []Stored) error {
	b.Positions = positions(stored)
	name := batchName(b, stored)
	l.mu.Lock()
	if !l.frozen {
		l.batches[b.Partition] = append(l.batches[b.Partition], name)
		l.written[b.Partition] = false
	}
	l.mu.Unlock()
	err := q.WriteBatch(b)
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.batches[b.Partition]; err == nil && !l.frozen {
		l.batches[b.Partition] = k[len(k)-1:]
		l.written[b.Partition] = true
	}
	return err
}

// check compares what a new process finds with what is known: got are all records of the queue.
// What a process has found is as good as acknowledged for those that come after it. With strict
// nothing has failed but the machine.
func (l *ledger) check(got []Stored, recovered []RecoveredBatch, strict bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.compare(got, recovered, strict, strict); err != nil {
		return err
	}
	for _, r := range got {
		l.fates[int(r.Record.Timestamp)] = acked
	}
	for _, b := range recovered {
		l.batches[b.Partition] = []string{batchName(b.Batch, b.Records)}
		l.written[b.Partition] = true
	}
	return nil
}

func (l *ledger) compare(got []Stored, recovered []RecoveredBatch, strict, exact bool) error {
	seen := map[int]bool{}
	note := func(r Stored) error {
		n := int(r.Record.Timestamp)
		if fmt.Sprintf("%#v", record(n)) != fmt.Sprintf("%#v", r.Record) {
			return fmt.Errorf("record %d is not what was appended", n)
		}
		if seen[n] {
			return fmt.Errorf("record %d is there twice", n)
		}
		seen[n] = true
		if f, ok := l.fates[n]; !ok || f == void || f == refused && strict {
			return fmt.Errorf("record %d is there although it was reported as not stored", n)
		}
		return nil
	}
	last := -1
	for _, r := range got {
		if err := note(r); err != nil {
			return err
		}
		if n := int(r.Record.Timestamp); n < last {
			return fmt.Errorf("record %d is behind %d", n, last)
		} else {
			last = n
		}
	}
	partitions := map[int32]bool{}
	for _, b := range recovered {
		for _, r := range b.Records {
			if err := note(r); err != nil {
				return err
			}
		}
		if partitions[b.Partition] {
			return fmt.Errorf("two batches of partition %d", b.Partition)
		}
		partitions[b.Partition] = true
		name := batchName(b.Batch, b.Records)
		if !slices.Contains(l.batches[b.Partition], name) {
			return fmt.Errorf("batch %q was recovered, written were %q", name, l.batches[b.Partition])
		}
	}
	for p, names := range l.batches {
		if l.written[p] && !partitions[p] && !l.closed[names[len(names)-1]] {
			return fmt.Errorf("batch %q was not recovered", names)
		}
		if exact && l.written[p] && !partitions[p] {
			for _, n := range strings.Fields(names[len(names)-1])[4:] {
				if n, _ := strconv.Atoi(n); seen[n] {
					return fmt.Errorf("record %d of batch %q came back without it", n, names)
				}
			}
		}
	}
	for n, f := range l.fates {
		if f == acked && !seen[n] {
			return fmt.Errorf("record %d was acknowledged and is lost", n)
		}
		if f == asked && seen[n] != seen[l.groups[n]] && l.fates[l.groups[n]] == asked {
			return fmt.Errorf("records %d and %d were appended together, and only one is there", l.groups[n], n)
		}
	}
	return nil
}

// work is what a process does with a spool until the machine ends: it appends, sends batches,
// and is done with most.
func (l *ledger) work(s *Spool, rounds int, stop func() bool) {
	q := s.Queue("destination", "topic")
	var inFlight [2][]Stored
	sequence := int32(s.directory.id % 1000)
	for round := range rounds {
		for range 2 {
			_ = l.put(s, q, 1+round%3)
			if stop() {
				return
			}
		}
		p := round % 2
		if len(inFlight[p]) > 0 {
			l.acknowledge(q, int32(p), inFlight[p])
			inFlight[p] = nil
		}
		stored, _ := q.Next(3, 1<<20)
		if len(stored) == 0 {
			continue
		}
		sequence += int32(len(stored))
		if l.send(q, Batch{Partition: int32(p), ProducerID: int64(s.directory.id), Sequence: sequence}, stored) != nil {
			l.done(q, stored) // sent without a batch
			continue
		}
		inFlight[p] = stored
	}
}

// acknowledge is done with the last batch of a partition.
func (l *ledger) acknowledge(q *Queue, partition int32, stored []Stored) {
	l.mu.Lock()
	if !l.frozen {
		for _, n := range l.batches[partition] {
			l.closed[n] = true
		}
	}
	l.mu.Unlock()
	l.done(q, stored)
}

// drain returns all that a spool has.
func drain(t testing.TB, s *Spool) ([]Stored, []RecoveredBatch) {
	q := s.Queue("destination", "topic")
	r := q.Unacknowledged()
	var out []Stored
	for {
		n, err := q.Next(3, 1<<20)
		if err != nil && !errors.Is(err, errDead) {
			t.Error(err)
		}
		if len(n) == 0 {
			return out, r
		}
		out = append(out, n...)
	}
}

// A process that ends at any operation on a file, by a kill or a power failure, leaves each
// record that was acknowledged, in order, and each batch that was sent, as it was sent. So does
// a second one that ends while it adopts what the first has left.
func TestEndAtEachOperation(t *testing.T) {
	seed := testSeed(t)
	for _, e := range []end{killed, powerLoss, powerLossR, anyEnd} {
		t.Run(e.String(), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, uint64(e)))
			ran := true
			for k := 1; ran && k < 1000; k++ {
				ran = endAt(t, k, e, random)
				if t.Failed() {
					return
				}
			}
		})
	}
}

var simOptions = Options{Dir: "/spool", Log: quiet, segmentSize: headSize + 3000}

// endAt ends a machine at operation k, and the next one at another. It reports whether there
// was an operation k.
func endAt(t *testing.T, k int, e end, random *rand.Rand) bool {
	l := newLedger()
	fs := newSimFS()
	for generation := range 3 {
		at := k
		if generation > 0 {
			at = 1 + random.IntN(40)
		}
		fs.fault = func(op simOp) (int, error) {
			if op.number == at {
				l.freeze()
				if op.what == "write" && op.size > 0 {
					return random.IntN(op.size + 1), errDead
				}
				return 0, errDead
			}
			return -1, nil
		}
		if generation == 2 {
			fs.fault = nil
		}
		o := simOptions
		o.FS = fs
		s, err := Open(o)
		if err != nil {
			if !errors.Is(err, errDead) {
				t.Error(err)
				return false
			}
		} else {
			until(t, "read", func() bool { return !s.Stats().Reading })
			if generation == 0 {
				l.work(s, 12, func() bool { return false })
			} else {
				got, recovered := drain(t, s)
				fs.mu.Lock()
				dead := fs.dead
				fs.mu.Unlock()
				if !dead {
					if err := l.check(got, recovered, true); err != nil {
						t.Errorf("k=%d, generation %d (end at %d): %v\n%v", k, generation, at, err, fs.trace)
						return false
					}
				}
				if generation == 1 && !dead {
					for _, b := range recovered {
						q := s.Queue("destination", "topic")
						l.acknowledge(q, b.Partition, b.Records)
					}
					if len(got) > 3 {
						l.done(s.Queue("destination", "topic"), got[:3])
					}
					_ = l.put(s, s.Queue("destination", "topic"), 2)
				}
			}
			s.Close()
		}
		ended := fs.dead
		if generation == 0 && !ended {
			return false
		}
		fs = fs.after(e, random)
		l.frozen = false
	}
	return true
}

// A write, an fsync or another operation that fails, or several in a row, loses no record that
// was acknowledged, and what was reported as not stored does not come back: not at all if the
// file could be cut, else not after the next record was stored.
func TestAFailureOfEachOperation(t *testing.T) {
	seed := testSeed(t)
	for _, burst := range []int{1, 2, 5} {
		for _, e := range []end{killed, powerLoss, powerLossR} {
			t.Run(fmt.Sprint(burst, " ", e), func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(seed, uint64(e)))
				for k := 5; k < 1000 && failAt(t, k, burst, e, random); k++ {
				}
			})
		}
	}
}

// failAt fails the operations from k on, and reports whether there were any.
func failAt(t *testing.T, k, burst int, e end, random *rand.Rand) bool {
	l := newLedger()
	fs := newSimFS()
	fs.random = random
	failed := false
	fs.fault = func(op simOp) (int, error) {
		if op.number < k || op.number >= k+burst {
			return -1, nil
		}
		failed = true
		n := 0
		if op.what == "write" && op.size > 0 {
			n = random.IntN(op.size + 1)
		}
		if random.IntN(2) == 0 {
			return n, syscall.ENOSPC
		}
		return n, errIO
	}
	o := simOptions
	o.FS, o.backOff = fs, time.Microsecond
	s, err := Open(o)
	if err != nil {
		return true
	}
	goOn := random.IntN(2) == 0
	l.work(s, 12, func() bool {
		fs.mu.Lock()
		defer fs.mu.Unlock()
		return failed && !goOn
	})
	if q := s.Queue("destination", "topic"); goOn {
		until(t, "the spool takes records again", func() bool { return l.put(s, q, 1) == nil })
		if state := s.Stats(); state.State != OK {
			t.Errorf("k=%d: the state is %v", k, state.State)
		}
	}
	l.freeze()
	now := fs.after(e, random)
	s.Close()
	o.FS = now
	l.frozen = false
	if s, err = Open(o); err != nil {
		t.Error(err)
		return false
	}
	defer s.Close()
	until(t, "read", func() bool { return !s.Stats().Reading })
	got, recovered := drain(t, s)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.compare(got, recovered, burst == 1, false); err != nil {
		t.Errorf("k=%d: %v\n%v", k, err, fs.trace)
		return false
	}
	return failed
}

// While segments are removed, what is done with does not come back, but for a power failure
// the records of the one that is being removed.
func TestWhatIsDoneDoesNotComeBackWhileSegmentsAreRemoved(t *testing.T) {
	seed := testSeed(t)
	for _, e := range []end{killed, powerLoss, powerLossR} {
		random := rand.New(rand.NewPCG(seed, uint64(e)))
		for k := 0; k < 24; k++ {
			fs := newSimFS()
			o := simOptions
			o.FS = fs
			s := open(t, o)
			q := s.Queue("destination", "topic")
			for n := range 200 {
				mustPut(t, s, q, n, n+1)
			}
			got := take(t, q)
			first := 0
			fs.mu.Lock()
			fs.fault = func(op simOp) (int, error) {
				if first == 0 && op.what == "remove" {
					first = op.number
				}
				if first > 0 && op.number == first+k {
					return 0, errDead
				}
				return -1, nil
			}
			fs.mu.Unlock()
			q.Done(positions(got[:190]))
			until(t, "the machine is off, or the records are removed", func() bool {
				fs.mu.Lock()
				dead := fs.dead
				fs.mu.Unlock()
				return dead || s.Stats().Segments <= 1
			})
			now := fs.after(e, random)
			s.Close()
			o.FS = now
			s = open(t, o)
			back := take(t, s.Queue("destination", "topic"))
			segments := map[uint64]bool{}
			seen := 0
			for _, r := range back {
				if r.Record.Timestamp < 190 {
					segments[r.Position.segment] = true
				} else {
					seen++
				}
			}
			if len(segments) > 1 || e == killed && len(segments) > 0 || seen != 10 {
				t.Fatalf("%v, k=%d: records of %d segments came back, and %d that are not done with\n%v", e, k, len(segments), seen, fs.trace)
			}
			s.Close()
		}
	}
}

package producer

import (
	"context"
	"sync"
)

// Result is what became of a record.
type Result struct {
	Partition int32 // -1 if none was chosen, or Err is that of a context
	Offset    int64 // in the partition; -1 if it is not known: with acks 0, or an error
	Err       error // nil: acknowledged as configured
}

// waiter collects the results of records whose sender waits for them.
type waiter struct {
	done chan struct{} // closed with the last result

	mu      sync.Mutex
	missing int
	all     []delivery
	one     [1]delivery // saves the memory of all, for one record
}

// delivery is the result of one of the records, which it gets once.
type delivery struct {
	of       *waiter
	result   Result
	complete bool
}

// newWaiter returns the waiter for the records.
func newWaiter(records []sending) *waiter {
	w := &waiter{done: make(chan struct{}), missing: len(records)}
	if w.all = w.one[:]; len(records) > 1 {
		w.all = make([]delivery, len(records))
	}
	for i := range records {
		w.all[i].of = w
		records[i].delivery = &w.all[i]
	}
	return w
}

// set notes the result of a record.
func (d *delivery) set(r Result) {
	w := d.of
	w.mu.Lock()
	defer w.mu.Unlock()
	d.result, d.complete = r, true
	if w.missing--; w.missing == 0 {
		close(w.done)
	}
}

// wait waits for all results, or until ctx ends. The results that are missing then have its
// cause as their error.
func (w *waiter) wait(ctx context.Context, results []Result) {
	select {
	case <-w.done:
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.all {
		results[i] = w.all[i].result
		if !w.all[i].complete {
			results[i] = Result{-1, -1, context.Cause(ctx)}
		}
	}
}

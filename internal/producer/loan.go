package producer

import (
	"sync/atomic"

	"github.com/segmentio/kafka-go"

	"kafka-upstream/internal/values"
)

// The memory of values is lent (Record.Lent), and goes back when their batch was
// delivered. But an attempt that has ended without an answer, by a timeout for one,
// leaves its request with a connection that may not have begun to read the values,
// and the batch may be delivered by another one meanwhile. So each such end is the
// end of a loan: whatever was accepted before is left to the garbage collector. What
// was accepted later cannot have been in that request.

// loan is that of all values that were accepted between two such ends.
type loan struct{ over atomic.Bool }

// ticket is what a message keeps of its record, in Message.WriterData. Messages that
// would keep the same share one.
type ticket struct {
	loan *loan      // of the value's memory; nil: it was not lent
	fate chan error // for the sender that waits; nil: none does
}

var noTicket ticket

func newLoan() *ticket { return &ticket{loan: new(loan)} }

// endLoan is called when an attempt has ended without an answer, before anything
// else becomes of its batch. The loan is marked before another one takes its place, so
// one that is not the current one is over, at any moment: several attempts may end at
// once, and each has to find over whatever its batch has.
func (t *transport) endLoan() {
	current := t.loans.Load()
	current.loan.over.Store(true)
	t.loans.CompareAndSwap(current, newLoan()) // else another attempt has done it
}

// giveBack gives back the memory of values whose batch was delivered.
func giveBack(messages []kafka.Message) {
	for i := range messages {
		m := &messages[i]
		if l := m.WriterData.(*ticket).loan; l != nil && !l.over.Load() {
			values.Free(m.Value)
			m.Value = nil
		}
	}
}

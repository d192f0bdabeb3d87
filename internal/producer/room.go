package producer

import "sync/atomic"

// amount is a number of records and the bytes of their keys and values, in one word,
// so that both change at once: 24 bits for the records, of which a configuration
// allows 10 000 000, and 40 for the bytes.
type amount uint64

const (
	byteBits  = 40
	maxAmount = amount(1<<byteBits - 1) // of bytes
)

func amountOf(records int, bytes int64) amount { return amount(records)<<byteBits + amount(bytes) }

func (a amount) records() int64 { return int64(a >> byteBits) }
func (a amount) bytes() int64   { return int64(a & maxAmount) }

// room is the buffer's. It is taken before a record goes into the buffer, and given
// back when the record's fate is known. The limits are exact: they are never passed,
// and nobody is refused who fits.
type room struct {
	taken atomic.Uint64 // an amount
	limit amount
}

func newRoom(records int, bytes int64) room {
	return room{limit: amountOf(records, min(bytes, int64(maxAmount)))}
}

// take takes room for one record, and reports whether there was any.
func (r *room) take(bytes int64) bool {
	for {
		old := amount(r.taken.Load())
		if old.records() >= r.limit.records() || old.bytes()+bytes > r.limit.bytes() {
			return false
		}
		if r.taken.CompareAndSwap(uint64(old), uint64(old+amountOf(1, bytes))) {
			return true
		}
	}
}

// giveBack gives back what was taken.
func (r *room) giveBack(a amount) { r.taken.Add(-uint64(a)) }

// used is what is taken.
func (r *room) used() amount { return amount(r.taken.Load()) }

package sandbox

import (
	"context"
	"errors"
	"time"

	glua "github.com/yuin/gopher-lua"
)

// Limits bound each Run and each Call.
type Limits struct {
	// Instructions of Lua's virtual machine. Functions written in Go count as many as
	// their work is worth.
	Instructions int
	// Bytes that strings, tables, functions and coroutines made in the call may take
	// together, whether or not they are still in use.
	Bytes int64
	// Time is a second line behind Instructions, for what these measure badly, such as the
	// comparison of long strings. 0: none. It is the time of the clock, not of the
	// processor: set it several times longer than any honest call takes.
	Time time.Duration
}

var (
	errInstructions = errors.New("the function did more work than it may")
	errBytes        = errors.New("the function used more memory than it may")
	errTime         = errors.New("the function took longer than it may")
)

const (
	// clockEvery is the number of instructions between two looks at the clock.
	clockEvery = 64
	// longString is a length in bytes from which on one instruction can take noticeably
	// long, so that the clock is looked at more often.
	longString = 64 << 10
)

// budget is what a call has left. It is the context of the state and of its coroutines: the
// virtual machine calls Done before each instruction, which counts them, and raises Err
// when the channel that Done returns is closed.
type budget struct {
	left    int   // instructions
	clockAt int   // look at the clock when fewer are left
	bytes   int64 // left
	every   int   // instructions between two looks at the clock
	start   time.Time
	spent   error // not nil: each further instruction fails
	isLong  bool  // OnLongCall's function was called

	state *State
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (b *budget) reset() {
	l := &b.state.limits
	b.left, b.bytes, b.every, b.spent, b.isLong = l.Instructions, l.Bytes, clockEvery, nil, false
	b.clockAt = max(b.left-b.every, 0)
	if l.Time > 0 {
		b.start = time.Now()
	}
}

// Done counts an instruction.
func (b *budget) Done() <-chan struct{} {
	if b.left--; b.left >= b.clockAt {
		return nil
	}
	return b.look()
}

// look sees whether the budget is spent.
func (b *budget) look() <-chan struct{} {
	switch l := &b.state.limits; {
	case b.spent != nil:
	case b.bytes < 0:
		b.spent = errBytes
	case b.left < 0:
		b.spent = errInstructions
	case l.Time > 0 && time.Since(b.start) > l.Time:
		b.spent = errTime
	default:
		if f := b.state.onLong; f != nil && !b.isLong && b.left < l.Instructions-longCall {
			b.isLong = true
			f()
		}
		b.clockAt = max(b.left-b.every, 0)
		return nil
	}
	b.left, b.clockAt = -1, 0
	return closed
}

// charge takes work and bytes, and reports whether there was enough.
func (b *budget) charge(work int, bytes int64) bool {
	if work > b.left {
		work = b.left + 1
	}
	b.left -= work
	if bytes > b.bytes {
		bytes = b.bytes + 1
	}
	b.bytes -= bytes
	if bytes >= longString {
		b.long(bytes)
	}
	return b.left >= b.clockAt && b.bytes >= 0 || b.look() == nil
}

// long makes the clock be looked at more often, for a string of so many bytes.
func (b *budget) long(bytes int64) {
	every := max(int(clockEvery*longString/4/bytes), 1)
	if every < b.every {
		b.every = every
		b.clockAt = max(b.clockAt, b.left-every)
	}
}

func (b *budget) Deadline() (time.Time, bool) { return time.Time{}, false }
func (b *budget) Err() error                  { return b.spent }
func (b *budget) Value(any) any               { return nil }

var _ context.Context = (*budget)(nil)

func budgetOf(l *glua.LState) *budget { return l.Context().(*budget) }

// Charge takes work, in instructions, and bytes from what the running call has left. A
// function written in Go calls it before it works or makes anything whose size a script
// decides. When the budget is spent, Charge does not return: it raises an error that
// scripts cannot catch.
func Charge(l *glua.LState, work int, bytes int64) {
	if b := budgetOf(l); !b.charge(work, bytes) {
		l.RaiseError("%s", b.spent)
	}
}

// chargeText charges for a pass over n bytes that makes a string of size bytes.
func chargeText(l *glua.LState, n int, size int64) { Charge(l, 1+n/128, 16+size) }

// chargeNumber charges for writing a number: one with a fraction or an exponent takes several
// times as long as a whole one.
func chargeNumber(l *glua.LState, f float64) {
	if isShort(f) {
		Charge(l, 1, 32)
	} else {
		Charge(l, 6, 32)
	}
}

package producer

import (
	"encoding/binary"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

func newLine() *line {
	l := new(line)
	l.init()
	return l
}

// stand puts records of a sender into a line.
func stand(l *line, sender, from, to uint32) {
	for i := from; i < to; i++ {
		r := Record{Topic: "t", Value: binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, sender), i)}
		l.announce(amountOf(1, 8))
		l.put(&r, time.Now(), int32(i), &noTicket)
	}
}

func number(value []byte) (sender, n uint32) {
	return binary.BigEndian.Uint32(value), binary.BigEndian.Uint32(value[4:])
}

func TestLineGivesRecordsInTheOrderOfArrival(t *testing.T) {
	for _, n := range []uint32{0, 1, 2, chunkSize - 1, chunkSize, chunkSize + 1, 10*chunkSize + 7} {
		l := newLine()
		stand(l, 0, 0, n)
		if a := l.amount(); a != amountOf(int(n), 8*int64(n)) || (l.first() == nil) != (n == 0) {
			t.Errorf("%d records, %d bytes of %d", a.records(), a.bytes(), n)
		}
		messages := make([]kafka.Message, n+5)
		half := l.take(messages, func(i *item) bool { return i.round < int32(n/2) })
		if half != int(n/2) {
			t.Errorf("%d of %d were taken, not %d", half, n, n/2)
		}
		stand(l, 0, n, n+3)
		taken := half
		for taken < int(n+3) {
			m := l.take(messages[taken:][:min(50, len(messages)-taken)], nil)
			if m == 0 {
				t.Fatalf("%d records came out of %d", taken, n+3)
			}
			taken += m
		}
		for i, m := range messages[:taken] {
			if _, is := number(m.Value); is != uint32(i) {
				t.Fatalf("record %d is %d", i, is)
			}
		}
		if l.take(messages, nil) != 0 || l.first() != nil || l.amount() != 0 {
			t.Errorf("%d records are left", l.amount().records())
		}
	}
}

// TestLineLosesNobodyAndKeepsEachSendersOrder has senders put records while they are
// taken.
func TestLineLosesNobodyAndKeepsEachSendersOrder(t *testing.T) {
	const senders, each = 8, 20_000
	l := newLine()
	var wg sync.WaitGroup
	for s := range uint32(senders) {
		wg.Go(func() { stand(l, s, 0, each) })
	}
	var next [senders]uint32
	var messages [100]kafka.Message
	for came := 0; came < senders*each; {
		n := l.take(messages[:], nil)
		if n == 0 {
			runtime.Gosched()
		}
		for _, m := range messages[:n] {
			s, i := number(m.Value)
			if next[s] != i {
				t.Fatalf("record %d of sender %d came where %d was due", i, s, next[s])
			}
			next[s]++
		}
		came += n
	}
	wg.Wait()
	if l.first() != nil || l.amount() != 0 {
		t.Errorf("%d records are left", l.amount().records())
	}
}

// TestLineWaitsForASenderWhoHasAPlace: those behind must not pass by.
func TestLineWaitsForASenderWhoHasAPlace(t *testing.T) {
	l := newLine()
	slow := l.place()
	stand(l, 0, 0, 2*chunkSize)
	var messages [3 * chunkSize]kafka.Message
	if n := l.take(messages[:], nil); n != 0 {
		t.Fatalf("%d passed by", n)
	}
	slow.there.Store(true)
	if n := l.take(messages[:], nil); n != 2*chunkSize+1 {
		t.Errorf("%d were taken", n)
	}
}

// TestLateSenderFindsAChunkFull: one that has left the line takes nothing more in.
func TestLateSenderFindsAChunkFull(t *testing.T) {
	l := newLine()
	old := l.tail.Load()
	stand(l, 0, 0, 3*chunkSize)
	var messages [4 * chunkSize]kafka.Message
	l.take(messages[:], nil)
	now := l.tail.Load()
	l.tail.Store(old) // as he sees it
	stand(l, 0, 7, 8)
	if n := l.take(messages[:], nil); n != 1 || l.tail.Load() != now && l.tail.Load() != now.next.Load() {
		t.Errorf("%d were taken", n)
	}
}

func TestTakenRecordsAreNotHeld(t *testing.T) {
	l := newLine()
	stand(l, 0, 0, 5)
	var messages [2]kafka.Message
	l.take(messages[:], nil)
	for n := range 5 {
		i := &l.head.items[n]
		if (i.value == nil) != (n < 2) || n < 2 && (i.ticket != nil || i.key != nil) {
			t.Errorf("record %d: %q is held", n, i.value)
		}
	}
}

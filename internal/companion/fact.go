package companion

import (
	"errors"
	"fmt"
	"math"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/request"
)

// A fact's value begins with one of these bytes.
const (
	factNil    = 0
	factFalse  = 1
	factTrue   = 2
	factNumber = 3 // a float64
	factText   = 4 // a length (uint32) and bytes
	factList   = 5 // how many (uint32), and the values
	factMap    = 6 // how many (uint32), and for each a text and a value
)

// maxDepth bounds how deep lists and maps are nested in a fact.
const maxDepth = 100

// About how many bytes a value takes beside its text, in an interface, a list or a map, with
// what growing the list or the map leaves to the garbage collector.
const (
	valueSize = 48
	entrySize = 80  // beside the value
	mapSize   = 320 // with room for its first entries
)

// factsFree is how much memory the facts of a request may take without being counted against
// the memory limit, and factsStep how much is reserved at once beyond that.
const (
	factsFree = 4 << 10
	factsStep = 16 << 10
)

// factReader makes values of facts, and reserves the memory for them before they are made: a
// few bytes can mean a hundred times as many.
type factReader struct {
	reader
	reserve func(bytes int64) bool
	free    int64 // reserved and not used
	err     error // memory.ErrFull, or of a value that is nested too deep
}

var errDepth = errors.New("lists and maps are nested too deep")

// readFacts appends to r.Facts the values of these facts. The error is [memory.ErrFull], or
// that of bytes that are no facts.
func readFacts(b []byte, facts []request.Fact, reserve func(int64) bool, r *request.Request) error {
	if len(facts) == 0 {
		return nil
	}
	m := factReader{reader: reader{b: b}, reserve: reserve, free: factsFree}
	for _, f := range facts {
		r.Facts = append(r.Facts, request.FactValue{Fact: f, Value: m.value(maxDepth)})
	}
	if m.err == nil {
		m.err = m.reader.err("list of facts")
	}
	return m.err
}

// fail has nothing more read.
func (m *factReader) fail(err error) any {
	if m.err == nil {
		m.err = err
	}
	m.failed, m.b = true, nil
	return nil
}

func (m *factReader) take(bytes int) bool {
	if m.free -= int64(bytes); m.free < 0 {
		more := factsStep - m.free
		if !m.reserve(more) {
			m.fail(memory.ErrFull)
			return false
		}
		m.free += more
	}
	return true
}

// value reads a value in which lists and maps are nested up to that depth.
func (m *factReader) value(depth int) any {
	switch tag := m.uint8(); {
	case m.failed, tag == factNil:
		return nil
	case tag == factFalse, tag == factTrue:
		return tag == factTrue
	case tag == factNumber:
		if !m.take(valueSize) {
			return nil
		}
		return math.Float64frombits(m.uint64())
	case tag == factText:
		return m.string()
	case depth == 0:
		return m.fail(errDepth)
	case tag == factList:
		n := int(m.uint32())
		if n > len(m.b) { // a value is at least one byte
			return m.fail(errFrame)
		}
		list := []any{}
		for range n {
			if m.failed || !m.take(valueSize) {
				return nil
			}
			list = append(list, m.value(depth-1))
		}
		return list
	case tag == factMap:
		n := int(m.uint32())
		if n > len(m.b) {
			return m.fail(errFrame)
		}
		if !m.take(mapSize) {
			return nil
		}
		table := map[string]any{}
		for range n {
			name := m.text()
			if m.failed || !m.take(entrySize+len(name)) {
				return nil
			}
			table[string(name)] = m.value(depth - 1)
		}
		return table
	default:
		return m.fail(fmt.Errorf("%w: a fact begins with %d", errFrame, tag))
	}
}

func (m *factReader) string() any {
	b := m.text()
	if m.failed || !m.take(valueSize+len(b)) {
		return nil
	}
	return string(b)
}

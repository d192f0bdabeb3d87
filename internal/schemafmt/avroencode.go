package schemafmt

import (
	"encoding/binary"
	"slices"
	"sync"
	"unicode/utf8"
)

type avroEncoder struct {
	root *avroNode
	o    Options
}

func (e *avroEncoder) Index() []int { return nil }

func (e *avroEncoder) AppendJSON(dst, doc []byte) ([]byte, error) {
	w := avroWalks.Get().(*avroWalk)
	defer w.free()
	if wrong := w.read(doc, e.o.MaxDepth); wrong != "" {
		return dst, &FitError{Reason: wrong}
	}
	w.begin(dst, len(doc), &e.o)
	if !w.append(e.root, 0) || !w.spend(0) {
		return dst, w.fault.error()
	}
	return w.dst, nil
}

func (e *avroEncoder) AppendText(dst, text []byte) ([]byte, error) {
	branches := []*avroNode{e.root}
	if e.root.kind == avroUnion {
		branches = e.root.branches
	}
	for i, b := range branches {
		before := dst
		if e.root.kind == avroUnion {
			before = binary.AppendVarint(dst, int64(i))
		}
		switch b.kind {
		case avroString:
			if !utf8.Valid(text) {
				return dst, &FitError{Reason: "must be UTF-8"}
			}
			return appendText(before, text), nil
		case avroBytes:
			return appendText(before, text), nil
		case avroFixed:
			if len(text) == b.size {
				return append(before, text...), nil
			}
		case avroEnum:
			if symbol, ok := b.byName[string(text)]; ok {
				return binary.AppendVarint(before, int64(symbol)), nil
			}
		}
	}
	return e.AppendJSON(dst, text)
}

func appendText(dst, s []byte) []byte {
	return append(binary.AppendVarint(dst, int64(len(s))), s...)
}

// avroWalk encodes one document.
type avroWalk struct {
	binaryWalk
	ignored int // how many members there were that are no fields
}

var avroWalks = sync.Pool{New: func() any { return new(avroWalk) }}

func (w *avroWalk) free() {
	if w.end() {
		avroWalks.Put(w)
	}
}

// append encodes the value at a position of the tape. If it returns false, fault says why.
func (w *avroWalk) append(n *avroNode, at uint32) bool {
	if !w.spend(1) {
		return false
	}
	v := &w.values[at]
	switch n.kind {
	case avroString:
		if v.kind != jsonText {
			return w.fail("must be a string", "")
		}
		w.dst = appendText(w.dst, w.chars(v))
		return true
	case avroInt, avroLong:
		return w.integer(n, v)
	case avroFloat, avroDouble:
		return w.float(n, v)
	case avroRecord:
		return w.record(n, at)
	case avroUnion:
		return w.union(n, at)
	case avroArray:
		return w.array(n, at)
	case avroMap:
		return w.mapping(n, at)
	case avroBoolean:
		if v.kind != jsonTrue && v.kind != jsonFalse {
			return w.fail("must be true or false", "")
		}
		var b byte
		if v.kind == jsonTrue {
			b = 1
		}
		w.dst = append(w.dst, b)
		return true
	case avroEnum:
		if v.kind != jsonText {
			return w.fail("must be a string, a symbol of the enum", n.name)
		}
		symbol, ok := n.byName[string(w.chars(v))]
		if !ok {
			return w.fail("must be a symbol of the enum", n.name)
		}
		w.dst = binary.AppendVarint(w.dst, int64(symbol))
		return true
	case avroBytes, avroFixed:
		return w.bytes(n, v)
	}
	if v.kind != jsonNull {
		return w.fail("must be null", "")
	}
	return true
}

func (w *avroWalk) array(n *avroNode, at uint32) bool {
	v := w.values[at]
	if v.kind != jsonArray {
		return w.fail("must be an array", "")
	}
	count := 0
	for i := at + 1; i < v.next; i = w.values[i].next {
		count++
	}
	w.work -= count / 16
	if count > 0 {
		w.dst = binary.AppendVarint(w.dst, int64(count))
	}
	index := 0
	for i := at + 1; i < v.next; i = w.values[i].next {
		if !w.append(n.item, i) {
			return w.fault.inItem(index)
		}
		index++
	}
	w.dst = append(w.dst, 0)
	return true
}

func (w *avroWalk) mapping(n *avroNode, at uint32) bool {
	v := w.values[at]
	if v.kind != jsonObject {
		return w.fail("must be an object", "")
	}
	count := 0
	for i := at + 1; i < v.next; i = w.values[i+1].next {
		count++
	}
	w.work -= count / 16
	if count > 0 {
		w.dst = binary.AppendVarint(w.dst, int64(count))
	}
	for i := at + 1; i < v.next; i = w.values[i+1].next {
		w.dst = appendText(w.dst, w.chars(&w.values[i]))
		if !w.append(n.item, i+1) {
			return w.fault.in(foreignName)
		}
	}
	w.dst = append(w.dst, 0)
	return true
}

// record encodes the fields in their order in the schema. Of members with equal names the
// last is taken.
func (w *avroWalk) record(n *avroNode, at uint32) bool {
	v := w.values[at]
	if v.kind != jsonObject {
		return w.fail("must be an object, the record", n.name)
	}
	if !w.spend(len(n.fields) / 8) { // filling in is cheap
		return false
	}
	base := w.reserve(len(n.fields))
	expected := 0
	for i := at + 1; i < v.next; i = w.values[i+1].next {
		f := w.field(n, &w.values[i], expected)
		if f >= 0 {
			w.slots[base+f] = i + 1
			expected = f + 1
		} else if w.strict {
			return w.fail("has a member that is not a field of the record", n.name)
		} else {
			w.ignored++
		}
		w.work--
	}
	for i := range n.fields {
		f := &n.fields[i]
		if value := w.slots[base+i]; value != 0 {
			if !w.append(f.node, value) {
				return w.fault.in(f.name)
			}
		} else if f.must {
			return w.fail("lacks the field", f.name)
		} else {
			w.dst = append(w.dst, f.missing...)
		}
	}
	w.slots = w.slots[:base]
	return true
}

// field returns which field has that name, or -1. Fields mostly come in their order.
func (w *avroWalk) field(n *avroNode, name *value, expected int) int {
	s := w.chars(name)
	if expected < len(n.fields) && string(s) == n.fields[expected].name {
		return expected
	}
	if i, ok := n.byName[string(s)]; ok {
		return i
	}
	return -1
}

// union encodes null as the null branch, an object whose one member is called as a branch as
// that branch, and everything else as the first branch that it fits. Of several records and
// maps it is the first of those that ignore the fewest members: a record whose fields all have
// defaults would take any object, and drop what is in it. An object that does not fit the
// branch that its member is called as may still fit a record or a map.
func (w *avroWalk) union(n *avroNode, at uint32) bool {
	v := w.values[at]
	if v.kind == jsonNull {
		if n.null < 0 {
			return w.fail("must not be null", "")
		}
		w.dst = binary.AppendVarint(w.dst, int64(n.null))
		return true
	}
	var tagged fault
	if v.kind == jsonObject && at+1 < v.next && w.values[at+2].next == v.next {
		if branch, ok := n.tags[string(w.chars(&w.values[at+1]))]; ok {
			if w.try(n, branch, at+2) {
				return true
			}
			w.fault.in(n.branches[branch].name)
			if w.exhausted {
				return false
			}
			tagged = w.fault.copy()
			w.work -= len(tagged.path) / 8
		}
	}
	tried, size, ignored := 0, len(w.dst), w.ignored
	var lossy []byte // the branch that fits and ignores the fewest members
	fewest := 0
	for i, b := range n.branches {
		if !b.takes(v.kind, n) {
			continue
		}
		tried++
		if w.try(n, i, at) {
			if w.ignored == ignored || !n.hasBranchAfter(i, v.kind) && lossy == nil {
				return true
			}
			if n := w.ignored - ignored; (lossy == nil || n < fewest) && w.spend(len(w.dst[size:])/8) {
				lossy, fewest = append(lossy[:0], w.dst[size:]...), n
			}
			w.dst, w.ignored = w.dst[:size], ignored
		}
		if w.exhausted {
			return false
		}
	}
	switch {
	case lossy != nil:
		w.dst = append(w.dst, lossy...)
		w.ignored += fewest
		return true
	case tagged.reason != "":
		w.fault = tagged
	case tried != 1: // of one branch the fault is known, and perhaps deeper
		return w.fail("must fit a branch of the union of", n.name)
	}
	return false
}

// try encodes the value as a branch. If that fails, it restores everything but the fault.
func (w *avroWalk) try(n *avroNode, branch int, at uint32) bool {
	size, slots, ignored := len(w.dst), len(w.slots), w.ignored
	w.dst = binary.AppendVarint(w.dst, int64(branch))
	if w.append(n.branches[branch], at) {
		return true
	}
	w.dst, w.slots, w.ignored = w.dst[:size], w.slots[:slots], ignored
	return false
}

// hasBranchAfter reports whether another branch of the union than that one and those before it
// is tried for a value of that kind.
func (n *avroNode) hasBranchAfter(branch int, k kind) bool {
	return slices.ContainsFunc(n.branches[branch+1:], func(b *avroNode) bool { return b.takes(k, n) })
}

// takes reports whether a branch is tried for a value of that kind. A string is a number that
// JSON cannot write only where it can be nothing else.
func (b *avroNode) takes(k kind, union *avroNode) bool {
	switch b.kind {
	case avroString, avroEnum:
		return k == jsonText
	case avroBytes, avroFixed:
		return k == jsonText || k == jsonNumber && b.logical == "decimal"
	case avroFloat, avroDouble:
		if k == jsonText {
			for _, other := range union.branches {
				if other.kind == avroString || other.kind == avroEnum || other.kind == avroBytes || other.kind == avroFixed {
					return false
				}
			}
			return true
		}
		return k == jsonNumber
	case avroInt, avroLong:
		return k == jsonNumber
	case avroBoolean:
		return k == jsonTrue || k == jsonFalse
	case avroArray:
		return k == jsonArray
	case avroMap, avroRecord:
		return k == jsonObject
	}
	return false
}

package jsonmsg

import (
	"bytes"
	"hash/maphash"
	"slices"
	"sync"
	"unicode/utf8"
)

// valueKind is how the value of a member is written.
type valueKind uint8

const (
	formValue   valueKind = iota // form-encoded
	trueValue                    // true, whatever the bytes
	bytesValue                   // with U+FFFD for what is not UTF-8
	latin1Value                  // as ISO-8859-1 if it is not UTF-8
)

// member is one name and value. Members of one name form a chain from the first.
type member struct {
	name  []byte // valid UTF-8
	value []byte
	next  int32 // place of the next member of that name, 0 if there is none
	last  int32 // in the first member of a name: place of the last one; else -1
	kind  valueKind
}

// object collects names and values and becomes a JSON object with each name
// once, in order of first arrival, and an array where a name came repeatedly.
//
// The bytes it is given are not copied: it lives for one call of Append.
type object struct {
	members []member
	// index finds the first member of a name, by hash with open addressing;
	// it holds places plus one. It is empty as long as there are few members.
	index []int32
	// text holds names that had to be changed, and each value while it is
	// written. Slices of it stay good when it moves.
	text []byte
}

// fewMembers is how many members are compared one by one; above, a hostile
// client's distinct names would cost the square of their number.
const fewMembers = 16

// keepText is the most text an object takes along to its next use.
const keepText = 64 << 10

var objects = sync.Pool{New: func() any { return new(object) }}

func newObject() *object { return objects.Get().(*object) }

func (o *object) free() {
	clear(o.members) // they hold bytes of the request
	o.members, o.index, o.text = o.members[:0], o.index[:0], o.text[:0]
	if cap(o.text) > keepText {
		o.text = nil
	}
	objects.Put(o)
}

// add adds a member. name is kept until appendTo, as is value.
func (o *object) add(name, value []byte, kind valueKind) {
	place := int32(len(o.members))
	m := member{name: name, value: value, last: place, kind: kind}
	if first := o.find(name, place); first < place {
		o.members[o.members[first].last].next = place
		o.members[first].last = place
		m.last = -1
	}
	o.members = append(o.members, m)
}

// find returns the place of the first member with that name. If there is none,
// it returns place, where the caller is about to put it.
func (o *object) find(name []byte, place int32) int32 {
	if place < fewMembers {
		for i := range o.members {
			if m := &o.members[i]; m.last >= 0 && bytes.Equal(m.name, name) {
				return int32(i)
			}
		}
		return place
	}
	if len(o.index) < 2*(int(place)+1) {
		o.reindex()
	}
	slot := o.slot(name)
	if o.index[slot] == 0 {
		o.index[slot] = place + 1
	}
	return o.index[slot] - 1
}

// slot returns where name is in the index, or where it belongs.
func (o *object) slot(name []byte) int {
	mask := len(o.index) - 1
	for slot := int(maphash.Bytes(seed, name)) & mask; ; slot = (slot + 1) & mask {
		if at := o.index[slot]; at == 0 || bytes.Equal(o.members[at-1].name, name) {
			return slot
		}
	}
}

// reindex makes the index anew, a power of two at least four times the members.
func (o *object) reindex() {
	size := 4 * fewMembers
	for size < 4*len(o.members) {
		size *= 2
	}
	o.index = slices.Grow(o.index[:0], size)[:size]
	clear(o.index)
	for i := range o.members {
		if m := &o.members[i]; m.last >= 0 {
			o.index[o.slot(m.name)] = int32(i) + 1
		}
	}
}

// keep has write append to the object's text, and returns what it appended,
// which stays good until the object is freed.
func (o *object) keep(write func(text []byte) []byte) []byte {
	from := len(o.text)
	o.text = write(o.text)
	return o.text[from:len(o.text):len(o.text)]
}

// utf8Name returns name with one U+FFFD for each byte that is no part of UTF-8.
func (o *object) utf8Name(name []byte) []byte {
	if utf8.Valid(name) {
		return name
	}
	return o.keep(func(text []byte) []byte { return replaceInvalid(text, name) })
}

func (o *object) appendTo(dst []byte) []byte {
	dst = append(dst, '{')
	for i := range o.members {
		m := &o.members[i]
		if m.last < 0 {
			continue
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, m.name)
		dst = append(dst, ':')
		if m.next == 0 {
			dst = o.appendValue(dst, m)
			continue
		}
		dst = append(dst, '[')
		dst = o.appendValue(dst, m)
		for next := m.next; next != 0; next = o.members[next].next {
			dst = append(dst, ',')
			dst = o.appendValue(dst, &o.members[next])
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

func (o *object) appendValue(dst []byte, m *member) []byte {
	switch m.kind {
	case trueValue:
		return append(dst, "true"...)
	case formValue:
		from := len(o.text)
		dst = appendLossy(dst, o.decode(m.value))
		o.text = o.text[:from]
		return dst
	case latin1Value:
		return appendLatin1(dst, m.value)
	default:
		return appendLossy(dst, m.value)
	}
}

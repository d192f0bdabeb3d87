package schemafmt

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
)

// unique reports whether no two items of an array are equal.
func (w *jsonWalk) unique(at uint32) bool {
	v := w.values[at]
	if w.count(at) < 2 {
		return true
	}
	known := make(map[uint64]uint32)
	for i := at + 1; i < v.next; i = w.values[i].next {
		if !w.spend(int(w.values[i].next - i)) {
			return false
		}
		h := w.hash(i)
		for {
			other, ok := known[h]
			if !ok {
				break
			}
			if w.same(other, i) {
				return w.fail("must not have two items that are equal")
			}
			if !w.spend(1) {
				return false
			}
			h++
		}
		known[h] = i
	}
	return true
}

var hashSeed = maphash.MakeSeed() // a client cannot make hashes collide

// hash returns a hash that equal values share.
func (w *jsonWalk) hash(at uint32) uint64 {
	v := &w.values[at]
	h := uint64(v.kind) + 1
	switch v.kind {
	case jsonText:
		h += maphash.Bytes(hashSeed, w.chars(v)) << 1
	case jsonNumber:
		d := parseDecimal(w.scratch, w.raw(v))
		h += maphash.Bytes(hashSeed, d.digits)<<1 + uint64(d.exponent)*0x9e3779b97f4a7c15
	case jsonArray:
		for i := at + 1; i < v.next; i = w.values[i].next {
			h = h*0x9e3779b97f4a7c15 + w.hash(i)
		}
	case jsonObject: // in any order
		var sum uint64
		for i := at + 1; i < v.next; i = w.values[i+1].next {
			sum += (w.hash(i) ^ 0xff51afd7ed558ccd) * (w.hash(i+1) | 1)
		}
		h += sum
	}
	return h
}

// same reports whether two values are equal: numbers by what they are, and objects in any
// order.
func (w *jsonWalk) same(a, b uint32) bool {
	if !w.spend(1) {
		return false
	}
	x, y := &w.values[a], &w.values[b]
	if x.kind != y.kind {
		return false
	}
	switch x.kind {
	case jsonText:
		if !x.escaped && !y.escaped {
			return bytes.Equal(w.raw(x), w.raw(y))
		}
		return bytes.Equal(w.appendString(nil, x), w.appendString(nil, y))
	case jsonNumber:
		return sameNumber(w.raw(x), w.raw(y))
	case jsonArray:
		i, j := a+1, b+1
		for ; i < x.next && j < y.next; i, j = w.values[i].next, w.values[j].next {
			if !w.same(i, j) {
				return false
			}
		}
		return i >= x.next && j >= y.next
	case jsonObject:
		if w.count(a) != w.count(b) {
			return false
		}
		members := make(map[string]uint32)
		for j := b + 1; j < y.next; j = w.values[j+1].next {
			members[string(w.chars(&w.values[j]))] = j + 1
		}
		for i := a + 1; i < x.next; i = w.values[i+1].next {
			j, ok := members[string(w.chars(&w.values[i]))]
			if !ok || !w.same(i+1, j) {
				return false
			}
		}
	}
	return true
}

func sameNumber(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var scratchA, scratchB [64]byte
	x, y := parseDecimal(scratchA[:0], a), parseDecimal(scratchB[:0], b)
	return bytes.Equal(x.digits, y.digits) && x.exponent == y.exponent && (x.negative == y.negative || len(x.digits) == 0)
}

// equal reports whether a value is the schema's.
func (w *jsonWalk) equal(c *jsonConst, at uint32) bool {
	if !w.spend(1) {
		return false
	}
	v := &w.values[at]
	switch want := c.v.(type) {
	case nil:
		return v.kind == jsonNull
	case bool:
		return want && v.kind == jsonTrue || !want && v.kind == jsonFalse
	case string:
		return v.kind == jsonText && string(w.chars(v)) == want
	case json.Number:
		return v.kind == jsonNumber && sameNumber(w.raw(v), []byte(want))
	case []any:
		if v.kind != jsonArray || w.count(at) != len(want) {
			return false
		}
		index := 0
		for i := at + 1; i < v.next; i = w.values[i].next {
			if !w.equal(&c.list[index], i) {
				return false
			}
			index++
		}
		return true
	case map[string]any:
		if v.kind != jsonObject || w.count(at) != len(want) {
			return false
		}
		for i := at + 1; i < v.next; i = w.values[i+1].next {
			member, ok := c.has[string(w.chars(&w.values[i]))]
			if !ok || !w.equal(&member, i+1) {
				return false
			}
		}
		return true
	}
	return false
}

func (w *jsonWalk) inEnum(n *jsonNode, at uint32) bool {
	if v := &w.values[at]; v.kind == jsonText {
		return n.enumTexts[string(w.chars(v))]
	}
	for i := range n.enum {
		if w.equal(&n.enum[i], at) {
			return true
		}
	}
	return false
}

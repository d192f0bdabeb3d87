package jsonmsg

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"slices"
	"unicode/utf8"

	"kafka-upstream/internal/record/jsontext"
)

// nameStack finds the members of JSON objects whose name a later member of the
// same object has again.
//
// The time it takes is proportional to the length of the JSON, whatever the names
// and however deep they nest: names are hashed as they come, with a secret key, and
// compared only where hashes are equal; what is to be removed is marked in the
// text, and all of it is removed at the end. The memory it takes is about 8 bytes for
// each member of the objects that are open; the shortest member has 5 bytes.
type nameStack struct {
	// stack has one entry for each open level, which describes the level around it,
	// followed, if the level is an object, by an entry for each member so far.
	stack []nameEntry
	level int // where in stack the members of the innermost level begin
	size  int // of the text, about

	index   []uint32  // hash table with open addressing: numbers of members in their level, from one on
	taken   []uint64  // bit set of the slots that a name has, for distinctSlots
	twice   []uint64  // of those that a second name has
	repeats int       // how many names found their slot taken
	shift   int       // the slot of a name is its entry >> shift
	names   [2][]byte // decoded names
	marked  bool      // is anything marked?
}

// nameEntry is, for a member, the hash of its name in the upper 32 bits, and in the
// lower ones the offset of the member in the text. For a level, the lowest bit says
// whether the level around it is an object, the others where its members begin.
type nameEntry uint64

func (e nameEntry) hash() uint32 { return uint32(e >> 32) }
func (e nameEntry) offset() int  { return int(uint32(e)) }

// keepNames is how many entries are kept for another text, with the slots that so
// many need.
const keepNames = 1 << 14

func (n *nameStack) reset() {
	n.stack, n.level, n.marked = n.stack[:0], 0, false
	if cap(n.stack) > keepNames {
		n.stack = nil
	}
	if cap(n.index) > 4*keepNames || cap(n.taken) > keepNames {
		n.index, n.taken, n.twice = nil, nil, nil
	}
	if cap(n.names[0])+cap(n.names[1]) > keepNames {
		n.names = [2][]byte{}
	}
}

// open begins a level inside of one that is an object or is not.
func (n *nameStack) open(inObject bool) {
	around := nameEntry(n.level) << 1
	if inObject {
		around |= 1
	}
	n.stack = append(n.stack, around)
	n.level = len(n.stack)
}

// close ends the innermost level, and reports whether the one around it is an object.
func (n *nameStack) close() (inObject bool) {
	around := n.stack[n.level-1]
	n.stack = n.stack[:n.level-1]
	n.level = int(around >> 1)
	return around&1 == 1
}

// add records a member of the innermost level. offset is that of its name's opening
// quote.
func (n *nameStack) add(hash uint32, offset int) {
	n.stack = append(n.stack, nameEntry(hash)<<32|nameEntry(offset))
}

// grow makes room in the stack for what follows offset. If the stack is large, that
// is as many members as there will be if the text goes on as it was: to grow step by
// step would take several times the memory.
func (n *nameStack) grow(offset int) {
	more := 16
	if len(n.stack) >= keepNames {
		more += int(float64(len(n.stack)) * (float64(n.size)/float64(offset) - 1))
	}
	n.stack = slices.Grow(n.stack, more)
}

// distinctWord reports whether the names of the innermost level are known to differ. For
// the few names of a typical object, six bits of the hashes usually suffice.
func (n *nameStack) distinctWord() bool {
	level := n.stack[n.level:]
	if len(level) > 24 {
		return false // most likely
	}
	var seen uint64
	for _, e := range level {
		bit := uint64(1) << (e >> 58)
		if seen&bit != 0 {
			return false
		}
		seen |= bit
	}
	return true
}

// manyNames is how many names are looked for at once; more than that in 16 parts, one
// after the other, so that the tables stay in the processor's caches and are small
// beside the text.
const manyNames = 1 << 16

// distinctSlots is distinctWord with 16 to 32 slots for each name, for up to manyNames.
// If it reports false, the names that may not differ are those whose slot was taken twice.
func (n *nameStack) distinctSlots() bool {
	level := n.stack[n.level:]
	if len(level) > manyNames {
		return false
	}
	n.shift = 64 - bits.Len(uint(16*len(level)))
	words := 1<<(64-n.shift)/64 + 1
	n.taken = slices.Grow(n.taken[:0], words)[:words]
	n.twice = slices.Grow(n.twice[:0], words)[:words]
	clear(n.taken)
	clear(n.twice)
	n.repeats = 0
	for _, e := range level {
		slot := e >> n.shift
		word, bit := slot/64, uint64(1)<<(slot%64)
		if n.taken[word]&bit != 0 {
			n.twice[word] |= bit
			n.repeats++
		}
		n.taken[word] |= bit
	}
	return n.repeats == 0
}

// unique reports whether distinctSlots has shown that no other name of the level is that
// of e.
func (n *nameStack) unique(e nameEntry) bool {
	slot := e >> n.shift
	return n.twice[slot/64]>>(slot%64)&1 == 0
}

// markRepeated marks in text each member of the innermost level whose name a later
// member has. text holds that level up to its end, and distinctSlots has reported false.
func (n *nameStack) markRepeated(text []byte) {
	level := n.stack[n.level:]
	parts, slots := nameEntry(1), min(4*n.repeats, 2*len(level))
	if len(level) > manyNames {
		parts, slots = 16, manyNames/4
	}
	for part := range parts {
		index := n.clearIndex(slots)
		distinct := 0
		for i, e := range level {
			if parts > 1 && e>>60 != part || parts == 1 && n.unique(e) {
				continue
			}
			if 2*distinct >= len(index) {
				index = n.growIndex(level)
			}
			slot := int(e.hash()) & (len(index) - 1)
			for ; index[slot] != 0; slot = (slot + 1) & (len(index) - 1) {
				earlier := index[slot] - 1
				if level[earlier].hash() == e.hash() && n.sameName(text, level[earlier], e) {
					mark(text, level[earlier].offset(), level[earlier+1].offset())
					n.marked = true
					distinct--
					break
				}
			}
			index[slot] = uint32(i) + 1
			distinct++
		}
		slots = len(index) / 2 // the next part needs about as many
	}
}

// clearIndex makes an index of more than that many slots, a power of two.
func (n *nameStack) clearIndex(slots int) []uint32 {
	size := 1 << bits.Len(uint(slots))
	n.index = slices.Grow(n.index[:0], size)[:size]
	clear(n.index)
	return n.index
}

// growIndex makes the index twice as large. Large levels begin with less than they
// may need, because their names may all be equal.
func (n *nameStack) growIndex(level []nameEntry) []uint32 {
	old := n.index
	n.index = make([]uint32, 2*len(old))
	mask := len(n.index) - 1
	for _, number := range old {
		if number == 0 {
			continue
		}
		slot := int(level[number-1].hash()) & mask
		for n.index[slot] != 0 {
			slot = (slot + 1) & mask
		}
		n.index[slot] = number
	}
	return n.index
}

func (n *nameStack) sameName(text []byte, a, b nameEntry) bool {
	for i, e := range [...]nameEntry{a, b} {
		n.names[i] = decodeString(n.names[i][:0], text[e.offset()+1:])
	}
	return bytes.Equal(n.names[0], n.names[1])
}

// decode returns the name whose opening quote is before s. It is good until the
// next call.
func (n *nameStack) decode(s []byte) []byte {
	n.names[0] = decodeString(n.names[0][:0], s)
	return n.names[0]
}

// mark marks text[from:to], a member and the comma after it, for removal. A zero
// byte, which no JSON has, and the length in four bytes take the place of its
// beginning: the shortest member, `"":0,`, has just that room. Marks within are
// overwritten or skipped.
func mark(text []byte, from, to int) {
	text[from] = 0
	binary.LittleEndian.PutUint32(text[from+1:], uint32(to-from))
}

// removeMarked removes from text what is marked, and returns the shorter text.
func removeMarked(text []byte) []byte {
	kept := 0
	for rest := text; ; {
		next := bytes.IndexByte(rest, 0)
		if next < 0 {
			return text[:kept+copy(text[kept:], rest)]
		}
		kept += copy(text[kept:], rest[:next])
		length := binary.LittleEndian.Uint32(rest[next+1:])
		rest = rest[next+int(length):]
	}
}

// decodeString appends the text of a JSON string whose opening quote is before s,
// with U+FFFD for half of a surrogate pair.
func decodeString(dst, s []byte) []byte {
	for i := 0; ; i++ {
		b := s[i]
		if b == '"' {
			return dst
		}
		if b == '\\' {
			i++
			switch b = s[i]; b {
			case 'u':
				r, n := jsontext.Rune(s[i+1:])
				dst = utf8.AppendRune(dst, r)
				i += n
				continue
			case 'b':
				b = '\b'
			case 'f':
				b = '\f'
			case 'n':
				b = '\n'
			case 'r':
				b = '\r'
			case 't':
				b = '\t'
			}
		}
		dst = append(dst, b)
	}
}

// The keys are random and secret, so that clients cannot choose names whose hashes
// collide.
var (
	seed       = maphash.MakeSeed()
	key0, key1 = rand.Uint64() | 1, rand.Uint64()
)

// hashName returns the hash of a name. Up to 15 bytes, which is nearly all names, it
// takes less time than maphash.
func hashName(name []byte) uint32 {
	switch {
	case len(name) < 8:
		return hashWord(wordOf(name))
	case len(name) < 16:
		return hashWords(binary.LittleEndian.Uint64(name), wordOf(name[8:]))
	}
	return uint32(maphash.Bytes(seed, name))
}

// wordOf returns fewer than eight bytes as the lower ones of a word.
func wordOf(b []byte) (w uint64) {
	for i, c := range b {
		w |= uint64(c) << (8 * i)
	}
	return w
}

// hashWord is hashName of fewer than eight bytes, by their word. The upper half of such a product is a universal hash (Dietzfelbinger et
// al., A Reliable Randomized Algorithm for the Closest-Pair Problem, 1997).
func hashWord(w uint64) uint32 { return uint32(w * key0 >> 32) }

func hashWords(a, b uint64) uint32 {
	high, low := bits.Mul64(a^key0, b^key1)
	return uint32(high ^ low)
}

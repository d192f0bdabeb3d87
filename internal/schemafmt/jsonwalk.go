package schemafmt

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strconv"
	"sync"
	"unicode/utf8"
)

type jsonEncoder struct {
	root *jsonNode
	o    Options
}

func (e *jsonEncoder) Index() []int { return nil }

// AppendJSON appends doc as it is, byte for byte.
func (e *jsonEncoder) AppendJSON(dst, doc []byte) ([]byte, error) {
	w := jsonWalks.Get().(*jsonWalk)
	defer w.free()
	if wrong := w.read(doc, e.o.MaxDepth); wrong != "" {
		return dst, &FitError{Reason: wrong}
	}
	if len(doc) > e.o.MaxValue {
		return dst, &FitError{Reason: tooLarge, TooLarge: true}
	}
	w.work, w.exhausted = minWork+workPerByte*len(doc), false
	w.fault.clear()
	if !w.valid(e.root, 0, nil) {
		return dst, w.fault.error()
	}
	return append(dst, doc...), nil
}

func (e *jsonEncoder) AppendText(dst, text []byte) ([]byte, error) {
	if utf8.Valid(text) {
		if b, err := e.AppendJSON(dst, quoteJSON(text)); err == nil || !json.Valid(text) {
			return b, err
		}
	}
	return e.AppendJSON(dst, text)
}

// quoteJSON returns a text as a string of JSON.
func quoteJSON(text []byte) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(string(text)); err != nil {
		return nil // does not occur
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// jsonWalk validates one document.
type jsonWalk struct {
	tape
	work      int
	nested    int // schemas of equal values that are being walked
	exhausted bool
	scratch   []byte
	seen      []bool // which required members the objects around have
	fault     fault
}

var jsonWalks = sync.Pool{New: func() any { return new(jsonWalk) }}

func (w *jsonWalk) free() {
	if cap(w.values) <= maxPooled && cap(w.scratch) <= 1<<16 && cap(w.seen) <= maxPooled {
		w.doc = nil
		w.fault.clear()
		jsonWalks.Put(w)
	}
}

// evaluated marks the items or members of a value that some keyword has evaluated. Only
// unevaluatedItems and unevaluatedProperties need it.
type evaluated []bool

func (e evaluated) all() {
	for i := range e {
		e[i] = true
	}
}

func (e evaluated) add(more evaluated) {
	for i := range e {
		e[i] = e[i] || more[i]
	}
}

func (e evaluated) fresh() evaluated {
	if e == nil {
		return nil
	}
	return make(evaluated, len(e))
}

// maxNested bounds how deep the schemas that apply to a value and to the values around it may
// nest, because each takes stack. More than that mostly means that they refer to themselves.
const maxNested = 10000

func (w *jsonWalk) fail(reason string) bool {
	w.fault.set(reason, "")
	return false
}

func (w *jsonWalk) failName(reason, name string) bool {
	w.fault.set(reason, name)
	return false
}

func (w *jsonWalk) spend(n int) bool {
	if w.work -= n; w.work < 0 {
		w.exhausted = true
		return w.fail("takes too much work by the schema")
	}
	return true
}

// valid validates the value at a position of the tape. If it returns false, fault has the
// reason. If it returns true, it has marked in told, unless that is nil, what was evaluated.
func (w *jsonWalk) valid(n *jsonNode, at uint32, told evaluated) bool {
	if !w.spend(1) {
		return false
	}
	if n.never {
		return w.fail("is not allowed")
	}
	v := &w.values[at]
	if n.types != 0 && n.types&w.types(v) == 0 {
		return w.failName("must be of type", n.typeNames)
	}
	if v.kind == jsonText && !w.spend(int(v.end-v.start)/16) {
		return false
	}
	own := told
	if n.unevaluate { // evaluations by enclosing schemas do not count here
		own = make(evaluated, w.count(at))
	}
	if n.constant != nil && !w.equal(n.constant, at) {
		return !w.exhausted && w.fail("must be the value of the schema's const")
	}
	if n.enumTexts != nil && !w.inEnum(n, at) {
		return !w.exhausted && w.fail("must be one of the values of the schema's enum")
	}
	switch v.kind {
	case jsonText:
		if !w.text(n, v) {
			return false
		}
	case jsonNumber:
		if n.numbers != nil && !w.number(n.numbers, v) {
			return false
		}
	case jsonArray:
		if n.arrays != nil && !w.array(n.arrays, at, own) {
			return false
		}
	case jsonObject:
		if n.objects != nil && !w.object(n.objects, at, own) {
			return false
		}
	}
	if n.ref != nil && !w.also(n.ref, at, own) {
		return false
	}
	for _, s := range n.all {
		if !w.also(s, at, own) {
			return false
		}
	}
	if n.any != nil && !w.anyOf(n.any, at, own) ||
		n.one != nil && !w.oneOf(n.one, at, own) {
		return false
	}
	if n.not != nil {
		if w.also(n.not, at, nil) {
			return w.fail("must not fit the schema's not")
		} else if w.exhausted {
			return false
		}
	}
	if n.condition != nil {
		then := n.no
		if w.also(n.condition, at, own) {
			then = n.yes
		} else if w.exhausted {
			return false
		}
		if then != nil && !w.also(then, at, own) {
			return false
		}
	}
	if n.unevaluate {
		if !w.unevaluated(n, at, own) {
			return false
		}
		told.add(own)
	}
	return true
}

// also validates the same value by another schema.
func (w *jsonWalk) also(n *jsonNode, at uint32, told evaluated) bool {
	if w.nested++; w.nested > maxNested {
		w.exhausted = true
		w.nested--
		return w.fail("cannot be checked: the schema refers to itself without end, or nests too deep")
	}
	w.work -= len(told) / 16
	more := told.fresh()
	ok := w.valid(n, at, more)
	w.nested--
	if ok {
		told.add(more)
	}
	return ok
}

func (w *jsonWalk) anyOf(all []*jsonNode, at uint32, told evaluated) bool {
	var deep fault
	deeper, found := 0, false
	for _, n := range all {
		switch {
		case w.also(n, at, told):
			if found = true; told == nil {
				return true
			}
		case w.exhausted:
			return false
		case len(w.fault.path) > 0:
			if deeper++; deeper == 1 && !found {
				deep = w.fault.copy()
				w.work -= len(deep.path) / 8
			}
		}
	}
	if found {
		return true
	}
	if deeper == 1 { // the others do not even take such a value
		w.fault = deep
		return false
	}
	return w.fail("must fit one of the schemas of anyOf")
}

func (w *jsonWalk) oneOf(all []*jsonNode, at uint32, told evaluated) bool {
	var deep fault
	deeper, fit := 0, 0
	for _, n := range all {
		switch {
		case w.also(n, at, told):
			if fit++; fit == 2 {
				return w.fail("must fit only one of the schemas of oneOf")
			}
		case w.exhausted:
			return false
		case len(w.fault.path) > 0:
			if deeper++; deeper == 1 && fit == 0 {
				deep = w.fault.copy()
				w.work -= len(deep.path) / 8
			}
		}
	}
	switch {
	case fit == 1:
		return true
	case deeper == 1:
		w.fault = deep
		return false
	}
	return w.fail("must fit one of the schemas of oneOf")
}

func (w *jsonWalk) types(v *value) jsonTypes {
	switch v.kind {
	case jsonNull:
		return typeNull
	case jsonTrue, jsonFalse:
		return typeBoolean
	case jsonText:
		return typeString
	case jsonArray:
		return typeArray
	case jsonObject:
		return typeObject
	}
	if isInteger(w.raw(v)) {
		return typeNumber | typeInteger
	}
	return typeNumber
}

// count returns how many items or members a value has.
func (w *jsonWalk) count(at uint32) (n int) {
	v := &w.values[at]
	step := uint32(0)
	if v.kind == jsonObject {
		step = 1
	}
	for i := at + 1; i < v.next; i = w.values[i+step].next {
		n++
	}
	w.work -= n / 16
	return n
}

// chars returns the characters of a string, until the next call.
func (w *jsonWalk) chars(v *value) []byte {
	if !v.escaped {
		return w.raw(v)
	}
	w.scratch = w.appendString(w.scratch[:0], v)
	return w.scratch
}

func (w *jsonWalk) text(n *jsonNode, v *value) bool {
	if n.texts == nil && n.format == nil {
		return true
	}
	s := w.chars(v)
	if r := n.texts; r != nil {
		if r.min > 0 || r.max >= 0 {
			length := characters(s)
			if length < r.min {
				return w.fail("must have at least " + plural(r.min, "character", "characters"))
			}
			if r.max >= 0 && length > r.max {
				return w.fail("must have at most " + plural(r.max, "character", "characters"))
			}
		}
		if r.pattern != nil {
			if !w.spend(r.pattern.work(len(s))) {
				return false
			}
			if !r.pattern.Match(s) {
				return w.failName("must match the pattern", r.pattern.String())
			}
		}
	}
	if n.format != nil && n.format.Validate(string(s)) != nil {
		return w.failName("must be of format", n.format.Name)
	}
	return true
}

// characters counts those of valid UTF-8, as code points.
func characters(s []byte) (n int) {
	for _, c := range s {
		if c&0xc0 != 0x80 {
			n++
		}
	}
	return n
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func (w *jsonWalk) number(r *numberRules, v *value) bool {
	s := w.raw(v)
	var rat *big.Rat
	compare := func(b *bound) (int, bool) {
		if b.small {
			if result, ok := compareInt(s, b.i); ok {
				return result, true
			}
		}
		if rat == nil {
			var ok bool
			if rat, ok = w.rat(s); !ok {
				return 0, false
			}
		}
		return rat.Cmp(b.rat), true
	}
	for _, rule := range [...]struct {
		b           *bound
		least, most int // what the comparison may be
		must        string
	}{
		{r.min, 0, 1, "must be at least"}, {r.max, -1, 0, "must be at most"},
		{r.above, 1, 1, "must be more than"}, {r.below, -1, -1, "must be less than"},
	} {
		if rule.b == nil {
			continue
		}
		result, ok := compare(rule.b)
		if !ok {
			return w.fail("is a number that is too long, or too far from 1, to be compared")
		}
		if result < rule.least || result > rule.most {
			return w.fail(rule.must + " " + rule.b.String())
		}
	}
	if m := r.multipleOf; m != nil {
		if i, ok := parseInt(s); m.small && ok && m.i != 0 {
			if i%m.i != 0 {
				return w.fail("must be a multiple of " + m.String())
			}
			return true
		}
		if rat == nil {
			var ok bool
			if rat, ok = w.rat(s); !ok {
				return w.fail("is a number that is too long, or too far from 1, to be compared")
			}
		}
		if m.rat.Sign() == 0 || !new(big.Rat).Quo(rat, m.rat).IsInt() {
			return w.fail("must be a multiple of " + m.String())
		}
	}
	return true
}

// rat is parseRat, of which long numbers, and short ones such as 1e999, take a lot of work.
func (w *jsonWalk) rat(s []byte) (*big.Rat, bool) {
	r, ok := parseRat(s)
	if ok {
		w.work -= (r.Num().BitLen() + r.Denom().BitLen()) / 8
	}
	return r, ok
}

// String returns the number in at most 40 bytes.
func (b *bound) String() string {
	if b.small {
		return strconv.FormatInt(b.i, 10)
	}
	f, _ := b.rat.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func (w *jsonWalk) array(r *arrayRules, at uint32, told evaluated) bool {
	v := w.values[at]
	if r.min > 0 || r.max >= 0 {
		n := w.count(at)
		if n < r.min {
			return w.fail("must have at least " + plural(r.min, "item", "items"))
		}
		if r.max >= 0 && n > r.max {
			return w.fail("must have at most " + plural(r.max, "item", "items"))
		}
	}
	index, matched := 0, 0
	for i := at + 1; i < v.next; i = w.values[i].next {
		item := r.items
		if index < len(r.prefix) {
			item = r.prefix[index]
		}
		if item != nil {
			if !w.valid(item, i, nil) {
				return w.fault.inItem(index)
			}
			if told != nil {
				told[index] = true
			}
		}
		if r.contains != nil {
			if w.valid(r.contains, i, nil) {
				if matched++; told != nil && r.containsTold {
					told[index] = true
				}
			} else if w.exhausted {
				return w.fault.inItem(index)
			}
		}
		index++
	}
	if r.contains != nil {
		if matched < r.least {
			return w.fail("must contain at least " + plural(r.least, "item", "items") + " that fit the schema's contains")
		}
		if r.most >= 0 && matched > r.most {
			return w.fail("must contain at most " + plural(r.most, "item", "items") + " that fit the schema's contains")
		}
	}
	return !r.unique || w.unique(at)
}

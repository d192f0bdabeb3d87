package schemafmt

// binaryWalk is the state of a walk that encodes one document in a binary form.
type binaryWalk struct {
	tape
	dst       []byte
	limit     int // of len(dst)
	work      int // that is left: unions that are tried in many ways, and records of which most is missing, end here
	strict    bool
	slots     []uint32 // positions of the values of the fields of the records around; 0: missing
	scratch   []byte
	exhausted bool // neither is left: nothing else is tried
	fault     fault
}

// Work that a document may cause, in values looked at. What a schema makes of a document is
// mostly far below one for each byte.
const (
	minWork     = 1 << 20
	workPerByte = 16
)

func (w *binaryWalk) begin(dst []byte, size int, o *Options) {
	w.dst, w.limit, w.strict = dst, len(dst)+o.MaxValue, o.Strict
	w.work = minWork + workPerByte*size
	w.slots, w.exhausted = w.slots[:0], false
	w.fault.clear()
}

// maxPooled is how many values a walk may have room for that is kept for the next document.
const maxPooled = 4096

// end drops references to the caller's memory, and reports whether w may be kept for other
// documents.
func (w *binaryWalk) end() bool {
	w.doc, w.dst = nil, nil
	w.fault.clear()
	return cap(w.values) <= maxPooled && cap(w.scratch) <= 1<<16 && cap(w.slots) <= maxPooled
}

// fail notes what the value has to be, in fixed words and with a name of the schema's, and
// returns false.
func (w *binaryWalk) fail(reason, name string) bool {
	w.fault.set(reason, name)
	return false
}

// spend takes n from the work that is left.
func (w *binaryWalk) spend(n int) bool {
	if w.work -= n; w.work < 0 {
		w.exhausted = true
		return w.fail("takes too much work by the schema", "")
	}
	if len(w.dst) > w.limit {
		w.exhausted = true
		return w.fail(tooLarge, "")
	}
	return true
}

// chars returns the characters of a string, until the next call.
func (w *binaryWalk) chars(v *value) []byte {
	if !v.escaped {
		return w.raw(v)
	}
	w.scratch = w.appendString(w.scratch[:0], v)
	return w.scratch
}

// reserve appends n zeros to the slots, and returns where they begin.
func (w *binaryWalk) reserve(n int) int {
	base := len(w.slots)
	for range n {
		w.slots = append(w.slots, 0)
	}
	return base
}

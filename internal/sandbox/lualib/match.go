package lualib

import (
	"regexp/syntax"
	"unicode/utf8"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/sandbox"
)

const (
	// Steps of a matcher are charged as those of Lua's patterns are.
	stepsPerCharge, stepsPerInstruction = 256, 16
	// threadBytes is about what a matcher takes for each instruction, without captures.
	threadBytes = 32
)

// matcher runs an expression: all ways that it can match at once, in the order in which a
// backtracking matcher would try them, so that the time is bounded by text × expression.
// Go's own package regexp does the same, but cannot be charged for what it does.
type matcher struct {
	re      *regex
	l       *glua.LState
	text    string
	steps   int
	now     threads
	next    threads
	current []int32 // captures of the thread that is being added
	found   []int32
}

// threads are the ways to match at one place, the first of which wins.
type threads struct {
	pcs      []uint32
	captures []int32  // of each thread
	seen     []uint32 // by instruction: the round in which it was added
	round    uint32
}

func (t *threads) clear() {
	t.pcs, t.captures = t.pcs[:0], t.captures[:0]
	if t.round++; t.round == 0 {
		clear(t.seen)
		t.round = 1
	}
}

// match returns the captures of the first match at or after a place, as offsets of begin
// and end, -1 for groups that took no part; nil if there is none.
func (re *regex) match(l *glua.LState, s string, at int) []int32 {
	m, _ := re.matchers.Get().(*matcher)
	n := len(re.prog.Inst)
	if m == nil {
		sandbox.Charge(l, 1+n/16, int64(n)*threadBytes)
		m = &matcher{re: re, current: make([]int32, 2*(re.groups+1)), found: make([]int32, 2*(re.groups+1))}
		m.now.seen, m.next.seen = make([]uint32, n), make([]uint32, n)
	}
	m.l, m.text, m.steps = l, s, 0
	ok := m.run(at)
	sandbox.Charge(l, 2+m.steps/stepsPerInstruction, int64(len(m.found))*4)
	var found []int32
	if ok {
		found = append(found, m.found...)
	}
	m.l, m.text = nil, ""
	if cap(m.now.captures)+cap(m.next.captures) < 64<<10 {
		re.matchers.Put(m)
	}
	return found
}

func (m *matcher) step() {
	if m.steps++; m.steps == stepsPerCharge {
		m.steps = 0
		sandbox.Charge(m.l, stepsPerCharge/stepsPerInstruction, 0)
	}
}

func (m *matcher) run(start int) bool {
	re, matched := m.re, false
	m.now.clear()
	m.next.clear()
	for at := start; ; {
		m.step()
		if len(m.now.pcs) == 0 {
			if matched || re.anchor && at > start {
				return matched
			}
			if re.first != nil && !re.anchor {
				next := m.skip(at)
				if next == len(m.text) {
					return false
				}
				if next > at {
					at = next
					m.now.clear() // of what did not hold before
				}
			}
		}
		if !matched && (!re.anchor || at == start) {
			for i := range m.current {
				m.current[i] = -1
			}
			m.current[0] = int32(at)
			m.add(&m.now, uint32(re.prog.Start), at)
		}
		r, width := re.rune(m.text, at)
		n := len(m.current)
	threads:
		for i, pc := range m.now.pcs {
			m.step()
			captures := m.now.captures[i*n : (i+1)*n]
			inst := &re.prog.Inst[pc]
			if inst.Op == syntax.InstMatch {
				captures[1] = int32(at)
				if !re.longest {
					copy(m.found, captures)
					matched = true
					break threads // those after it are worse
				}
				if !matched || captures[0] < m.found[0] || captures[0] == m.found[0] && captures[1] > m.found[1] {
					copy(m.found, captures)
				}
				matched = true
				continue
			}
			if width > 0 && matchRune(inst, r) {
				copy(m.current, captures)
				m.add(&m.next, inst.Out, at+width)
			}
		}
		m.now, m.next = m.next, m.now
		m.next.clear()
		if width == 0 {
			return matched
		}
		at += width
	}
}

// skip goes to the next place where a match can begin, or to the end.
func (m *matcher) skip(at int) int {
	from := at
	for ; at < len(m.text) && !m.re.first[m.text[at]]; at++ {
		if at-from == 4096 {
			sandbox.Charge(m.l, 32, 0)
			from = at
		}
	}
	sandbox.Charge(m.l, (at-from)/128, 0)
	return at
}

// rune is what an expression reads at a place, and its length in bytes, 0 at the end.
func (re *regex) rune(text string, at int) (rune, int) {
	switch {
	case at >= len(text):
		return -1, 0
	case text[at] < utf8.RuneSelf || !re.utf8:
		return byteRune(text[at]), 1
	}
	return utf8.DecodeRuneInString(text[at:])
}

func matchRune(i *syntax.Inst, r rune) bool {
	switch i.Op {
	case syntax.InstRune, syntax.InstRune1:
		return i.MatchRune(r)
	case syntax.InstRuneAny:
		return true
	case syntax.InstRuneAnyNotNL:
		return r != '\n'
	}
	return false
}

// add adds the instructions that read from pc on, with the captures in m.current.
func (m *matcher) add(t *threads, pc uint32, at int) {
	for t.seen[pc] != t.round {
		t.seen[pc] = t.round
		m.step()
		switch i := &m.re.prog.Inst[pc]; i.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			m.add(t, i.Out, at)
			pc = i.Arg
		case syntax.InstNop:
			pc = i.Out
		case syntax.InstEmptyWidth:
			if !m.holds(syntax.EmptyOp(i.Arg), at) {
				return
			}
			pc = i.Out
		case syntax.InstCapture:
			if int(i.Arg) < 2 || int(i.Arg) >= len(m.current) {
				pc = i.Out
				continue
			}
			old := m.current[i.Arg]
			m.current[i.Arg] = int32(at)
			m.add(t, i.Out, at)
			m.current[i.Arg] = old
			return
		case syntax.InstFail:
			return
		default:
			if len(t.captures)+len(m.current) > cap(t.captures) {
				sandbox.Charge(m.l, 1, int64(cap(t.captures)+len(m.current))*12)
			}
			t.pcs = append(t.pcs, pc)
			t.captures = append(t.captures, m.current...)
			return
		}
	}
}

// holds reports whether conditions such as ^ hold at a place.
func (m *matcher) holds(op syntax.EmptyOp, at int) bool {
	n := len(m.text)
	if op&syntax.EmptyBeginText != 0 && at != 0 ||
		op&syntax.EmptyEndText != 0 && at != n ||
		op&syntax.EmptyBeginLine != 0 && at != 0 && (m.text[at-1] != '\n' || at == n) {
		return false
	}
	if op&syntax.EmptyEndLine != 0 && at != n && (m.text[at] != '\n' || m.re.ends && at != n-1) {
		return false
	}
	if op&(syntax.EmptyWordBoundary|syntax.EmptyNoWordBoundary) != 0 {
		boundary := (at > 0 && wordByte(m.text[at-1])) != (at < n && wordByte(m.text[at]))
		return boundary == (op&syntax.EmptyWordBoundary != 0)
	}
	return true
}

func wordByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

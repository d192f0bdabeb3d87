package sandbox

import (
	"strings"

	glua "github.com/yuin/gopher-lua"
)

const (
	maxCaptures = 32 // as Lua's
	// maxMatchDepth bounds how deep parts of a pattern are matched within each other.
	maxMatchDepth = 200
	// stepsPerCharge is after how many steps of the matcher they are charged, at sixteen
	// steps an instruction: that is about what each takes.
	stepsPerCharge, stepsPerInstruction = 256, 16
)

// Lengths of captures that are not finished, and of positions.
const (
	captureOpen     = -1
	capturePosition = -2
)

// matcher matches one of Lua's patterns (manual of Lua 5.1, section 5.4.1). All offsets are
// in bytes; -1 is no match.
type matcher struct {
	l        *glua.LState
	src, pat string
	steps    int // since the last charge
	depth    int
	level    int // captures, finished or not
	capture  [maxCaptures]struct{ start, len int }
}

// step counts the work of matching, which can grow with a power of the subject's length.
func (m *matcher) step() {
	if m.steps++; m.steps == stepsPerCharge {
		m.steps = 0
		Charge(m.l, stepsPerCharge/stepsPerInstruction, 0)
	}
}

// match matches the pattern from p on against the subject from s on, and returns the end of
// the match.
func (m *matcher) match(s, p int) int {
	if m.depth++; m.depth > maxMatchDepth {
		m.l.RaiseError("pattern too complex")
	}
	m.step()
	e := m.rest(s, p)
	m.depth--
	return e
}

func (m *matcher) rest(s, p int) int {
	for p < len(m.pat) {
		m.step()
		switch m.pat[p] {
		case '(':
			if p+1 < len(m.pat) && m.pat[p+1] == ')' {
				return m.open(s, p+2, capturePosition)
			}
			return m.open(s, p+1, captureOpen)
		case ')':
			return m.close(s, p+1)
		case '$':
			if p+1 == len(m.pat) {
				if s == len(m.src) {
					return s
				}
				return -1
			}
		case '%':
			if p+1 < len(m.pat) {
				switch c := m.pat[p+1]; {
				case c == 'b':
					if s = m.balance(s, p+2); s < 0 {
						return -1
					}
					p += 4
					continue
				case c == 'f':
					p += 2
					if p >= len(m.pat) || m.pat[p] != '[' {
						m.l.RaiseError("%s", "missing '[' after '%f' in pattern")
					}
					end := m.classEnd(p)
					var before, after byte
					if s > 0 {
						before = m.src[s-1]
					}
					if s < len(m.src) {
						after = m.src[s]
					}
					if m.inSet(before, p, end-1) || !m.inSet(after, p, end-1) {
						return -1
					}
					p = end
					continue
				case '0' <= c && c <= '9':
					if s = m.back(s, c); s < 0 {
						return -1
					}
					p += 2
					continue
				}
			}
		}
		end := m.classEnd(p)
		var suffix byte
		if end < len(m.pat) {
			suffix = m.pat[end]
		}
		switch suffix {
		case '?':
			if m.single(s, p, end) {
				if e := m.match(s+1, end+1); e >= 0 {
					return e
				}
			}
			p = end + 1
		case '*':
			return m.most(s, p, end)
		case '+':
			if !m.single(s, p, end) {
				return -1
			}
			return m.most(s+1, p, end)
		case '-':
			return m.least(s, p, end)
		default:
			if !m.single(s, p, end) {
				return -1
			}
			s, p = s+1, end
		}
	}
	return s
}

// most matches as many of the class at p as it can.
func (m *matcher) most(s, p, end int) int {
	n := 0
	for m.single(s+n, p, end) {
		m.step()
		n++
	}
	for ; n >= 0; n-- {
		if e := m.match(s+n, end+1); e >= 0 {
			return e
		}
	}
	return -1
}

// least matches as few of the class at p as it can.
func (m *matcher) least(s, p, end int) int {
	for {
		if e := m.match(s, end+1); e >= 0 {
			return e
		}
		if !m.single(s, p, end) {
			return -1
		}
		s++
	}
}

func (m *matcher) open(s, p, what int) int {
	if m.level >= maxCaptures {
		m.l.RaiseError("too many captures")
	}
	m.capture[m.level].start, m.capture[m.level].len = s, what
	m.level++
	e := m.match(s, p)
	if e < 0 {
		m.level--
	}
	return e
}

func (m *matcher) close(s, p int) int {
	i := m.level - 1
	for i >= 0 && m.capture[i].len != captureOpen {
		i--
	}
	if i < 0 {
		m.l.RaiseError("invalid pattern capture")
	}
	m.capture[i].len = s - m.capture[i].start
	e := m.match(s, p)
	if e < 0 {
		m.capture[i].len = captureOpen
	}
	return e
}

// balance matches %bxy, whose x is at p.
func (m *matcher) balance(s, p int) int {
	if p+1 >= len(m.pat) {
		m.l.RaiseError("unbalanced pattern")
	}
	if s >= len(m.src) || m.src[s] != m.pat[p] {
		return -1
	}
	begin, end, depth := m.pat[p], m.pat[p+1], 1
	for i := s + 1; i < len(m.src); i++ {
		m.step()
		switch m.src[i] {
		case end:
			if depth--; depth == 0 {
				return i + 1
			}
		case begin:
			depth++
		}
	}
	return -1
}

// back matches what an earlier capture did.
func (m *matcher) back(s int, c byte) int {
	i := int(c) - '1'
	if i < 0 || i >= m.level || m.capture[i].len == captureOpen {
		m.l.RaiseError("invalid capture index")
	}
	n := max(m.capture[i].len, 0)
	Charge(m.l, n/256, 0)
	if text := m.src[m.capture[i].start : m.capture[i].start+n]; strings.HasPrefix(m.src[s:], text) {
		return s + n
	}
	return -1
}

// classEnd is the end of the class that begins at p.
func (m *matcher) classEnd(p int) int {
	c := m.pat[p]
	p++
	switch c {
	case '%':
		if p >= len(m.pat) {
			m.l.RaiseError("%s", "malformed pattern (ends with '%')")
		}
		return p + 1
	case '[':
		if p < len(m.pat) && m.pat[p] == '^' {
			p++
		}
		for first := true; ; first = false {
			m.step()
			if p >= len(m.pat) {
				m.l.RaiseError("malformed pattern (missing ']')")
			}
			c := m.pat[p]
			if c == ']' && !first {
				return p + 1
			}
			p++
			if c == '%' {
				if p >= len(m.pat) {
					m.l.RaiseError("malformed pattern (missing ']')")
				}
				p++
			}
		}
	}
	return p
}

// single reports whether the byte at s is in the class from p to end.
func (m *matcher) single(s, p, end int) bool {
	if s >= len(m.src) {
		return false
	}
	m.step()
	c := m.src[s]
	switch m.pat[p] {
	case '.':
		return true
	case '%':
		return inClass(c, m.pat[p+1])
	case '[':
		return m.inSet(c, p, end-1)
	}
	return c == m.pat[p]
}

// inSet reports whether c is in the set from the [ at p to the ] at end.
func (m *matcher) inSet(c byte, p, end int) bool {
	in := true
	p++
	if m.pat[p] == '^' {
		in = false
		p++
	}
	for ; p < end; p++ {
		m.step()
		switch {
		case m.pat[p] == '%':
			p++
			if inClass(c, m.pat[p]) {
				return in
			}
		case p+2 < end && m.pat[p+1] == '-':
			if m.pat[p] <= c && c <= m.pat[p+2] {
				return in
			}
			p += 2
		case m.pat[p] == c:
			return in
		}
	}
	return !in
}

// inClass reports whether c is in the class %k, by C's tables for ASCII.
func inClass(c, k byte) bool {
	var in bool
	letter := 'a' <= c|0x20 && c|0x20 <= 'z'
	switch k | 0x20 {
	case 'a':
		in = letter
	case 'c':
		in = c < 32 || c == 127
	case 'd':
		in = isDigit(c)
	case 'l':
		in = 'a' <= c && c <= 'z'
	case 'p':
		in = 32 < c && c < 127 && !letter && !isDigit(c)
	case 's':
		in = c == ' ' || 9 <= c && c <= 13
	case 'u':
		in = 'A' <= c && c <= 'Z'
	case 'w':
		in = letter || isDigit(c)
	case 'x':
		in = digit(c) < 16
	case 'z':
		in = c == 0
	case 'g':
		in = 32 < c && c < 127
	default:
		return c == k
	}
	if k&0x20 == 0 {
		return !in
	}
	return in
}

// find is the first match from s on. With an anchored pattern it is at s, or nowhere.
func (m *matcher) find(s int, anchored bool) (start, end int) {
	for ; s <= len(m.src); s++ {
		m.level, m.depth = 0, 0
		if e := m.match(s, 0); e >= 0 {
			return s, e
		}
		if anchored {
			break
		}
	}
	return -1, -1
}

// get is capture i of a match, or the whole of it if the pattern has none.
func (m *matcher) get(i, start, end int) glua.LValue {
	if i >= m.level {
		if i != 0 {
			m.l.RaiseError("invalid capture index")
		}
		return glua.LString(m.src[start:end])
	}
	switch c := m.capture[i]; c.len {
	case captureOpen:
		m.l.RaiseError("unfinished capture")
		return nil
	case capturePosition:
		return glua.LNumber(c.start + 1)
	default:
		return glua.LString(m.src[c.start : c.start+c.len])
	}
}

// push pushes all captures of a match, or the whole of it if the pattern has none and whole
// is set.
func (m *matcher) push(start, end int, whole bool) int {
	n := m.level
	if n == 0 && whole {
		n = 1
	}
	Charge(m.l, 1+n, int64(n)*32)
	for i := range n {
		m.l.Push(m.get(i, start, end))
	}
	return n
}

// newMatcher makes a matcher, and reports whether the pattern is anchored.
func newMatcher(l *glua.LState, src, pat string) (*matcher, bool) {
	pat, anchored := strings.CutPrefix(pat, "^")
	return &matcher{l: l, src: src, pat: pat}, anchored
}

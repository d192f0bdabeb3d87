package sandbox

import (
	"slices"
	"strings"

	glua "github.com/yuin/gopher-lua"
)

var stringFunctions = map[string]glua.LGFunction{
	"byte": stringByte, "char": stringChar, "find": stringFind, "format": stringFormat,
	"gmatch": stringGmatch, "gsub": stringGsub, "len": stringLen,
	"lower": changeCase('A', 'Z'), "match": stringMatch, "rep": stringRep,
	"reverse": stringReverse, "sub": stringSub, "upper": changeCase('a', 'z'),
}

func stringLen(l *glua.LState) int {
	l.Push(glua.LNumber(len(stringArg(l, 1))))
	return 1
}

// slice makes the offsets of the part from i to j of n bytes, as Lua counts them: from 1,
// and negative ones from the end.
func slice(i, j, n int) (from, to int) {
	if i < 0 {
		i = max(n+i+1, 1)
	} else if i == 0 {
		i = 1
	}
	if j < 0 {
		j = n + j + 1
	}
	j = min(j, n)
	if i > j {
		return 0, 0
	}
	return i - 1, j
}

func stringSub(l *glua.LState) int {
	s := stringArg(l, 1)
	from, to := slice(intArg(l, 2), intOr(l, 3, -1), len(s))
	Charge(l, 1, 16)
	l.Push(glua.LString(s[from:to]))
	return 1
}

func stringByte(l *glua.LState) int {
	s := stringArg(l, 1)
	i := intOr(l, 2, 1)
	from, to := slice(i, intOr(l, 3, i), len(s))
	if to-from >= stackValues {
		l.RaiseError("string slice too long")
	}
	Charge(l, 1+(to-from)/4, 0)
	for _, c := range []byte(s[from:to]) {
		l.Push(glua.LNumber(c))
	}
	return to - from
}

func stringChar(l *glua.LState) int {
	n := l.GetTop()
	chargeText(l, n, int64(n))
	b := make([]byte, n)
	for i := range b {
		c := intArg(l, i+1)
		if c < 0 || c > 255 {
			argError(l, i+1, "invalid value")
		}
		b[i] = byte(c)
	}
	l.Push(glua.LString(b))
	return 1
}

// changeCase makes lower and upper, which change ASCII letters only, as in the locale C.
func changeCase(first, last byte) glua.LGFunction {
	return func(l *glua.LState) int {
		s := stringArg(l, 1)
		chargeText(l, 3*len(s), 2*int64(len(s)))
		b := []byte(s)
		for i, c := range b {
			if first <= c && c <= last {
				b[i] = c ^ 0x20
			}
		}
		l.Push(glua.LString(b))
		return 1
	}
}

func stringReverse(l *glua.LState) int {
	s := stringArg(l, 1)
	chargeText(l, 3*len(s), 2*int64(len(s)))
	b := []byte(s)
	slices.Reverse(b)
	l.Push(glua.LString(b))
	return 1
}

func stringRep(l *glua.LState) int {
	s, n, sep := stringArg(l, 1), intArg(l, 2), stringOr(l, 3, "")
	size := int64(0)
	if n > 0 {
		one := int64(len(s) + len(sep))
		if one > 0 && int64(n) > 1<<40/one {
			n, size = 1<<40, 1<<40
		} else {
			size = int64(n) * one
		}
	}
	chargeText(l, int(min(size, 1<<40)), size)
	switch {
	case n <= 0 || size == 0:
		l.Push(glua.LString(""))
	case sep == "":
		l.Push(glua.LString(strings.Repeat(s, n)))
	default:
		l.Push(glua.LString(strings.Repeat(s+sep, n-1) + s))
	}
	return 1
}

// start makes the offset where find and match begin, or -1.
func start(init, n int) int {
	if init < 0 {
		init = max(n+init+1, 1)
	} else if init == 0 {
		init = 1
	}
	if init > n+1 {
		return -1
	}
	return init - 1
}

const magic = "^$*+?.([%-"

func stringFind(l *glua.LState) int {
	s, pat := stringArg(l, 1), stringArg(l, 2)
	at := start(intOr(l, 3, 1), len(s))
	if at < 0 {
		l.Push(glua.LNil)
		return 1
	}
	if glua.LVAsBool(l.Get(4)) || !strings.ContainsAny(pat, magic) {
		Charge(l, 1+(len(s)-at+len(pat))/64, 0)
		i := strings.Index(s[at:], pat)
		if i < 0 {
			l.Push(glua.LNil)
			return 1
		}
		l.Push(glua.LNumber(at + i + 1))
		l.Push(glua.LNumber(at + i + len(pat)))
		return 2
	}
	m, anchored := newMatcher(l, s, pat)
	from, to := m.find(at, anchored)
	if from < 0 {
		l.Push(glua.LNil)
		return 1
	}
	l.Push(glua.LNumber(from + 1))
	l.Push(glua.LNumber(to))
	return 2 + m.push(from, to, false)
}

func stringMatch(l *glua.LState) int {
	s, pat := stringArg(l, 1), stringArg(l, 2)
	at := start(intOr(l, 3, 1), len(s))
	if at < 0 {
		l.Push(glua.LNil)
		return 1
	}
	m, anchored := newMatcher(l, s, pat)
	from, to := m.find(at, anchored)
	if from < 0 {
		l.Push(glua.LNil)
		return 1
	}
	return m.push(from, to, true)
}

// stringGmatch is gmatch, to which an anchor means nothing special.
func stringGmatch(l *glua.LState) int {
	s, pat := stringArg(l, 1), stringArg(l, 2)
	Charge(l, 2, 1024)
	at := 0
	m := &matcher{src: s, pat: pat}
	l.Push(newFunction(func(l *glua.LState) int {
		m.l = l
		from, to := m.find(at, false)
		if from < 0 {
			at = len(s) + 1
			l.Push(glua.LNil)
			return 1
		}
		if at = to; to == from {
			at++
		}
		return m.push(from, to, true)
	}))
	return 1
}

func stringGsub(l *glua.LState) int {
	s, pat, repl := stringArg(l, 1), stringArg(l, 2), l.Get(3)
	switch repl.Type() {
	case glua.LTString, glua.LTNumber, glua.LTFunction, glua.LTTable:
	default:
		typeError(l, 3, "string/function/table")
	}
	most := len(s) + 1
	if l.Get(4) != glua.LNil {
		most = intArg(l, 4)
	}
	m, anchored := newMatcher(l, s, pat)
	out := text{l: l}
	n, at := 0, 0
	for n < most {
		m.level, m.depth = 0, 0
		m.step()
		end := m.match(at, 0)
		if end >= 0 {
			n++
			m.step()
			m.replace(&out, at, end, repl)
		}
		switch {
		case end > at:
			at = end
		case at < len(s):
			out.byte(s[at])
			at++
		default:
			at++
		}
		if at > len(s) || anchored {
			break
		}
	}
	if at < len(s) {
		out.string(s[at:])
	}
	out.push()
	l.Push(glua.LNumber(n))
	return 2
}

// replace appends what stands for a match.
func (m *matcher) replace(out *text, start, end int, repl glua.LValue) {
	l := m.l
	var v glua.LValue
	switch r := repl.(type) {
	case *glua.LFunction:
		l.Push(r)
		n := m.push(start, end, true)
		l.Call(n, 1)
		v = l.Get(-1)
		l.Pop(1)
	case *glua.LTable:
		Charge(l, 1, 32)
		k := m.get(0, start, end)
		chargeKey(l, k, glua.MaxTableGetLoop)
		v = l.GetTable(r, k)
	default:
		m.expand(out, start, end, glua.LVAsString(repl))
		return
	}
	switch v := v.(type) {
	case glua.LString:
		out.string(string(v))
	case glua.LNumber:
		chargeNumber(l, float64(v))
		out.string(formatNumber(float64(v)))
	default:
		if glua.LVAsBool(v) {
			l.RaiseError("invalid replacement value (a %s)", v.Type())
		}
		out.string(m.src[start:end])
	}
}

// literal is how many bytes of s come before its first %.
func literal(s string) int {
	if n := strings.IndexByte(s, '%'); n >= 0 {
		return n
	}
	return len(s)
}

// expand appends a replacement with %0 to %9 in it.
func (m *matcher) expand(out *text, start, end int, repl string) {
	for i := 0; i < len(repl); i++ {
		m.step()
		if n := literal(repl[i:]); n > 0 {
			out.string(repl[i : i+n])
			i += n - 1
			continue
		}
		i++
		switch {
		case i == len(repl):
			m.l.RaiseError("%s", "invalid use of '%' in replacement string")
		case repl[i] == '0':
			out.string(m.src[start:end])
		case isDigit(repl[i]):
			v := m.get(int(repl[i]-'1'), start, end)
			if n, ok := v.(glua.LNumber); ok {
				out.string(formatNumber(float64(n)))
			} else {
				out.string(string(v.(glua.LString)))
			}
		default:
			out.byte(repl[i])
		}
	}
}

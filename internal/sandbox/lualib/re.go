package lualib

import (
	"strconv"
	"strings"
	"unicode/utf8"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/sandbox"
)

// search are the arguments that ngx.re's functions have in common.
type search struct {
	re   *regex
	text string
	at   int // where to begin
	ctx  *glua.LTable
}

// newSearch reads a subject, an expression, options and, if there is one, a ctx. It returns
// the text of an error for the script.
func newSearch(l *glua.LState, options, ctx int) (s search, failure string) {
	s.text = subject(l, 1)
	pattern := subject(l, 2)
	opts := ""
	if v := l.Get(options); v != glua.LNil {
		o, ok := v.(glua.LString)
		if !ok || len(o) > 32 {
			badArgument(l, options, "ngx.re", "options of at most 32 letters")
		}
		opts = string(o)
	}
	if s.re, failure = compiled(l, pattern, opts); failure != "" {
		return s, failure
	}
	if strings.Contains(opts, "u") {
		sandbox.Charge(l, len(s.text)/256, 0)
		if !utf8.ValidString(s.text) {
			return s, "pcre_exec() failed: -10" // PCRE_ERROR_BADUTF8
		}
	}
	if ctx > 0 {
		if s.ctx, _ = l.Get(ctx).(*glua.LTable); s.ctx != nil {
			pos, _ := s.ctx.RawGetString("pos").(glua.LNumber)
			s.at = max(toInt(float64(pos))-1, 0)
		} else if l.Get(ctx) != glua.LNil {
			badArgument(l, ctx, "ngx.re", "table")
		}
	}
	return s, ""
}

// subject is an argument that is a text, whatever it is.
func subject(l *glua.LState, n int) string { return sandbox.ToString(l, l.Get(n)) }

// next finds the next match.
func (s *search) next(l *glua.LState) []int32 {
	if s.at > len(s.text) {
		return nil
	}
	return s.re.match(l, s.text, s.at)
}

// setPos tells the script's ctx where the match ends.
func (s *search) setPos(l *glua.LState, found []int32) {
	if s.ctx != nil {
		set(l, s.ctx, glua.LString("pos"), glua.LNumber(found[1]+1))
	}
}

// set sets a member of a table of the script's, as the script itself would.
func set(l *glua.LState, t *glua.LTable, k, v glua.LValue) {
	if t.Metatable != glua.LNil {
		l.RaiseError("a table without a metatable expected")
	}
	sandbox.Charge(l, 2, 128)
	t.RawSet(k, v)
}

// group is the text of a group; false if it took no part.
func group(text string, found []int32, n int) glua.LValue {
	if found[2*n] < 0 || found[2*n+1] < 0 {
		return glua.LFalse
	}
	return glua.LString(text[found[2*n]:found[2*n+1]])
}

// captures makes the table of a match: groups by number, from 0 for the whole, and by name.
func (s *search) captures(l *glua.LState, found []int32, into *glua.LTable) *glua.LTable {
	sandbox.Charge(l, 8+len(found), 512+64*int64(len(found)))
	if into == nil {
		into = l.CreateTable(s.re.groups, 1)
	}
	for n := 0; n <= s.re.groups; n++ {
		v := group(s.text, found, n)
		into.RawSetInt(n, v)
		if name := s.re.names[n]; name != "" {
			into.RawSetString(name, v)
		}
	}
	return into
}

func reMatch(l *glua.LState) int {
	s, failure := newSearch(l, 3, 4)
	if failure != "" {
		return pushError(l, failure)
	}
	into, _ := l.Get(5).(*glua.LTable)
	if into != nil && into.Metatable != glua.LNil {
		l.RaiseError("a table without a metatable expected")
	}
	found := s.next(l)
	if found == nil {
		l.Push(glua.LNil)
		return 1
	}
	s.setPos(l, found)
	l.Push(s.captures(l, found, into))
	return 1
}

func reFind(l *glua.LState) int {
	s, failure := newSearch(l, 3, 4)
	if failure != "" {
		l.Push(glua.LNil)
		return 1 + pushError(l, failure)
	}
	n := 0
	if l.Get(5) != glua.LNil {
		n = toInt(numberArg(l, 5, "find"))
	}
	found := s.next(l)
	if found == nil {
		l.Push(glua.LNil)
		return 1
	}
	s.setPos(l, found)
	if n < 0 || n > s.re.groups {
		l.Push(glua.LNil)
		return 1 + pushError(l, "nth out of bound")
	}
	if found[2*n] < 0 || found[2*n+1] < 0 {
		l.Push(glua.LNil)
		l.Push(glua.LNil)
		return 2
	}
	l.Push(glua.LNumber(found[2*n] + 1))
	l.Push(glua.LNumber(found[2*n+1]))
	return 2
}

// pass goes past a match, and past one character more if it is empty.
func (s *search) pass(found []int32) {
	s.at = int(found[1])
	if found[0] == found[1] {
		_, width := s.re.rune(s.text, s.at)
		s.at += max(width, 1)
	}
}

func reGmatch(l *glua.LState) int {
	s, failure := newSearch(l, 3, 0)
	if failure != "" {
		return pushError(l, failure)
	}
	sandbox.Charge(l, 5, 256)
	l.Push(newFunction(func(l *glua.LState) int {
		found := s.next(l)
		if found == nil {
			s.at = len(s.text) + 1
			l.Push(glua.LNil)
			return 1
		}
		s.pass(found)
		l.Push(s.captures(l, found, nil))
		return 1
	}))
	return 1
}

func reSub(l *glua.LState) int  { return substitute(l, false) }
func reGsub(l *glua.LState) int { return substitute(l, true) }

func substitute(l *glua.LState, global bool) int {
	s, failure := newSearch(l, 4, 0)
	var parts []part
	f, isFunction := l.Get(3).(*glua.LFunction)
	if failure == "" && !isFunction {
		template := subject(l, 3)
		sandbox.Charge(l, 1+len(template)/4, 16*int64(len(template)))
		var ok bool
		if parts, ok = parseTemplate(template); !ok {
			failure = "failed to compile the replacement template"
		}
	}
	if failure != "" {
		l.Push(glua.LNil)
		return 1 + pushError(l, failure)
	}
	out, copied, n := text{l: l}, 0, 0
	for {
		found := s.next(l)
		if found == nil {
			break
		}
		n++
		out.add(s.text[copied:found[0]])
		if isFunction {
			out.add(s.call(l, f, found))
		}
		for _, p := range parts {
			switch {
			case p.group < 0:
				out.add(p.text)
			case p.group <= s.re.groups:
				if v, ok := group(s.text, found, p.group).(glua.LString); ok {
					out.add(string(v))
				}
			}
		}
		copied = int(found[1])
		if s.pass(found); !global {
			break
		}
	}
	if n == 0 {
		l.Push(glua.LString(s.text))
	} else {
		out.add(s.text[copied:])
		out.push()
	}
	l.Push(glua.LNumber(n))
	return 2
}

// call asks a function of the script's for the replacement.
func (s *search) call(l *glua.LState, f *glua.LFunction, found []int32) string {
	l.Push(f)
	l.Push(s.captures(l, found, nil))
	l.Call(1, 1)
	v := l.Get(-1)
	l.Pop(1)
	switch v.(type) {
	case glua.LString, glua.LNumber:
		return sandbox.ToString(l, v)
	}
	l.RaiseError("the replacement function returned a %s value, not a string", v.Type())
	return ""
}

// part of a replacement: a text, or a group, which is -1 for a text.
type part struct {
	text  string
	group int
}

// parseTemplate reads a replacement: $n, ${n}, and $$ for a dollar.
func parseTemplate(t string) (parts []part, ok bool) {
	for t != "" {
		before, after, dollar := strings.Cut(t, "$")
		if before != "" {
			parts = append(parts, part{before, -1})
		}
		if !dollar {
			break
		}
		if strings.HasPrefix(after, "$") {
			parts = append(parts, part{"$", -1})
			t = after[1:]
			continue
		}
		braces := strings.HasPrefix(after, "{")
		after = strings.TrimPrefix(after, "{")
		digits := len(after) - len(strings.TrimLeft(after, "0123456789"))
		n, err := strconv.Atoi(after[:digits])
		if err != nil {
			return nil, false
		}
		t = after[digits:]
		if braces {
			if !strings.HasPrefix(t, "}") {
				return nil, false
			}
			t = t[1:]
		}
		parts = append(parts, part{"", n})
	}
	return parts, true
}

// reSplit is ngx.re.split.
func reSplit(l *glua.LState) int {
	s, failure := newSearch(l, 3, 4)
	if failure != "" {
		return pushError(l, failure)
	}
	most := 0
	if l.Get(5) != glua.LNil {
		most = toInt(numberArg(l, 5, "split"))
	}
	if l.Get(6) != glua.LNil {
		l.RaiseError("ngx.re.split: the argument res is not available in message functions")
	}
	out := l.CreateTable(4, 0)
	add := func(v glua.LValue) {
		sandbox.Charge(l, 2, 64)
		out.Append(v)
	}
	l.Push(out)
	if s.at >= len(s.text) {
		return 1
	}
	from := s.at
	for n := 1; most <= 0 || n < most; {
		found := s.next(l)
		if found == nil || int(found[0]) == len(s.text) && found[0] == found[1] {
			break
		}
		s.pass(found)
		if found[0] == found[1] && int(found[0]) == from {
			continue // an empty match does not cut off nothing
		}
		n++
		add(glua.LString(s.text[from:found[0]]))
		if s.re.groups > 0 {
			if v := group(s.text, found, 1); v != glua.LFalse {
				add(v)
			}
		}
		from = int(found[1])
	}
	add(glua.LString(s.text[from:]))
	return 1
}

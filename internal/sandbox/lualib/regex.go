package lualib

import (
	"regexp/syntax"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/sandbox"
)

const (
	maxPattern  = 4 << 10 // bytes of an expression
	maxProgram  = 4000    // its instructions
	maxCaptures = 64      // its groups
	maxCached   = 100_000 // instructions of all that are cached, about 10 MiB
	// highBytes is where the bytes from 0x80 on are, as code points, without option u:
	// in a private area, whose code points have no case and are in no class.
	highBytes = 0xe000
)

// regex is a compiled expression. Many goroutines use it at once.
type regex struct {
	prog    *syntax.Prog
	groups  int      // without the whole
	names   []string // of groups, "" for those without
	utf8    bool
	anchor  bool       // option a
	longest bool       // option d
	ends    bool       // $ is the end, or before a newline there; otherwise the end of any line
	first   *[256]bool // bytes that a match can begin with; nil: any, or none

	matchers sync.Pool
}

// regexError is what is wrong with an expression. Scripts are told as OpenResty tells them,
// but for what PCRE has and message functions do not: that is an error which they cannot
// take for an expression that does not match.
type regexError struct {
	text        string
	unsupported bool
}

func (e *regexError) Error() string { return e.text }

func unsupported(what string) *regexError {
	return &regexError{what + " is not available in regular expressions of message functions", true}
}

func badRegex(text string) *regexError { return &regexError{text: "pcre_compile() failed: " + text} }

type regexKey struct{ pattern, options string }

// regexCache has the expressions that were compiled last, whatever function they are of.
// Scripts may make them of what clients send, so that it is bounded by what they take.
var regexCache = struct {
	sync.Mutex
	m    map[regexKey]*regex
	size int
}{m: map[regexKey]*regex{}}

// weight is what an expression counts for in the cache.
func (re *regex) weight() int { return 50 + len(re.prog.Inst) }

// compiled returns the compiled expression, or pushes nothing and returns the text of an
// error for the script.
func compiled(l *glua.LState, pattern, options string) (*regex, string) {
	key := regexKey{pattern, options}
	sandbox.Charge(l, 2+len(pattern)/64, 0)
	regexCache.Lock()
	re := regexCache.m[key]
	regexCache.Unlock()
	if re != nil {
		return re, ""
	}
	re, err := compileRegex(l, pattern, options)
	if err != nil {
		if err.unsupported {
			l.RaiseError("%s", err.text)
		}
		return nil, err.text
	}
	regexCache.Lock()
	defer regexCache.Unlock()
	for k, old := range regexCache.m { // any
		if regexCache.size+re.weight() <= maxCached {
			break
		}
		delete(regexCache.m, k)
		regexCache.size -= old.weight()
	}
	if regexCache.m[key] == nil {
		regexCache.m[regexKey{strings.Clone(pattern), strings.Clone(options)}] = re
		regexCache.size += re.weight()
	}
	return re, ""
}

func compileRegex(l *glua.LState, pattern, options string) (*regex, *regexError) {
	if len(pattern) > maxPattern {
		return nil, unsupported("an expression of more than " + strconv.Itoa(maxPattern) + " bytes")
	}
	re, flags, extended := &regex{}, syntax.Perl, false
	for i := 0; i < len(options); i++ {
		switch options[i] {
		case 'i':
			flags |= syntax.FoldCase
		case 's':
			flags |= syntax.DotNL
		case 'm':
			flags &^= syntax.OneLine
		case 'x':
			extended = true
		case 'u', 'U':
			re.utf8 = true
		case 'a':
			re.anchor = true
		case 'd':
			re.longest = true
		case 'j', 'o':
		case 'D', 'J':
			return nil, unsupported("option " + options[i:i+1])
		default:
			l.RaiseError("unknown flag \"%s\" (flags \"%s\")", options[i:i+1], options)
		}
	}
	t := translator{in: pattern, utf8: re.utf8, extended: extended}
	source, failure := t.translate()
	if failure != nil {
		return nil, failure
	}
	sandbox.Charge(l, 50+len(source)*4, 4<<10+int64(len(source))*256)
	tree, err := syntax.Parse(source, flags)
	if err != nil {
		e, ok := err.(*syntax.Error)
		if !ok {
			return nil, badRegex(err.Error())
		}
		return nil, badRegex(string(e.Code))
	}
	re.groups = tree.MaxCap()
	if re.groups > maxCaptures {
		return nil, unsupported("an expression of more than " + strconv.Itoa(maxCaptures) + " groups")
	}
	size := treeSize(tree)
	if size > maxProgram {
		return nil, unsupported("an expression that is so large")
	}
	sandbox.Charge(l, 2*size, int64(size)*256)
	re.names = tree.CapNames()
	dollars, lines := 0, 0
	countEnds(tree, &dollars, &lines)
	if dollars > 0 && lines > 0 {
		return nil, unsupported("$ in both its meanings, or \\Z with option m,")
	}
	re.ends = dollars > 0
	tree = tree.Simplify()
	prog, err := syntax.Compile(tree)
	if err != nil {
		return nil, badRegex(err.Error())
	}
	re.prog = prog
	re.first = re.firstBytes()
	return re, nil
}

// treeSize is about how many instructions a tree becomes.
func treeSize(re *syntax.Regexp) int {
	n := 1
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpCharClass:
		n += len(re.Rune) / 64
	}
	for _, sub := range re.Sub {
		n += treeSize(sub)
		if n > maxProgram {
			return n
		}
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1) + 1
	}
	return n
}

// countEnds counts the $ that mean the end, and makes them ends of lines, which the matcher
// understands by regex.ends; and those that are ends of lines.
func countEnds(re *syntax.Regexp, dollars, lines *int) {
	switch {
	case re.Op == syntax.OpEndText && re.Flags&syntax.WasDollar != 0:
		re.Op = syntax.OpEndLine
		*dollars++
	case re.Op == syntax.OpEndLine:
		*lines++
	}
	for _, sub := range re.Sub {
		countEnds(sub, dollars, lines)
	}
}

// maxFirst is how many instructions may be the first to read before it is not worth to know
// what they read.
const maxFirst = 32

// firstBytes are the bytes that a match can begin with; nil if it can be empty, or begin in
// many ways.
func (re *regex) firstBytes() *[256]bool {
	var set [256]bool
	seen := make([]bool, len(re.prog.Inst))
	todo, ways := []uint32{uint32(re.prog.Start)}, 0
	for len(todo) > 0 {
		pc := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		switch i := &re.prog.Inst[pc]; i.Op {
		case syntax.InstMatch:
			return nil
		case syntax.InstAlt, syntax.InstAltMatch:
			todo = append(todo, i.Out, i.Arg)
		case syntax.InstCapture, syntax.InstEmptyWidth, syntax.InstNop:
			todo = append(todo, i.Out)
		case syntax.InstFail:
		default:
			if ways++; ways > maxFirst {
				return nil
			}
			for b := range set {
				if b >= utf8.RuneSelf && re.utf8 {
					set[b] = true
				} else if matchRune(i, byteRune(byte(b))) {
					set[b] = true
				}
			}
		}
	}
	return &set
}

// byteRune is the code point of a byte without option u.
func byteRune(b byte) rune {
	if b < utf8.RuneSelf {
		return rune(b)
	}
	return highBytes + rune(b)
}

// translator makes Go's syntax of PCRE's.
type translator struct {
	in             string
	at             int
	out            strings.Builder
	utf8, extended bool
}

func (t *translator) translate() (string, *regexError) {
	quantified := false // the last thing was a quantifier, so + would make it possessive
	for t.at < len(t.in) {
		c := t.in[t.at]
		was := quantified
		quantified = false
		switch {
		case c == '\\':
			if err := t.escape(false); err != nil {
				return "", err
			}
		case c == '[':
			if err := t.class(); err != nil {
				return "", err
			}
		case c == '(' && strings.HasPrefix(t.in[t.at:], "(?"):
			if err := t.group(); err != nil {
				return "", err
			}
		case c == '(' && strings.HasPrefix(t.in[t.at:], "(*"):
			return "", unsupported("(*…) at the begin of an expression or a group")
		case t.extended && (c == ' ' || '\t' <= c && c <= '\r'):
			t.at++
			quantified = was
		case t.extended && c == '#':
			if n := strings.IndexByte(t.in[t.at:], '\n'); n >= 0 {
				t.at += n + 1
			} else {
				t.at = len(t.in)
			}
			quantified = was
		case c == '+' && was:
			return "", unsupported("a possessive quantifier, such as ++,")
		case c == '*' || c == '+' || c == '?' && !was:
			t.copy(1)
			quantified = true
		case c == '{' && repeatLength(t.in[t.at:]) > 0:
			t.copy(repeatLength(t.in[t.at:]))
			quantified = true
		default:
			t.char()
		}
	}
	return t.out.String(), nil
}

func (t *translator) copy(n int) {
	t.out.WriteString(t.in[t.at : t.at+n])
	t.at += n
}

// char writes one character, or one byte, which has no meaning of its own.
func (t *translator) char() {
	c := t.in[t.at]
	if c < utf8.RuneSelf || t.utf8 {
		t.copy(1)
		return
	}
	t.out.WriteRune(byteRune(c))
	t.at++
}

// repeatLength is the length of a repetition {n}, {n,} or {n,m}.
func repeatLength(s string) int {
	i := 1
	digits := func() bool {
		from := i
		for i < len(s) && '0' <= s[i] && s[i] <= '9' {
			i++
		}
		return i > from
	}
	if !digits() {
		return 0
	}
	if i < len(s) && s[i] == ',' {
		i++
		digits()
	}
	if i < len(s) && s[i] == '}' {
		return i + 1
	}
	return 0
}

// group writes the begin of a group that begins with (?.
func (t *translator) group() *regexError {
	rest := t.in[t.at+2:]
	has := func(prefixes ...string) bool {
		for _, p := range prefixes {
			if strings.HasPrefix(rest, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("=", "!", "<=", "<!"):
		return unsupported("look-around, such as (?=…),")
	case has(">"):
		return unsupported("an atomic group (?>…)")
	case has("|"):
		return unsupported("a group that numbers its branches alike, (?|…),")
	case has("("):
		return unsupported("a conditional group (?(…)")
	case has("R", "&", "P>", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "+", "-1", "-2", "-3"):
		return unsupported("a recursive expression, such as (?R),")
	case has("P="):
		return unsupported("a back-reference, such as (?P=name),")
	case has("C"):
		return unsupported("a call-out (?C)")
	case has("#"):
		n := strings.IndexByte(rest, ')')
		if n < 0 {
			return badRegex("missing ) after comment")
		}
		t.at += 2 + n + 1
		return nil
	case has("'"):
		n := strings.IndexByte(rest[1:], '\'')
		if n < 0 {
			return badRegex("syntax error in subpattern name (missing terminator)")
		}
		t.out.WriteString("(?P<" + rest[1:1+n] + ">")
		t.at += 2 + n + 2
		return nil
	case has("<"):
		t.out.WriteString("(?P<")
		t.at += 3
		return nil
	}
	// Flags: x is ours.
	if n := strings.IndexAny(rest, ":)"); n >= 0 && strings.ContainsAny(rest[:n], "xJX") && strings.Trim(rest[:n], "imsxUJX-") == "" {
		return unsupported("x among options in the expression")
	}
	t.copy(2)
	return nil
}

// escape writes what begins with a backslash.
func (t *translator) escape(class bool) *regexError {
	if t.at+1 >= len(t.in) {
		return badRegex("\\ at end of pattern")
	}
	c := t.in[t.at+1]
	switch {
	case c == 'x':
		return t.hex(class)
	case c == 'Q' && !class:
		t.at += 2
		end := strings.Index(t.in[t.at:], `\E`)
		quoted := t.in[t.at:]
		if end >= 0 {
			quoted = quoted[:end]
		}
		for i := 0; i < len(quoted); i++ {
			t.literal(quoted[i])
		}
		t.at += len(quoted)
		if end >= 0 {
			t.at += 2
		}
		return nil
	case c == 'e':
		return t.replace(`\x1b`)
	case c == 'h' && class:
		return t.replace(`\t `)
	case c == 'h':
		return t.replace(`[\t ]`)
	case c == 'H' && !class:
		return t.replace(`[^\t ]`)
	case c == 'N' && !class:
		return t.replace(`[^\n]`)
	case c == 'R' && !class:
		return t.replace(`(?:\r\n|[\n\v\f\r])`)
	case c == 'Z' && !class:
		return t.replace(`(?-m:$)`)
	case c == 's' && class:
		return t.replace(`\s\v`) // PCRE's \s has \v since 8.34, Go's has not
	case c == 's':
		return t.replace(`[\s\v]`)
	case c == 'S' && !class:
		return t.replace(`[^\s\v]`)
	case c == 'b' && class:
		return t.replace(`\x08`)
	case c == '0':
		n := 2
		for n < 4 && t.at+n < len(t.in) && '0' <= t.in[t.at+n] && t.in[t.at+n] <= '7' {
			n++
		}
		v, _ := strconv.ParseUint(t.in[t.at+1:t.at+n], 8, 8)
		t.at += n
		t.code(rune(v))
		return nil
	case '1' <= c && c <= '9' || c == 'g' || c == 'k':
		return unsupported("a back-reference, such as \\1,")
	case c == 'K', c == 'G', c == 'X', c == 'C', c == 'c', c == 'o', c == 'V', c == 'S' && class, c == 'H' && class:
		return unsupported(`\` + string(c))
	case c >= utf8.RuneSelf:
		t.at++
		t.char()
		return nil
	case (c == 'p' || c == 'P') && !t.utf8:
		return unsupported(`\p without option u`)
	case t.extended && c == ' ', c == '#':
		t.at++
		t.copy(1)
		return nil
	}
	t.copy(2)
	return nil
}

func (t *translator) replace(s string) *regexError {
	t.out.WriteString(s)
	t.at += 2
	return nil
}

// hex writes \xhh or \x{h…}.
func (t *translator) hex(class bool) *regexError {
	rest := t.in[t.at+2:]
	var digits string
	if strings.HasPrefix(rest, "{") {
		n := strings.IndexByte(rest, '}')
		if n < 2 {
			return badRegex("invalid escape sequence")
		}
		digits = rest[1:n]
		t.at += 2 + n + 1
	} else {
		n := 0
		for n < 2 && n < len(rest) && strings.IndexByte(upperHex, upper(rest[n])) >= 0 {
			n++
		}
		digits = rest[:n]
		t.at += 2 + n
	}
	v, err := strconv.ParseUint("0"+digits, 16, 32)
	if err != nil || v > utf8.MaxRune || v > 0xff && !t.utf8 {
		return badRegex("character value in \\x{} or \\o{} is too large")
	}
	t.code(rune(v))
	return nil
}

// code writes a code point, which is a byte without option u.
func (t *translator) code(r rune) {
	if !t.utf8 {
		r = byteRune(byte(r))
	}
	t.out.WriteString(`\x{` + strconv.FormatInt(int64(r), 16) + `}`)
}

// literal writes a byte that means itself.
func (t *translator) literal(c byte) {
	switch {
	case c >= utf8.RuneSelf && !t.utf8:
		t.out.WriteRune(byteRune(c))
	case c >= utf8.RuneSelf:
		t.out.WriteByte(c)
	case c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c < ' ' || c == 0x7f:
		t.out.WriteByte(c)
	default:
		t.out.WriteByte('\\')
		t.out.WriteByte(c)
	}
}

// class writes a class of characters.
func (t *translator) class() *regexError {
	t.copy(1)
	if t.at < len(t.in) && t.in[t.at] == '^' {
		t.copy(1)
	}
	for first := true; t.at < len(t.in); first = false {
		c := t.in[t.at]
		switch {
		case c == ']' && !first:
			t.copy(1)
			return nil
		case c == ']':
			t.out.WriteString(`\]`)
			t.at++
		case c == '[':
			if n := strings.Index(t.in[t.at:], ":]"); strings.HasPrefix(t.in[t.at:], "[:") && n > 0 {
				t.copy(n + 2)
			} else {
				t.out.WriteString(`\[`)
				t.at++
			}
		case c == '\\':
			if err := t.escape(true); err != nil {
				return err
			}
		default:
			t.char()
		}
	}
	return badRegex("missing terminating ] for character class")
}

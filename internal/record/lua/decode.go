package lua

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	glua "github.com/yuin/gopher-lua"
)

// maxDepth is how deep JSON may nest, read or written: the limit of Kong's JSON library.
const maxDepth = 1000

// What gopher-lua takes for a table, a member and an element, in bytes, rounded up.
const (
	tableBytes   = 256
	memberBytes  = 192
	elementBytes = 48
)

// decoder makes Lua values of JSON (RFC 8259). Like Kong's JSON library it takes control
// characters within strings; unlike it, it takes no numbers that JSON does not have.
// Errors are in that library's words. The last of members with the same name counts.
type decoder struct {
	l     *glua.LState
	s     string
	i     int
	depth int
	max   int       // most levels; 0: maxDepth
	bytes int64     // that the values may still take
	stack []element // of the objects and arrays that are being read

	arrays  glua.LValue                // the metatable of arrays, nil for none
	empty   glua.LValue                // that of empty arrays
	numbers map[numberPlace]numberText // nil: numbers that are written unusually are not kept
	values  *interner                  // nil: strings are not shared
}

// numberPlace is where a number is that was not written as it would be encoded.
type numberPlace struct {
	table *glua.LTable
	key   glua.LValue
}

// numberText is such a number, and how it was written.
type numberText struct {
	value glua.LNumber
	text  string
}

// syntaxError is what is wrong with JSON, in the words of Kong's library.
type syntaxError string

func (e syntaxError) Error() string { return string(e) }

// errLarge is the error of JSON whose values would take more memory than a function may.
const errLarge = syntaxError("the values would take more memory than a function may use")

// decode decodes all of s.
func (d *decoder) decode(s string) (glua.LValue, error) {
	d.s, d.i, d.depth = s, 0, 0
	d.pop(0)
	if len(s) > 1 && (s[0] == 0 || s[1] == 0) {
		return nil, syntaxError("JSON parser does not support UTF-16 or UTF-32")
	}
	v, err := d.value()
	if err != nil {
		return nil, err
	}
	if d.space(); d.i < len(d.s) {
		return nil, d.expected("the end")
	}
	return v, nil
}

func (d *decoder) space() {
	for d.i < len(d.s) {
		switch d.s[d.i] {
		case ' ', '\t', '\n', '\r':
			d.i++
		default:
			return
		}
	}
}

// next returns the next byte that is no white space, 0 at the end.
func (d *decoder) next() byte {
	if d.i < len(d.s) && d.s[d.i] > ' ' {
		return d.s[d.i]
	}
	d.space()
	if d.i < len(d.s) {
		return d.s[d.i]
	}
	return 0
}

// expected is the error of something else than what is expected, here.
func (d *decoder) expected(what string) error {
	d.space()
	return syntaxError(fmt.Sprintf("Expected %s but found %s at character %d", what, d.token(), d.i+1))
}

// token names what stands here, as Kong's library calls it.
func (d *decoder) token() string {
	if d.i >= len(d.s) {
		return "T_END"
	}
	rest := d.s[d.i:]
	switch c := rest[0]; {
	case c == '{':
		return "T_OBJ_BEGIN"
	case c == '}':
		return "T_OBJ_END"
	case c == '[':
		return "T_ARR_BEGIN"
	case c == ']':
		return "T_ARR_END"
	case c == ',':
		return "T_COMMA"
	case c == ':':
		return "T_COLON"
	case c == '"':
		if _, err := (&decoder{s: d.s, i: d.i, bytes: d.bytes}).text(); err != "" {
			return err
		}
		return "T_STRING"
	case strings.HasPrefix(rest, "true"), strings.HasPrefix(rest, "false"):
		return "T_BOOLEAN"
	case strings.HasPrefix(rest, "null"):
		return "T_NULL"
	case c == '-' || '0' <= c && c <= '9':
		if numberEnd(d.s, d.i) < 0 {
			return "invalid number"
		}
		return "T_NUMBER"
	}
	return "invalid token"
}

// take counts the bytes of a value against the limit.
func (d *decoder) take(n int) error {
	if d.bytes -= int64(n); d.bytes < 0 {
		return errLarge
	}
	return nil
}

func (d *decoder) value() (glua.LValue, error) {
	switch c := d.next(); c {
	case '"':
		return d.stringValue()
	case '{':
		return d.object()
	case '[':
		return d.array()
	case 't':
		if strings.HasPrefix(d.s[d.i:], "true") {
			d.i += len("true")
			return glua.LTrue, nil
		}
	case 'f':
		if strings.HasPrefix(d.s[d.i:], "false") {
			d.i += len("false")
			return glua.LFalse, nil
		}
	case 'n':
		if strings.HasPrefix(d.s[d.i:], "null") {
			d.i += len("null")
			return null, nil
		}
	default:
		if end := numberEnd(d.s, d.i); end > 0 {
			text := d.s[d.i:end]
			d.i = end
			return number(text), d.take(elementBytes)
		}
	}
	return nil, d.expected("value")
}

func (d *decoder) stringValue() (glua.LValue, error) {
	from := d.i
	s, bad := d.text()
	if bad != "" {
		d.i = from
		return nil, d.expected("value")
	}
	if err := d.take(elementBytes + len(s)); err != nil {
		return nil, err
	}
	if d.values != nil {
		return d.values.value(s), nil
	}
	return glua.LString(s), nil
}

// descend is called at the beginning of an object or an array.
func (d *decoder) descend() error {
	d.i++
	limit := d.max
	if limit == 0 {
		limit = maxDepth
	}
	if d.depth++; d.depth > limit {
		return syntaxError(fmt.Sprintf("Found too many nested data structures (%d) at character %d", d.depth, d.i))
	}
	return d.take(tableBytes)
}

func (d *decoder) object() (glua.LValue, error) {
	if err := d.descend(); err != nil {
		return nil, err
	}
	first := len(d.stack)
	for {
		c := d.next()
		if len(d.stack) == first && c == '}' {
			break
		}
		if c != '"' {
			return nil, d.expected("object key string")
		}
		from := d.i
		name, bad := d.text()
		if bad != "" {
			d.i = from
			return nil, d.expected("object key string")
		}
		if d.next() != ':' {
			return nil, d.expected("colon")
		}
		d.i++
		if err := d.element(name, memberBytes+len(name)); err != nil {
			return nil, err
		}
		if c = d.next(); c == '}' {
			break
		}
		if c != ',' {
			return nil, d.expected("comma or object end")
		}
		d.i++
	}
	d.i++
	d.depth--
	elements := d.stack[first:]
	t := d.l.CreateTable(0, len(elements))
	for i := range elements {
		e := &elements[i]
		t.RawSetString(e.name, e.value)
		if e.number != "" {
			d.keep(t, glua.LString(e.name), e.value, e.number)
		}
	}
	d.pop(first)
	return t, nil
}

func (d *decoder) array() (glua.LValue, error) {
	if err := d.descend(); err != nil {
		return nil, err
	}
	first := len(d.stack)
	for {
		if len(d.stack) == first && d.next() == ']' {
			break
		}
		if err := d.element("", elementBytes); err != nil {
			return nil, err
		}
		c := d.next()
		if c == ']' {
			break
		}
		if c != ',' {
			return nil, d.expected("comma or array end")
		}
		d.i++
	}
	d.i++
	d.depth--
	elements := d.stack[first:]
	t := d.l.CreateTable(len(elements), 0)
	for i := range elements {
		e := &elements[i]
		t.Append(e.value)
		if e.number != "" {
			d.keep(t, glua.LNumber(i+1), e.value, e.number)
		}
	}
	if d.arrays != nil {
		t.Metatable = d.arrays
	}
	if len(elements) == 0 && d.empty != nil {
		t.Metatable = d.empty
	}
	d.pop(first)
	return t, nil
}

// element is what an object or an array will have.
type element struct {
	name   string
	value  glua.LValue
	number string // how value was written, if it is a number that is to be kept
}

// element reads a value, which takes n bytes in its table, onto the stack.
func (d *decoder) element(name string, n int) error {
	d.next()
	at := d.i
	v, err := d.value()
	if err != nil {
		return err
	}
	if err := d.take(n); err != nil {
		return err
	}
	e := element{name: name, value: v}
	if d.numbers != nil && writtenUnusually(v, d.s[at:d.i]) {
		e.number = d.s[at:d.i]
	}
	d.stack = append(d.stack, e)
	return nil
}

func (d *decoder) pop(first int) {
	clear(d.stack[first:])
	d.stack = d.stack[:first]
}

// writtenUnusually reports whether v is a number that would be encoded as another text.
func writtenUnusually(v glua.LValue, text string) bool {
	f, ok := v.(glua.LNumber)
	if !ok {
		return false
	}
	var b [32]byte
	return string(appendNumber(b[:0], float64(f))) != text
}

// keep keeps how a number of a table was written.
func (d *decoder) keep(t *glua.LTable, key, v glua.LValue, text string) {
	if n, ok := v.(glua.LNumber); ok {
		d.numbers[numberPlace{t, key}] = numberText{n, text}
	}
}

// text reads a string, whose quote is here. bad is what is wrong with it, in the words of
// Kong's library.
func (d *decoder) text() (s, bad string) {
	d.i++
	from := d.i
	for i := from; i < len(d.s); i++ {
		switch d.s[i] {
		case '"':
			d.i = i + 1
			return d.s[from:i], ""
		case '\\':
			return d.escaped(from, i)
		}
	}
	return "", "unexpected end of string"
}

// escaped is text from the first backslash on.
func (d *decoder) escaped(from, i int) (s, bad string) {
	end := i
	for end < len(d.s) && d.s[end] != '"' {
		if d.s[end] == '\\' {
			end++
		}
		end++
	}
	b := make([]byte, 0, min(end, len(d.s))-from)
	for {
		b = append(b, d.s[from:i]...)
		if i+1 >= len(d.s) {
			return "", "unexpected end of string"
		}
		c := d.s[i+1]
		i += 2
		switch c {
		case '"', '\\', '/':
			b = append(b, c)
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r := codeUnit(d.s[i:])
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if strings.HasPrefix(d.s[min(i, len(d.s)):], `\u`) {
					low = codeUnit(d.s[i+2:])
				}
				r = utf16.DecodeRune(r, low)
				if r == utf8.RuneError {
					r = -1
				}
				i += 6
			}
			if r < 0 {
				return "", "invalid unicode escape code"
			}
			b = utf8.AppendRune(b, r)
		default:
			return "", "invalid escape code"
		}
		from = i
		for i < len(d.s) && d.s[i] != '"' && d.s[i] != '\\' {
			i++
		}
		if i >= len(d.s) {
			return "", "unexpected end of string"
		}
		if d.s[i] == '"' {
			b = append(b, d.s[from:i]...)
			d.i = i + 1
			return string(b), ""
		}
	}
}

// codeUnit returns what the first four bytes of s are as hex digits, or -1.
func codeUnit(s string) rune {
	if len(s) < 4 {
		return -1
	}
	n, err := strconv.ParseUint(s[:4], 16, 16)
	if err != nil || s[0] == '+' || strings.IndexByte(s[:4], '_') >= 0 {
		return -1
	}
	return rune(n)
}

// numberEnd returns the end of the number that begins at i, or -1 if there is none.
func numberEnd(s string, i int) int {
	digits := func() bool {
		from := i
		for i < len(s) && s[i]-'0' <= 9 {
			i++
		}
		return i > from
	}
	if i < len(s) && s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
	} else if !digits() {
		return -1
	}
	if i < len(s) && s[i] == '.' {
		i++
		if !digits() {
			return -1
		}
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return -1
		}
	}
	return i
}

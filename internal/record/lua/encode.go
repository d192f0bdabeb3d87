package lua

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	glua "github.com/yuin/gopher-lua"
)

// encoder makes JSON of Lua values, as Kong's JSON library does. The zero value writes what
// that library would write by default, with no limit to the size.
//
// A table is an array if all of its keys are integers from 1 on, or its metatable says so;
// otherwise it is an object, and so is an empty one.
type encoder struct {
	max         int  // bytes; more is errSize
	depth       int  // most levels; 0: maxDepth
	sparse      int  // an array with more elements, most of which are nil, is an error; 0: 10
	emptyArrays bool // empty tables without a metatable are arrays, not objects
	utf8        bool // write U+FFFD for each byte that is no part of UTF-8, and "/" and DEL as they are
	slash       bool // write "/" as it is
	digits      int  // of numbers; 0: numberDigits

	arrays, empty glua.LValue // the metatables of arrays
	numbers       map[numberPlace]numberText

	tables int // that were written, for what the work is worth
}

// errSize is the error of JSON that is longer than it may be.
type errSize struct{ max int }

func (e errSize) Error() string { return fmt.Sprintf("the JSON is longer than %d bytes", e.max) }

func (e *encoder) append(dst []byte, v glua.LValue) ([]byte, error) { return e.value(dst, v, 0) }

func cannotSerialise(what, why string) error {
	return syntaxError("Cannot serialise " + what + ": " + why)
}

func (e *encoder) value(dst []byte, v glua.LValue, depth int) ([]byte, error) {
	if e.max > 0 && len(dst) > e.max {
		return dst, errSize{e.max}
	}
	switch v := v.(type) {
	case glua.LString:
		return e.text(dst, string(v)), nil
	case glua.LNumber:
		return e.number(dst, float64(v))
	case glua.LBool:
		return strconv.AppendBool(dst, bool(v)), nil
	case *glua.LNilType:
		return append(dst, "null"...), nil
	case *glua.LTable:
		return e.table(dst, v, depth+1)
	case *glua.LUserData:
		switch {
		case v == null:
			return append(dst, "null"...), nil
		case v == emptyArray:
			return append(dst, "[]"...), nil
		}
		if n := exactOf(v); n != nil {
			return append(dst, n.text...), nil
		}
	}
	return dst, cannotSerialise(v.Type().String(), "type not supported")
}

func (e *encoder) number(dst []byte, f float64) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return dst, cannotSerialise("number", "must not be NaN or Infinity")
	}
	if e.digits > 0 && e.digits != numberDigits {
		return strconv.AppendFloat(dst, f, 'g', e.digits, 64), nil
	}
	return appendNumber(dst, f), nil
}

// member appends the value of a member of t.
func (e *encoder) member(dst []byte, t *glua.LTable, key, v glua.LValue, depth int) ([]byte, error) {
	if len(e.numbers) > 0 {
		if n, ok := v.(glua.LNumber); ok {
			if was, ok := e.numbers[numberPlace{t, key}]; ok && was.value == n {
				return append(dst, was.text...), nil
			}
		}
	}
	return e.value(dst, v, depth)
}

func (e *encoder) table(dst []byte, t *glua.LTable, depth int) ([]byte, error) {
	e.tables++
	limit := e.depth
	if limit == 0 {
		limit = maxDepth
	}
	if depth > limit {
		return dst, syntaxError(fmt.Sprintf("Cannot serialise, excessive depth (%d)", depth))
	}
	marked := t.Metatable != glua.LNil && (t.Metatable == e.arrays || t.Metatable == e.empty)
	if marked && t.Metatable == e.arrays {
		return e.array(dst, t, t.Len(), depth)
	}
	n := t.MaxN()
	var key, v glua.LValue
	if n == 0 {
		key, v = t.Next(glua.LNil)
	} else {
		key, v = t.Next(glua.LNumber(n)) // the first that is not in the array
	}
	if key == glua.LNil {
		switch {
		case n == 0 && (marked || e.emptyArrays):
			return append(dst, "[]"...), nil
		case n == 0:
			return append(dst, "{}"...), nil
		}
		return e.dense(dst, t, n, depth)
	}
	if n == 0 && onlyLargeKeys(t, key) {
		return dst, cannotSerialise("table", "excessively sparse array")
	}
	dst = append(dst, '{')
	var err error
	for i := 1; i <= n; i++ {
		if v := t.RawGetInt(i); v != glua.LNil {
			if dst, err = e.pair(dst, t, glua.LNumber(i), v, depth); err != nil {
				return dst, err
			}
		}
	}
	for ; key != glua.LNil; key, v = t.Next(key) {
		if dst, err = e.pair(dst, t, key, v, depth); err != nil {
			return dst, err
		}
	}
	dst[len(dst)-1] = '}'
	return dst, nil
}

// onlyLargeKeys reports whether all keys, from this one on, are those of elements that
// gopher-lua does not keep in its arrays, because they are far apart.
func onlyLargeKeys(t *glua.LTable, key glua.LValue) bool {
	for ; key != glua.LNil; key, _ = t.Next(key) {
		if n, ok := key.(glua.LNumber); !ok || n < 1 || n != glua.LNumber(math.Trunc(float64(n))) {
			return false
		}
	}
	return true
}

// dense appends an array unless too many of its elements are nil.
func (e *encoder) dense(dst []byte, t *glua.LTable, n, depth int) ([]byte, error) {
	limit := e.sparse
	if limit == 0 {
		limit = 10
	}
	if n > limit {
		items := 0
		for i := 1; i <= n; i++ {
			if t.RawGetInt(i) != glua.LNil {
				items++
			}
		}
		if n > 2*items {
			return dst, cannotSerialise("table", "excessively sparse array")
		}
	}
	return e.array(dst, t, n, depth)
}

func (e *encoder) array(dst []byte, t *glua.LTable, n, depth int) ([]byte, error) {
	if n == 0 {
		return append(dst, "[]"...), nil
	}
	var err error
	for i := 1; i <= n; i++ {
		dst = append(dst, "[,"[min(i-1, 1)])
		if dst, err = e.member(dst, t, glua.LNumber(i), t.RawGetInt(i), depth); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func (e *encoder) pair(dst []byte, t *glua.LTable, key, v glua.LValue, depth int) ([]byte, error) {
	switch k := key.(type) {
	case glua.LString:
		dst = e.text(dst, string(k))
	case glua.LNumber:
		dst = append(dst, '"')
		var err error
		if dst, err = e.number(dst, float64(k)); err != nil {
			return dst, err
		}
		dst = append(dst, '"')
	default:
		return dst, cannotSerialise("table", "table key must be a number or string")
	}
	dst = append(dst, ':')
	dst, err := e.member(dst, t, key, v, depth)
	return append(dst, ','), err
}

// text appends s as a JSON string.
func (e *encoder) text(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf && (e.utf8 || c != 0x7f && (c != '/' || e.slash)) {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if !e.utf8 {
				i++
				continue
			}
			r, n := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		dst = append(dst, s[from:i]...)
		i++
		from = i
		const hex = "0123456789abcdef"
		switch c {
		case '"', '\\', '/':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, `\b`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			if c >= utf8.RuneSelf {
				dst = append(dst, "\uFFFD"...)
			} else {
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
		}
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

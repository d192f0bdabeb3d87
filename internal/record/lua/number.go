package lua

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/sandbox"
)

// Lua's numbers are doubles, which tostring writes with 14 digits. A number of JSON that has
// more of them, or is too large or too small, is an exactNumber: a userdata that becomes the
// same text again. In arithmetic it is the nearest double.
type exactNumber struct {
	text  string
	value float64
}

// It is a sandbox.Number.

func (n *exactNumber) Float64() float64 { return n.value }
func (n *exactNumber) String() string   { return n.text }

// maxDigits is how many digits a number can have that tostring gives back, and maxExponent
// how far its point may be from them.
const (
	maxDigits   = 14
	maxExponent = 300
)

// number returns the Lua value of a number of JSON.
func number(text string) glua.LValue {
	if fits(text) {
		f, _ := strconv.ParseFloat(text, 64)
		return glua.LNumber(f)
	}
	f, _ := strconv.ParseFloat(text, 64) // ±Inf if it is too large
	return &glua.LUserData{Value: &exactNumber{text, f}, Metatable: exactMeta}
}

// fits reports whether a double holds the number, and tostring gives it back.
func fits(text string) bool {
	if len(text) <= maxDigits {
		return strings.IndexByte(text, 'e') < 0 && strings.IndexByte(text, 'E') < 0 || fitsExponent(text)
	}
	return fitsExponent(text)
}

func fitsExponent(text string) bool {
	digits, zeros, exponent := 0, 0, 0
	point := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '-':
		case c == '.':
			point = true
		case c|0x20 == 'e':
			e, err := strconv.Atoi(strings.TrimPrefix(text[i+1:], "+"))
			if err != nil {
				return digits == 0
			}
			exponent += max(min(e, 1<<20), -1<<20)
			i = len(text)
		default:
			if point {
				exponent--
			}
			if c == '0' {
				zeros++
			} else {
				if digits > 0 {
					digits += zeros
				}
				zeros = 0
				digits++
			}
		}
	}
	if digits == 0 {
		return true
	}
	exponent += zeros + digits // of the first digit
	return digits <= maxDigits && -maxExponent < exponent && exponent < maxExponent
}

// numberDigits are those that Kong's JSON library is told to write.
const numberDigits = 16

// appendNumber appends a finite number as Kong's JSON library writes it: C's %.16g.
func appendNumber(dst []byte, f float64) []byte {
	if i := int64(f); float64(i) == f && -1e15 < f && f < 1e15 && (i != 0 || !math.Signbit(f)) {
		return strconv.AppendInt(dst, i, 10)
	}
	return strconv.AppendFloat(dst, f, 'g', numberDigits, 64)
}

// exactOf returns the exactNumber that v is, or nil.
func exactOf(v glua.LValue) *exactNumber {
	if u, ok := v.(*glua.LUserData); ok {
		n, _ := u.Value.(*exactNumber)
		return n
	}
	return nil
}

// toNumber returns what v is in arithmetic.
func toNumber(v glua.LValue) (float64, bool) {
	switch v := v.(type) {
	case glua.LNumber:
		return float64(v), true
	case glua.LString:
		f, err := strconv.ParseFloat(strings.TrimSpace(string(v)), 64)
		return f, err == nil
	}
	if n := exactOf(v); n != nil {
		return n.value, true
	}
	return 0, false
}

// rational returns the exact value of a number, nil if that would take much memory.
func rational(v glua.LValue) *big.Rat {
	switch v := v.(type) {
	case glua.LNumber:
		return new(big.Rat).SetFloat64(float64(v))
	case *glua.LUserData:
		n := exactOf(v)
		if n == nil || len(n.text) > 100 || math.IsInf(n.value, 0) || n.value != 0 && math.Abs(n.value) < 1e-300 || n.value == 0 {
			return nil
		}
		r, _ := new(big.Rat).SetString(n.text)
		return r
	}
	return nil
}

// compareNumbers compares two operands, exactly if it can.
func compareNumbers(l *glua.LState) int {
	a, b := l.Get(1), l.Get(2)
	x, ok := toNumber(a)
	y, ok2 := toNumber(b)
	if !ok || !ok2 || a.Type() == glua.LTString || b.Type() == glua.LTString {
		l.RaiseError("attempt to compare %s with %s", a.Type(), b.Type())
	}
	sandbox.Charge(l, 30, 512)
	if p, q := rational(a), rational(b); p != nil && q != nil {
		return p.Cmp(q)
	}
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

var exactMeta = func() *glua.LTable {
	arithmetic := func(f func(a, b float64) float64) glua.LGFunction {
		return func(l *glua.LState) int {
			a, b := l.Get(1), l.Get(2)
			if l.GetTop() < 2 {
				b = a // unary minus
			}
			x, ok := toNumber(a)
			y, ok2 := toNumber(b)
			if !ok || !ok2 {
				if ok {
					a = b
				}
				l.RaiseError("attempt to perform arithmetic on a %s value", a.Type())
			}
			l.Push(glua.LNumber(f(x, y)))
			return 1
		}
	}
	compare := func(f func(order int) bool) glua.LGFunction {
		return func(l *glua.LState) int {
			l.Push(glua.LBool(f(compareNumbers(l))))
			return 1
		}
	}
	return metatable(map[string]glua.LGFunction{
		"__add": arithmetic(func(a, b float64) float64 { return a + b }),
		"__sub": arithmetic(func(a, b float64) float64 { return a - b }),
		"__mul": arithmetic(func(a, b float64) float64 { return a * b }),
		"__div": arithmetic(func(a, b float64) float64 { return a / b }),
		"__pow": arithmetic(math.Pow),
		"__mod": arithmetic(func(a, b float64) float64 { return a - math.Floor(a/b)*b }),
		"__unm": arithmetic(func(a, _ float64) float64 { return -a }),
		"__eq":  compare(func(order int) bool { return order == 0 }),
		"__lt":  compare(func(order int) bool { return order < 0 }),
		"__le":  compare(func(order int) bool { return order <= 0 }),
		"__tostring": func(l *glua.LState) int {
			n := exactOf(l.Get(1))
			if n == nil {
				l.RaiseError("a number was expected")
			}
			sandbox.Charge(l, 1, 16)
			l.Push(glua.LString(n.text))
			return 1
		},
		"__concat": func(l *glua.LState) int {
			text := make([]byte, 0, 64)
			for i := 1; i <= 2; i++ {
				v := l.Get(i)
				if n := exactOf(v); n != nil {
					text = append(text, n.text...)
				} else if glua.LVCanConvToString(v) {
					text = append(text, sandbox.ToString(l, v)...)
				} else {
					l.RaiseError("attempt to concatenate a %s value", v.Type())
				}
			}
			sandbox.Charge(l, 1+len(text)/64, int64(4*len(text)))
			l.Push(glua.LString(text))
			return 1
		},
	})
}()

// goFunction makes a function that states can share.
func goFunction(f glua.LGFunction) *glua.LFunction { return &glua.LFunction{IsG: true, GFunction: f} }

// metatable makes a metatable that no script can see or change, and states can share.
func metatable(functions map[string]glua.LGFunction) *glua.LTable {
	mt := &glua.LTable{Metatable: glua.LNil}
	for name, f := range functions {
		mt.RawSetString(name, goFunction(f))
	}
	mt.RawSetString("__metatable", glua.LFalse)
	return mt
}

// The values that stand for what Lua does not have. States share them.
var (
	null       = named("userdata: NULL") // JSON's null
	skip       = named("kafka.skip")     // no record
	emptyArray = named("userdata: EMPTY ARRAY")
)

func named(text string) *glua.LUserData {
	return &glua.LUserData{Metatable: metatable(map[string]glua.LGFunction{
		"__tostring": func(l *glua.LState) int {
			l.Push(glua.LString(text))
			return 1
		},
	})}
}

package sandbox

import (
	"math"
	"math/bits"
	"runtime"

	glua "github.com/yuin/gopher-lua"
)

// float makes a function of one number.
func float(f func(float64) float64) glua.LGFunction {
	return func(l *glua.LState) int {
		l.Push(glua.LNumber(f(numberArg(l, 1))))
		return 1
	}
}

func float2(f func(a, b float64) float64) glua.LGFunction {
	return func(l *glua.LState) int {
		l.Push(glua.LNumber(f(numberArg(l, 1), numberArg(l, 2))))
		return 1
	}
}

var mathFunctions = map[string]glua.LGFunction{
	"abs": float(math.Abs), "acos": float(math.Acos), "asin": float(math.Asin),
	"atan": float(math.Atan), "atan2": float2(math.Atan2), "ceil": float(math.Ceil),
	"cos": float(math.Cos), "cosh": float(math.Cosh),
	"deg": float(func(x float64) float64 { return x * (180 / math.Pi) }),
	"exp": float(math.Exp), "floor": float(math.Floor), "fmod": mathFmod,
	"frexp": mathFrexp, "ldexp": func(l *glua.LState) int {
		l.Push(glua.LNumber(math.Ldexp(numberArg(l, 1), intArg(l, 2))))
		return 1
	},
	"log": mathLog, "log10": float(math.Log10), "max": mathMax, "min": mathMin,
	"modf": mathModf, "pow": float2(math.Pow),
	"rad":    float(func(x float64) float64 { return x * (math.Pi / 180) }),
	"random": mathRandom, "sin": float(math.Sin),
	"sinh": float(math.Sinh), "sqrt": float(math.Sqrt), "tan": float(math.Tan),
	"tanh": float(math.Tanh),
}

var mathConstants = map[string]glua.LValue{
	"huge": glua.LNumber(math.Inf(1)), "pi": glua.LNumber(math.Pi),
}

// mathFmod charges for the bits that its arguments are apart, one step for each.
func mathFmod(l *glua.LState) int {
	x, y := numberArg(l, 1), numberArg(l, 2)
	if x != 0 && y != 0 && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
		Charge(l, max(math.Ilogb(x)-math.Ilogb(y), 0)/16, 0)
	}
	l.Push(glua.LNumber(math.Mod(x, y)))
	return 1
}

func mathFrexp(l *glua.LState) int {
	f, e := math.Frexp(numberArg(l, 1))
	l.Push(glua.LNumber(f))
	l.Push(glua.LNumber(e))
	return 2
}

func mathLog(l *glua.LState) int {
	x := numberArg(l, 1)
	switch base := l.Get(2); {
	case base == glua.LNil:
		x = math.Log(x)
	case base == glua.LNumber(10):
		x = math.Log10(x)
	case base == glua.LNumber(2):
		x = math.Log2(x)
	default:
		x = math.Log(x) / math.Log(numberArg(l, 2))
	}
	l.Push(glua.LNumber(x))
	return 1
}

func mathModf(l *glua.LState) int {
	x := numberArg(l, 1)
	i, f := math.Trunc(x), 0.0
	if !math.IsInf(x, 0) {
		f = x - i
	}
	l.Push(glua.LNumber(i))
	l.Push(glua.LNumber(f))
	return 2
}

func mathMax(l *glua.LState) int {
	m := numberArg(l, 1)
	for i := 2; i <= l.GetTop(); i++ {
		if x := numberArg(l, i); x > m {
			m = x
		}
	}
	l.Push(glua.LNumber(m))
	return 1
}

func mathMin(l *glua.LState) int {
	m := numberArg(l, 1)
	for i := 2; i <= l.GetTop(); i++ {
		if x := numberArg(l, i); x < m {
			m = x
		}
	}
	l.Push(glua.LNumber(m))
	return 1
}

func mathRandom(l *glua.LState) int {
	r := stateOf(l).random.float()
	switch l.GetTop() {
	case 0:
		l.Push(glua.LNumber(r))
		return 1
	case 1:
		m := math.Floor(numberArg(l, 1))
		if m < 1 {
			argError(l, 1, "interval is empty")
		}
		l.Push(glua.LNumber(math.Floor(r*m) + 1))
	default:
		a, b := math.Floor(numberArg(l, 1)), math.Floor(numberArg(l, 2))
		if a > b {
			argError(l, 2, "interval is empty")
		}
		l.Push(glua.LNumber(math.Floor(r*(b-a+1)) + a))
	}
	return 1
}

// random is xoshiro256**. It is no source of secrets.
type random [4]uint64

// seed fills the state with splitmix64.
func (r *random) seed(x uint64) {
	for i := range r {
		x += 0x9e3779b97f4a7c15
		z := (x ^ x>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		r[i] = z ^ z>>31
	}
}

// float is in [0, 1).
func (r *random) float() float64 {
	v := bits.RotateLeft64(r[1]*5, 7) * 9
	t := r[1] << 17
	r[2] ^= r[0]
	r[3] ^= r[1]
	r[1] ^= r[2]
	r[0] ^= r[3]
	r[2] ^= t
	r[3] = bits.RotateLeft64(r[3], 45)
	return float64(v>>11) / (1 << 53)
}

// toBit makes the 32 bits of a number that bit.* work on: it is rounded to a whole one and
// taken modulo 2³².
func toBit(f float64) uint32 {
	f = math.RoundToEven(f)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	if math.Abs(f) >= 1<<62 {
		f = math.Mod(f, 1<<32)
	}
	return uint32(int64(f))
}

func bitArg(l *glua.LState, n int) uint32 { return toBit(numberArg(l, n)) }

func pushBit(l *glua.LState, v uint32) int {
	l.Push(glua.LNumber(int32(v)))
	return 1
}

func bitShift(f func(v uint32, n int) uint32) glua.LGFunction {
	return func(l *glua.LState) int { return pushBit(l, f(bitArg(l, 1), int(bitArg(l, 2)&31))) }
}

func bitFold(f func(a, b uint32) uint32) glua.LGFunction {
	return func(l *glua.LState) int {
		v := bitArg(l, 1)
		for i := 2; i <= l.GetTop(); i++ {
			v = f(v, bitArg(l, i))
		}
		return pushBit(l, v)
	}
}

var bitFunctions = map[string]glua.LGFunction{
	"arshift": bitShift(func(v uint32, n int) uint32 { return uint32(int32(v) >> n) }),
	"lshift":  bitShift(func(v uint32, n int) uint32 { return v << n }),
	"rshift":  bitShift(func(v uint32, n int) uint32 { return v >> n }),
	"rol":     bitShift(bits.RotateLeft32),
	"ror":     bitShift(func(v uint32, n int) uint32 { return bits.RotateLeft32(v, -n) }),
	"band":    bitFold(func(a, b uint32) uint32 { return a & b }),
	"bor":     bitFold(func(a, b uint32) uint32 { return a | b }),
	"bxor":    bitFold(func(a, b uint32) uint32 { return a ^ b }),
	"bnot":    func(l *glua.LState) int { return pushBit(l, ^bitArg(l, 1)) },
	"bswap":   func(l *glua.LState) int { return pushBit(l, bits.ReverseBytes32(bitArg(l, 1))) },
	"tobit":   func(l *glua.LState) int { return pushBit(l, bitArg(l, 1)) },
	"tohex":   bitTohex,
}

func bitTohex(l *glua.LState) int {
	v, n, digits := bitArg(l, 1), intOr(l, 2, 8), "0123456789abcdef"
	if n < 0 {
		n, digits = -n, "0123456789ABCDEF"
	}
	n = min(n, 254)
	Charge(l, n/32, 256)
	b := make([]byte, n)
	for i := n - 1; i >= 0; i-- {
		b[i] = digits[v&15]
		v >>= 4
	}
	l.Push(glua.LString(b))
	return 1
}

// jitConstants say what the library jit says of LuaJIT 2.1 on this machine.
var jitConstants = map[string]glua.LValue{
	"version": glua.LString("LuaJIT 2.1.0"), "version_num": glua.LNumber(20100),
	"os":   glua.LString(map[string]string{"linux": "Linux", "darwin": "OSX", "windows": "Windows"}[runtime.GOOS]),
	"arch": glua.LString(map[string]string{"amd64": "x64", "arm64": "arm64", "386": "x86"}[runtime.GOARCH]),
}

func ioType(l *glua.LState) int {
	anyArg(l, 1) // no script has a file
	l.Push(glua.LNil)
	return 1
}

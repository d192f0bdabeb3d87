package sandbox

import (
	"testing"

	glua "github.com/yuin/gopher-lua"
)

func function(t testing.TB, source string) (*State, *glua.LFunction) {
	t.Helper()
	p, err := Compile("bench", source)
	if err != nil {
		t.Fatal(err)
	}
	s := New(testLimits)
	f, err := s.Run(p)
	if err != nil {
		t.Fatal(err)
	}
	return s, f.(*glua.LFunction)
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		New(testLimits)
	}
}

func BenchmarkNewAndRun(b *testing.B) {
	b.ReportAllocs()
	p, err := Compile("bench", "return function(message) return message end")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := New(testLimits).Run(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCall(b *testing.B) {
	for _, c := range []struct{ name, source string }{
		{"identity", `return function(m) return m end`},
		{"redact", `return function(m) local h = m and m.headers; local k = h and h.apikey; if k then h.apikey = "[REDACTED]" end; return m end`},
		{"loop of 1000", `return function(m) local n = 0 for i = 1, 1000 do n = n + i end return m end`},
		{"concat", `return function(m) return "a" .. "b" .. "c" end`},
		{"pcall", `return function(m) return pcall(type, m) end`},
		{"gsub", `return function(m) return (("hello world from lua"):gsub("%w+", "%0 %0")) end`},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, f := function(b, c.source)
			m, h := s.L().NewTable(), s.L().NewTable()
			h.RawSetString("apikey", glua.LString("x"))
			m.RawSetString("headers", h)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Call(f, m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestACallTakesThreeAllocationsAtMost(t *testing.T) {
	s, f := function(t, `return function(m) return m end`)
	m := s.L().NewTable()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := s.Call(f, m); err != nil {
			t.Fatal(err)
		}
	}); n > 3 {
		t.Errorf("%v allocations", n)
	}
}

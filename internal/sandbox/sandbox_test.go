package sandbox

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	glua "github.com/yuin/gopher-lua"
)

var testLimits = Limits{Instructions: 100_000, Bytes: 16 << 20, Time: 5 * time.Second}

func compile(t testing.TB, source string) *Program {
	t.Helper()
	p, err := Compile("test", source)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// eval runs a chunk in a new state and returns its first result as tostring writes it, or
// the error's text.
func eval(t testing.TB, source string) string {
	t.Helper()
	p, err := Compile("test", source)
	if err != nil {
		return err.Error()
	}
	v, err := New(testLimits).Run(p)
	if err != nil {
		return err.Error()
	}
	if n, ok := v.(glua.LNumber); ok {
		return formatNumber(float64(n))
	}
	return v.String()
}

func TestEachCallHasAFreshBudget(t *testing.T) {
	s := New(Limits{Instructions: 1000, Bytes: 1 << 20})
	f, err := s.Run(compile(t, `return function(n) for i = 1, n do end return n end`))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if v, err := s.Call(f.(*glua.LFunction), glua.LNumber(500)); err != nil || v != glua.LNumber(500) {
			t.Fatal(v, err)
		}
	}
	_, err = s.Call(f.(*glua.LFunction), glua.LNumber(5000))
	var e *Error
	if !errors.As(err, &e) || !e.Budget || e.Chunk != "test" || e.Line != 1 {
		t.Fatalf("%#v", err)
	}
	if s.Reusable() {
		t.Error("reusable after a spent budget")
	}
	if v, err := s.Call(f.(*glua.LFunction), glua.LNumber(5)); err != nil || v != glua.LNumber(5) {
		t.Fatal(v, err)
	}
}

func TestErrorsSayWhere(t *testing.T) {
	s := New(testLimits)
	f, err := s.Run(compile(t, "return function(m)\n  error('no: ' .. m)\nend"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Call(f.(*glua.LFunction), glua.LString("x"))
	var e *Error
	if !errors.As(err, &e) || *e != (Error{Chunk: "test", Line: 2, Text: "no: x"}) || err.Error() != "test:2: no: x" {
		t.Fatalf("%#v", err)
	}
	if !s.Reusable() {
		t.Error("not reusable after an error of the script's own")
	}
}

func TestEachProgramHasItsOwnGlobals(t *testing.T) {
	s := New(testLimits)
	if _, err := s.Run(compile(t, `x = 1 string = nil print = 5`)); err != nil {
		t.Fatal(err)
	}
	v, err := s.Run(compile(t, `return tostring(x) .. type(print) .. ("a"):rep(2) .. string.rep("b", 2)`))
	if err != nil || v != glua.LString("nilfunctionaabb") {
		t.Fatal(v, err)
	}
}

func TestGlobalsOfAProgramSurviveItsCalls(t *testing.T) {
	s := New(testLimits)
	f, err := s.Run(compile(t, `n = 0 return function() n = n + 1 return n end`))
	if err != nil {
		t.Fatal(err)
	}
	for want := 1; want <= 3; want++ {
		if v, err := s.Call(f.(*glua.LFunction)); err != nil || v != glua.LNumber(want) {
			t.Fatal(v, err)
		}
	}
}

func TestLibrariesOfTheOwner(t *testing.T) {
	s := New(testLimits)
	inner := s.Library("demo.inner", nil, map[string]glua.LValue{"answer": glua.LNumber(42)})
	s.SetGlobal("demo", s.Library("demo", map[string]glua.LGFunction{
		"work": func(l *glua.LState) int {
			Charge(l, int(l.CheckNumber(1)), 0)
			return 0
		},
		"take": func(l *glua.LState) int {
			Charge(l, 0, int64(l.CheckNumber(1)))
			return 0
		},
	}, map[string]glua.LValue{"inner": inner}))
	loads := 0
	s.Module("mod", func(s *State) glua.LValue {
		loads++
		mt := s.L().NewTable()
		mt.RawSetString("__call", s.L().NewFunction(func(l *glua.LState) int {
			l.Push(l.Get(2))
			return 1
		}))
		mod := s.L().NewTable()
		mod.Metatable = mt
		return mod
	})
	for _, c := range []struct{ source, want string }{
		{`return demo.inner.answer`, "42"},
		{`return require("mod")(7) + require("mod")(8)`, "15"},
		{`return demo.nothing`, "test:1: demo.nothing is not available in message functions"},
		{`return demo.inner.nothing`, "test:1: demo.inner.nothing is not available in message functions"},
		{`demo.work = 1`, "test:1: demo cannot be changed"},
		{`demo.inner.x = 1`, "test:1: demo.inner cannot be changed"},
		{`rawset(demo, "work", 1)`, "test:1: demo cannot be changed"},
		{`return require("other")`, "test:1: module 'other' is not available in message functions"},
		{`demo.work(10) return pcall(demo.work, 1e9)`, "test:1: the function did more work than it may"},
		{`demo.take(10) return pcall(demo.take, 1e9)`, "test:1: the function used more memory than it may"},
		{`demo.work("x")`, "test:1: bad argument #1 to work (number expected, got string)"},
	} {
		v, err := s.Run(compile(t, c.source))
		got := fmt.Sprint(v)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.source, got, c.want)
		}
	}
	if loads != 1 {
		t.Errorf("loaded %d times", loads)
	}
}

func TestAStateThatMayHaveGrownIsGivenUp(t *testing.T) {
	s := New(Limits{Instructions: 100_000, Bytes: 1 << 20})
	f, err := s.Run(compile(t, `local kept = {} return function() kept[#kept + 1] = ("x"):rep(5e5) end`))
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for ; s.Reusable() && calls < 1000; calls++ {
		if _, err := s.Call(f.(*glua.LFunction)); err != nil {
			t.Fatal(err)
		}
	}
	if calls < 2 || calls > 20 {
		t.Errorf("given up after %d calls", calls)
	}
}

func TestTheClockIsASecondLine(t *testing.T) {
	s := New(Limits{Instructions: 1 << 40, Bytes: 16 << 20, Time: 20 * time.Millisecond})
	begin := time.Now()
	_, err := s.Run(compile(t, `while true do pcall(function() while true do end end) end`))
	var e *Error
	if !errors.As(err, &e) || !e.Budget || !strings.Contains(e.Text, "longer than it may") {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Error(took)
	}
}

func TestStatesShareProgramsAndLibraries(t *testing.T) {
	p := compile(t, `local n = 0 for k, v in pairs(string) do n = n + 1 end
		return function(s) return pcall(string.format, "%s%s", s:upper(), (s:gsub("a", "b"))), n end`)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				s := New(testLimits)
				f, err := s.Run(p)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Call(f.(*glua.LFunction), glua.LString("abc")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestLongCallIsToldOnce(t *testing.T) {
	s := New(Limits{Instructions: 100_000, Bytes: 1 << 20})
	for source, want := range map[string]int{
		"local n = 0 for i = 1, 100 do n = n + i end":              0,
		"local n = 0 for i = 1, 10000 do n = n + i end":            1,
		"pcall(function() for i = 1, 10000 do end end)":            1,
		"coroutine.wrap(function() for i = 1, 10000 do end end)()": 1,
		"for i = 1, 100 do local s = ('x'):rep(100) .. i end":      0,
		"while true do end": 1,
	} {
		told := 0
		s.OnLongCall(func() { told++ })
		p, err := Compile("c", source)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = s.Run(p)
		if told != want {
			t.Errorf("%s: told %d times, want %d", source, told, want)
		}
	}
}

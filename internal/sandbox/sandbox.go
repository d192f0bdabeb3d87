// Package sandbox runs Lua as LuaJIT's users write it, with bounds: a limit on the work, the
// memory and the time of each call, none of which a script can escape or catch, and
// libraries that a script cannot change. It has what Lua 5.1 and LuaJIT offer without files,
// processes, native code or code that is made at run time.
//
// The machine is gopher-lua. What it does not bound is rewritten when a chunk is compiled:
// concatenation, assignment to fields, lengths, and constructors of tables and functions are
// calls of functions of this package, which charge for what they do. See rewrite.go.
package sandbox

import (
	"fmt"
	"math/rand/v2"

	glua "github.com/yuin/gopher-lua"
)

const (
	// stackFrames and stackValues bound the depth of calls, and the values on the stack.
	stackFrames, stackValues = 1000, 8 << 10
	// The same for coroutines and for what pcall protects.
	threadFrames, threadValues = 200, 4 << 10
	// maxThreads is how deep coroutines and protected calls can be within each other.
	// Together with threadFrames it bounds Go's stack.
	maxThreads = 100
	// keepThreads is how many threads of pcall a state keeps for the next ones.
	keepThreads = 4
	// keepFactor times Limits.Bytes is what the calls of a state may have taken together
	// before it is given up, because scripts may have kept it in their globals.
	keepFactor = 4
	// maxDead is the same for removed entries of tables, which gopher-lua does not forget.
	maxDead = 10_000
)

// State is a Lua state. It is not safe for concurrent use, and Run and Call must not be
// called by functions that it runs.
type State struct {
	l       *glua.LState
	limits  Limits
	budget  budget
	globals map[string]glua.LValue // that SetGlobal added
	modules map[string]func(*State) glua.LValue
	loaded  map[string]glua.LValue
	chunks  map[string]*Program // that ran, by name
	env     *glua.LTable        // metatable of the globals of each program

	idle    []*glua.LState // threads that pcall can use again
	active  []*glua.LState // threads of the pcalls that run
	threads int            // coroutines and pcalls that run within each other
	dead    int            // entries of tables that were removed; see maxDead
	used    int64          // bytes charged by all calls
	broken  bool           // not worth another call
	failed  bool           // cannot run another call
	random  random
	onLong  func()
}

// longCall is from how many instructions on a call is a long one: about a tenth of a
// millisecond.
const longCall = 2000

// OnLongCall sets a function that is called, by the goroutine of the call, once in each Call
// or Run that turns out to be long: the goroutine may have others to serve. nil: none.
func (s *State) OnLongCall(f func()) { s.onLong = f }

// New returns a state with Lua's libraries.
func New(limits Limits) *State {
	s := &State{limits: limits, globals: map[string]glua.LValue{}, chunks: map[string]*Program{}}
	s.budget.state = s
	s.l = glua.NewState(glua.Options{
		CallStackSize:    stackFrames,
		RegistrySize:     256,
		RegistryMaxSize:  stackValues,
		RegistryGrowStep: 512,
		SkipOpenLibs:     true,
	})
	// What the state's coroutines get.
	s.l.Options.CallStackSize = threadFrames
	s.l.Options.RegistrySize = 128
	s.l.Options.RegistryMaxSize = threadValues
	s.l.Options.RegistryGrowStep = threadValues // at once: what is copied on the way is not charged for
	s.l.SetContext(&s.budget)
	s.l.G.MainThread, s.l.G.CurrentThread = s.l, s.l
	s.l.SetMetatable(glua.LString(""), shared().strings)
	s.env = &glua.LTable{Metatable: glua.LNil}
	s.env.RawSetString("__index", newFunction(s.global))
	s.random.seed(rand.Uint64())
	s.budget.reset()
	return s
}

// L returns gopher-lua's state, to make and read values with. Its own ways to run code have
// no fresh budget.
func (s *State) L() *glua.LState { return s.l }

// Run runs a chunk with globals of its own and a fresh budget, and returns its first result,
// which is nil if it has none. Errors are *Error.
func (s *State) Run(p *Program) (glua.LValue, error) {
	s.chunks[p.name] = p
	f := s.l.NewFunctionFromProto(p.proto)
	f.Env = s.newGlobals()
	return s.Call(f)
}

// Call calls a function with a fresh budget and returns its first result, which is nil if it
// has none. Errors are *Error. After an error the state is as it was, but for what the
// function changed until then: see Reusable.
func (s *State) Call(f *glua.LFunction, args ...glua.LValue) (v glua.LValue, err error) {
	if s.failed {
		return glua.LNil, &Error{Text: errMachine.Error()}
	}
	l := s.l
	s.budget.reset()
	s.active, s.threads = s.active[:0], 0
	defer func() {
		if r := recover(); r != nil {
			// gopher-lua panicked while it made an error of a panic.
			s.failed, s.broken = true, true
			v, err = glua.LNil, &Error{Text: fmt.Sprintf("%v: %v", errMachine, r), Budget: s.budget.spent != nil}
		}
	}()
	l.Push(f)
	for _, a := range args {
		l.Push(a)
	}
	err = l.PCall(len(args), 1, nil)
	s.used += s.limits.Bytes - s.budget.bytes
	if err == nil && s.budget.spent == nil {
		v = l.Get(-1)
		l.SetTop(0)
		return v, nil
	}
	if err == nil {
		err = s.budget.spent
	}
	l.SetTop(0)
	l.G.CurrentThread = l
	s.broken = s.broken || s.budget.spent != nil
	return glua.LNil, s.failure(err)
}

// Reusable reports whether the state is worth another call. It is false after a spent
// budget, after a failure of the machine itself, and after calls that have together taken
// several times Limits.Bytes, some of which scripts may have kept in their globals. The
// owner then makes a new state.
func (s *State) Reusable() bool {
	return !s.broken && s.used <= keepFactor*s.limits.Bytes && s.dead <= maxDead
}

// Worked returns how many instructions the last Run or Call took.
func (s *State) Worked() int { return s.limits.Instructions - max(s.budget.left, 0) }

// SetGlobal adds a global that all programs have, such as a Library.
func (s *State) SetGlobal(name string, v glua.LValue) { s.globals[name] = v }

// Module makes require(name) return what loader returns, which is called once, when it is
// first required. A module may be any value, a callable table too.
func (s *State) Module(name string, loader func(*State) glua.LValue) {
	if s.modules == nil {
		s.modules = map[string]func(*State) glua.LValue{}
	}
	s.modules[name] = loader
}

// Library returns a table that scripts can read and not change. name is what error messages
// call it, such as "kong.request". Reading a member that it does not have is an error.
func (s *State) Library(name string, functions map[string]glua.LGFunction, constants map[string]glua.LValue) *glua.LTable {
	return newLibrary(name, functions, constants)
}

// newGlobals returns a table of globals for a program.
func (s *State) newGlobals() *glua.LTable {
	t := s.l.CreateTable(0, len(shared().globals)+len(s.globals))
	for name, v := range shared().globals {
		t.RawSetString(name, v)
	}
	for name, v := range s.globals {
		t.RawSetString(name, v)
	}
	t.Metatable = s.env
	return t
}

// global is called for a global that a program does not have.
func (s *State) global(l *glua.LState) int {
	name, _ := l.Get(2).(glua.LString)
	if v, ok := s.globals[string(name)]; ok {
		l.Push(v)
		return 1
	}
	if unavailable(string(name)) {
		l.RaiseError("%s", notAvailable(string(name)))
	}
	return 0
}

func notAvailable(name string) string {
	return fmt.Sprintf("%s is not available in message functions", name)
}

func stateOf(l *glua.LState) *State { return budgetOf(l).state }

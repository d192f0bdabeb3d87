package sandbox

import (
	"errors"
	"runtime"
	"strings"

	glua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

var coroutineFunctions = map[string]glua.LGFunction{
	"create": coCreate, "resume": coResume, "running": coRunning, "status": coStatus,
	"wrap": coWrap,
}

// helperName is what gopher-lua calls the place of the functions below in errors.
const helperName = "(sandbox)"

var (
	// shieldFunction calls a function for pcall.
	shieldFunction = compileHelper("function(f, ...) return true, f(...) end", nil)
	// startFunction calls a function written in Go for a coroutine, which gopher-lua begins
	// with functions written in Lua alone.
	startFunction = compileHelper("function(f, ...) return f(...) end", nil)
	// yieldFunction is yield. After gopher-lua's yield alone, a script that expects more
	// values than resume was given would find no values, not even nil.
	yieldFunction = compileHelper("function(...) return pass(yield(...)) end", map[string]glua.LGFunction{
		"yield": coYield,
		"pass":  func(l *glua.LState) int { return l.GetTop() },
	})
)

// compileHelper compiles a function that states can share, with its globals.
func compileHelper(source string, globals map[string]glua.LGFunction) *glua.LFunction {
	stmts, err := parse.Parse(strings.NewReader("return "+source), helperName)
	if err != nil {
		panic(err)
	}
	proto, err := glua.Compile(stmts, helperName)
	if err != nil {
		panic(err)
	}
	env := &glua.LTable{Metatable: glua.LNil}
	for name, f := range globals {
		env.RawSetString(name, newFunction(f))
	}
	return &glua.LFunction{Proto: proto.FunctionPrototypes[0], Env: env}
}

var errMachine = errors.New("the Lua machine failed")

// newThread makes a thread whose instructions count for the running call. gopher-lua's
// NewThread would derive a context of its own from the budget, which counts nothing.
func (s *State) newThread(l *glua.LState) *glua.LState {
	Charge(l, 120, threadBytes)
	s.l.RemoveContext()
	th, _ := s.l.NewThread()
	s.l.SetContext(&s.budget)
	th.SetContext(&s.budget)
	return th
}

// run resumes th, and returns its results or the error that it ended with. Errors that
// scripts cannot catch are raised again.
func (s *State) run(l, th *glua.LState, f *glua.LFunction, args []glua.LValue) (glua.ResumeState, []glua.LValue, glua.LValue) {
	Charge(l, 45+len(args)/8, 0)
	if s.threads >= maxThreads {
		l.RaiseError("stack overflow")
	}
	n, done := s.threads, false
	s.threads++
	defer func() {
		if s.threads = n; !done {
			th.Dead = true // it is in the midst of something
		}
	}()
	top := l.GetTop()
	state, err, values := l.Resume(th, f, args...)
	done = true
	if len(values) == 1 && cap(values) == top+1 {
		values = nil // Resume makes nil of no values, in a slice that has room for none
	}
	if state != glua.ResumeError {
		if s.budget.spent != nil {
			l.RaiseError("%s", s.budget.spent)
		}
		Charge(l, len(values)/8, 0)
		return state, values, nil
	}
	var object glua.LValue = glua.LString(err.Error())
	var api *glua.ApiError
	if errors.As(err, &api) {
		object = api.Object
	}
	if s.budget.spent == nil && isPanic(object) {
		s.broken, s.budget.spent = true, errMachine
	}
	if s.budget.spent != nil {
		l.RaiseError("%s", s.budget.spent)
	}
	if text, ok := object.(glua.LString); ok {
		// The machine quotes keys in its errors, however long they are.
		Charge(l, len(text)/64, int64(3*len(text)))
		object = glua.LString(plainError(strings.TrimPrefix(string(text), helperName+":1: ")))
	}
	return state, nil, object
}

// protect calls args[0] with the rest of args in a thread of its own, and returns true and
// its results, or false and the error. gopher-lua's PCall would detach the local variables
// of the functions that go on from the functions that share them.
func (s *State) protect(l *glua.LState, args []glua.LValue) []glua.LValue {
	var th *glua.LState
	if n := len(s.idle); n > 0 {
		th, s.idle = s.idle[n-1], s.idle[:n-1]
	} else {
		th = s.newThread(l)
	}
	n := len(s.active)
	s.active = append(s.active, th)
	defer func() { s.active = s.active[:n] }()
	state, values, object := s.run(l, th, shieldFunction, args)
	if state == glua.ResumeError {
		Charge(l, 80, 0)
		return []glua.LValue{glua.LFalse, object}
	}
	if len(s.idle) < keepThreads {
		th.Dead = false
		s.idle = append(s.idle, th)
	}
	return values
}

// arguments are the arguments from the nth on.
func arguments(l *glua.LState, n, extra int) []glua.LValue {
	args := make([]glua.LValue, 0, max(l.GetTop()-n+1, 0)+extra)
	for ; n <= l.GetTop(); n++ {
		args = append(args, l.Get(n))
	}
	return args
}

func pushAll(l *glua.LState, values []glua.LValue) int {
	for _, v := range values {
		l.Push(v)
	}
	return len(values)
}

func basePcall(l *glua.LState) int {
	anyArg(l, 1)
	return pushAll(l, stateOf(l).protect(l, arguments(l, 1, 0)))
}

// baseXpcall is xpcall. The handler runs after the stack is unwound: without the debug
// library it cannot see the difference.
func baseXpcall(l *glua.LState) int {
	handler := anyArg(l, 2)
	args := append([]glua.LValue{anyArg(l, 1)}, arguments(l, 3, 0)...)
	values := stateOf(l).protect(l, args)
	if values[0] == glua.LTrue {
		return pushAll(l, values)
	}
	values = stateOf(l).protect(l, []glua.LValue{handler, values[1]})
	values[0] = glua.LFalse
	return pushAll(l, values)
}

func threadArg(l *glua.LState, n int) *glua.LState {
	th, ok := l.Get(n).(*glua.LState)
	if !ok {
		typeError(l, n, "coroutine")
	}
	return th
}

// coroutineOf is the coroutine that l runs for: pcall has threads of its own.
func (s *State) coroutineOf(l *glua.LState) *glua.LState {
	for s.shields(l) && l.Parent != nil {
		l = l.Parent
	}
	return l
}

// shields reports whether l is a thread of a running pcall.
func (s *State) shields(l *glua.LState) bool {
	for _, th := range s.active {
		if th == l {
			return true
		}
	}
	return false
}

func coCreate(l *glua.LState) int {
	f := functionArg(l, 1)
	th := stateOf(l).newThread(l)
	th.Push(f)
	l.Push(th)
	return 1
}

// resume resumes a coroutine.
func (s *State) resume(l, th *glua.LState, args []glua.LValue) ([]glua.LValue, glua.LValue) {
	switch {
	case th.Dead:
		return nil, glua.LString("cannot resume dead coroutine")
	case th == s.coroutineOf(l):
		return nil, glua.LString("cannot resume running coroutine")
	case th == s.l || th.Parent != nil:
		return nil, glua.LString("cannot resume non-suspended coroutine")
	}
	var f *glua.LFunction
	if _, started := th.GetStack(0); !started {
		f = th.Get(1).(*glua.LFunction)
		if f.IsG {
			f, args = startFunction, append([]glua.LValue{f}, args...)
		}
	}
	_, values, object := s.run(l, th, f, args)
	return values, object
}

func coResume(l *glua.LState) int {
	values, object := stateOf(l).resume(l, threadArg(l, 1), arguments(l, 2, 0))
	if object != nil {
		l.Push(glua.LFalse)
		l.Push(object)
		return 2
	}
	l.Push(glua.LTrue)
	return 1 + pushAll(l, values)
}

func coWrap(l *glua.LState) int {
	coCreate(l)
	th := l.Get(-1).(*glua.LState)
	l.Push(newFunction(func(l *glua.LState) int {
		values, object := stateOf(l).resume(l, th, arguments(l, 1, 0))
		if object != nil {
			l.Error(object, 0)
		}
		return pushAll(l, values)
	}))
	return 1
}

func coRunning(l *glua.LState) int {
	s := stateOf(l)
	th := s.coroutineOf(l)
	l.Push(th)
	l.Push(glua.LBool(th == s.l))
	return 2
}

func coStatus(l *glua.LState) int {
	s, th := stateOf(l), threadArg(l, 1)
	status := "suspended"
	switch {
	case th.Dead:
		status = "dead"
	case th == s.coroutineOf(l):
		status = "running"
	case th == s.l || th.Parent != nil:
		status = "normal"
	}
	l.Push(glua.LString(status))
	return 1
}

func coYield(l *glua.LState) int {
	s := stateOf(l)
	switch {
	case s.coroutineOf(l) == s.l:
		raise(l, 2, "attempt to yield outside a coroutine")
	case s.shields(l) || !yieldable():
		raise(l, 2, "attempt to yield across a call that cannot be left, such as pcall, an iterator or a metamethod")
	}
	return -1
}

// yieldable reports whether nothing but the coroutine's own loop called yield. gopher-lua
// would take a yield for the end of any other call, and it does not say which is which, but
// for Go's stack.
func yieldable() bool {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, ".mainLoopWithContext") {
			f, _ = frames.Next()
			return strings.HasSuffix(f.Function, ".threadRun")
		}
		if !more {
			return false
		}
	}
}

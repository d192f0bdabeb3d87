package sandbox

import glua "github.com/yuin/gopher-lua"

// Load runs a program with globals of its own, within the budget of the running call, and
// returns its first result. It is for loaders of modules that are written in Lua: only
// functions that the state runs may call it. Errors are raised.
func (s *State) Load(p *Program, args ...glua.LValue) glua.LValue {
	Charge(s.l, 10, 4<<10)
	s.chunks[p.name] = p
	l := s.l.G.CurrentThread
	f := s.l.NewFunctionFromProto(p.proto)
	f.Env = s.newGlobals()
	l.Push(f)
	for _, a := range args {
		l.Push(a)
	}
	l.Call(len(args), 1)
	v := l.Get(-1)
	l.Pop(1)
	return v
}

package lua

import (
	"fmt"
	"strings"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/sandbox"
)

const (
	maxLines = 20      // of a request; the rest is counted
	maxLine  = 2 << 10 // bytes of a line; the rest is left out
)

// logLines are what the functions of one request log.
type logLines struct {
	lines   int
	dropped int
}

// add adds a line to the draft's.
func (m *machine) addLog(l *glua.LState, level, text string) {
	if m.draft == nil {
		return // while a chunk is loaded, there is no request whose log it could be
	}
	sandbox.Charge(l, 10, int64(len(text)))
	if m.log.lines == maxLines {
		m.log.dropped++
		return
	}
	m.log.lines++
	if len(text) > maxLine {
		text = strings.ToValidUTF8(text[:maxLine], "\uFFFD") + "…"
	}
	m.draft.Log = append(m.draft.Log, record.LogLine{Level: level, Text: strings.Clone(text)})
}

// endLog says how many lines were left out.
func (m *machine) endLog() {
	if m.log.dropped > 0 {
		m.draft.Log = append(m.draft.Log, record.LogLine{Level: "warn",
			Text: fmt.Sprintf("%d more lines that message functions logged for this request were left out", m.log.dropped)})
	}
}

var levels = []string{"emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"}

// ngxLevels are the constants of ngx, from STDERR on, and their levels.
var ngxLevels = []struct{ name, level string }{
	{"STDERR", "emerg"}, {"EMERG", "emerg"}, {"ALERT", "alert"}, {"CRIT", "crit"}, {"ERR", "err"},
	{"WARN", "warn"}, {"NOTICE", "notice"}, {"INFO", "info"}, {"DEBUG", "debug"},
}

// joined is the arguments from the nth on as one text, as tostring writes each.
func joined(l *glua.LState, n int, separator string) string {
	var b strings.Builder
	for i := n; i <= l.GetTop(); i++ {
		if i > n {
			b.WriteString(separator)
		}
		s := sandbox.ToString(l, l.Get(i))
		sandbox.Charge(l, 2+len(s)/128, int64(2*len(s)))
		b.WriteString(s)
	}
	return b.String()
}

// openLog makes kong.log.
func (m *machine) openLog() *glua.LTable {
	functions := map[string]glua.LGFunction{}
	write := func(level string, n int) glua.LGFunction {
		return func(l *glua.LState) int {
			m.addLog(l, level, joined(l, n, ""))
			return 0
		}
	}
	for _, level := range levels {
		functions[level] = write(level, 1)
	}
	inspect := m.state.Library("kong.log.inspect", map[string]glua.LGFunction{
		"on":  func(*glua.LState) int { return 0 },
		"off": func(*glua.LState) int { return 0 },
	}, nil)
	inspect.Metatable.(*glua.LTable).RawSetString("__call", goFunction(func(l *glua.LState) int {
		e := encoder{max: maxLine, sparse: maxSparse, utf8: true, arrays: m.arrays, empty: m.empty, numbers: m.numbers}
		var line []byte
		for i := 2; i <= l.GetTop() && len(line) < maxLine; i++ {
			if i > 2 {
				line = append(line, ' ')
			}
			sandbox.Charge(l, 100, 2*maxLine)
			b, err := e.append(nil, l.Get(i))
			if err != nil && len(b) <= maxLine {
				b = append(b, sandbox.ToString(l, l.Get(i))...)
			}
			sandbox.Charge(l, len(b)/16, int64(2*len(b)))
			line = append(line, b...)
		}
		m.addLog(l, "debug", string(line))
		return 0
	}))
	log := m.state.Library("kong.log", functions, map[string]glua.LValue{"inspect": inspect})
	log.Metatable.(*glua.LTable).RawSetString("__call", goFunction(write("notice", 2)))
	return log
}

// ngxLog is ngx.log.
func (m *machine) ngxLog(l *glua.LState) int {
	n, ok := l.Get(1).(glua.LNumber)
	if !ok {
		l.RaiseError("bad argument #1 to 'log' (number expected, got %s)", l.Get(1).Type())
	}
	if n < 0 || int(n) >= len(ngxLevels) {
		l.RaiseError("bad log level: %d", int(n))
	}
	for i := 2; i <= l.GetTop(); i++ {
		switch v := l.Get(i); v.Type() {
		case glua.LTTable, glua.LTUserData, glua.LTFunction, glua.LTThread:
			if v != glua.LValue(null) && l.GetMetaField(v, "__tostring") == glua.LNil {
				l.RaiseError("bad argument #%d to 'log' (expected table to have __tostring metamethod)", i)
			}
		}
	}
	m.addLog(l, ngxLevels[int(n)].level, joined(l, 2, ""))
	return 0
}

package sandbox

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	glua "github.com/yuin/gopher-lua"
)

// SyntaxError is why a source cannot be compiled.
type SyntaxError struct {
	Line int // from 1
	Text string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Text) }

// Error is why a Run or a Call failed.
type Error struct {
	Chunk  string // the name that Compile was given; "" if the place is not known
	Line   int    // from 1; 0 if the place is not known
	Text   string // what error was called with, or what Lua says, cut to some hundred bytes
	Budget bool   // a limit was reached
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Text
	}
	return fmt.Sprintf("%s:%d: %s", e.Chunk, e.Line, e.Text)
}

// maxText bounds the text of an error in bytes: scripts can raise anything.
const maxText = 512

// failure makes an Error of what a protected call of gopher-lua returned.
func (s *State) failure(err error) *Error {
	e := &Error{Budget: s.budget.spent != nil}
	var api *glua.ApiError
	switch {
	case !errors.As(err, &api):
		e.Text = err.Error()
	case api.Type == glua.ApiErrorPanic || isPanic(api.Object):
		s.broken = true
		e.Text = "the Lua machine failed: " + api.Object.String()
	default:
		switch v := api.Object.(type) {
		case glua.LString:
			e.Chunk, e.Line, e.Text = s.place(plainError(string(v)))
			if p := s.chunks[e.Chunk]; p != nil && e.Text == notCallable {
				e.Text += calledOn(p.proto, e.Line)
			}
		case glua.LNumber:
			e.Text = formatNumber(float64(v))
		default:
			e.Text = fmt.Sprintf("error object is a %s value", api.Object.Type())
		}
	}
	if e.Budget {
		e.Text = s.budget.spent.Error()
	}
	if len(e.Text) > maxText {
		e.Text = strings.ToValidUTF8(e.Text[:maxText], "") + "…"
	}
	return e
}

const notCallable = "attempt to call what is not a function"

// calledOn names what is called on a line, such as " ('x' or 'y')": gopher-lua does not say
// which call failed.
func calledOn(p *glua.FunctionProto, line int) string {
	var names []string
	var visit func(p *glua.FunctionProto)
	visit = func(p *glua.FunctionProto) {
		for _, c := range p.DbgCalls {
			if c.Pc >= len(p.DbgSourcePositions) || p.DbgSourcePositions[c.Pc] != line {
				continue
			}
			if c.Name != "" && c.Name != "?" && c.Name[0] != '(' && !slices.Contains(names, c.Name) {
				names = append(names, c.Name)
			}
		}
		for _, f := range p.FunctionPrototypes {
			visit(f)
		}
	}
	visit(p)
	if len(names) == 0 || len(names) > 4 {
		return ""
	}
	return " ('" + strings.Join(names, "' or '") + "')"
}

// plainErrors are what gopher-lua says where LuaJIT says something else.
var plainErrors = []struct {
	from *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`attempt to index a non-table object\((\w+)\) with key '(.{0,64})'$`), "attempt to index a $1 value with key '$2'"},
	{regexp.MustCompile(`attempt to index a non-table object\((\w+)\).*$`), "attempt to index a $1 value"},
	{regexp.MustCompile(`attempt to call a non-function object$`), notCallable},
	{regexp.MustCompile(`cannot perform \w+ operation between number and (\w+)$`), "attempt to perform arithmetic on a $1 value"},
	{regexp.MustCompile(`cannot perform \w+ operation between (\w+) and \w+$`), "attempt to perform arithmetic on a $1 value"},
	{regexp.MustCompile(`__unm undefined$`), "attempt to perform arithmetic on what is not a number"},
	{regexp.MustCompile(`for statement init must be a number$`), "'for' initial value must be a number"},
	{regexp.MustCompile(`for statement (limit|step) must be a number$`), "'for' $1 must be a number"},
	{regexp.MustCompile(`too many recursions in [gs]ettable$`), "loop in gettable"},
	{regexp.MustCompile(`registry overflow$`), "stack overflow"},
}

// plainError says what gopher-lua says in LuaJIT's words.
func plainError(text string) string {
	if len(text) > maxText {
		return text
	}
	for _, e := range plainErrors {
		if at := e.from.FindStringIndex(text); at != nil {
			return text[:at[0]] + e.from.ReplaceAllString(text[at[0]:], e.to)
		}
	}
	return text
}

// isPanic reports whether v is what a coroutine leaves of a panic of Go's.
func isPanic(v glua.LValue) bool {
	s, ok := v.(glua.LString)
	return ok && (strings.HasPrefix(string(s), "runtime error: ") || strings.HasPrefix(string(s), "interface conversion: "))
}

// place splits the "chunk:line:" that Lua puts before a text.
func (s *State) place(text string) (chunk string, line int, rest string) {
	for name := range s.chunks {
		after, ok := strings.CutPrefix(text, name+":")
		if !ok {
			continue
		}
		digits, rest, ok := strings.Cut(after, ":")
		if !ok {
			continue
		}
		if n, err := strconv.Atoi(digits); err == nil {
			return name, n, strings.TrimPrefix(rest, " ")
		}
	}
	return "", 0, text
}

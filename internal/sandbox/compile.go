package sandbox

import (
	"errors"
	"fmt"
	"strings"

	glua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

const (
	// maxSource bounds a source in bytes: the compiler's time grows with its square.
	maxSource = 64 << 10
	// maxUpvalues is LuaJIT's limit of the outer variables that a function uses.
	maxUpvalues = 60
)

// Program is a chunk that is ready to run. States can share it, also at the same time.
type Program struct {
	name  string
	proto *glua.FunctionProto
}

// gopher-lua's own limits, for all its states.
func init() {
	glua.CompatVarArg = false    // LuaJIT has no table arg
	glua.MaxArrayIndex = 1 << 20 // larger keys are hashed; smaller ones fill an array
	glua.MaxTableGetLoop = 12    // tables in a chain of __index: each instruction can go through it
}

// Compile compiles a chunk. name is what errors call it. An error is a *SyntaxError.
func Compile(name, source string) (p *Program, err error) {
	stmts, err := Parse(name, source)
	if err != nil {
		return nil, err
	}
	lines := strings.Count(source, "\n") + 1
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*SyntaxError)
			if !ok {
				e = &SyntaxError{lines, fmt.Sprint("the chunk cannot be compiled: ", r)}
			}
			p, err = nil, e
		}
	}()
	proto, err := glua.Compile(rewrite(stmts), name)
	if err != nil {
		return nil, syntaxError(err, lines)
	}
	checkProto(proto)
	patchJumps(proto)
	return &Program{name, proto}, nil
}

func syntaxError(err error, lines int) *SyntaxError {
	var pe *parse.Error
	if errors.As(err, &pe) {
		if pe.Pos.Line == parse.EOF {
			return &SyntaxError{lines, pe.Message + " near the end"}
		}
		token := pe.Token
		if len(token) > 64 {
			token = token[:64]
		}
		return &SyntaxError{pe.Pos.Line, fmt.Sprintf("%s near '%s'", pe.Message, token)}
	}
	var ce *glua.CompileError
	if errors.As(err, &ce) {
		return &SyntaxError{max(ce.Line, 1), ce.Message}
	}
	return &SyntaxError{lines, err.Error()}
}

func checkProto(p *glua.FunctionProto) {
	if p.NumUpvalues > maxUpvalues {
		panic(&SyntaxError{max(p.LineDefined, 1), fmt.Sprintf("function has more than %d upvalues", maxUpvalues)})
	}
	for _, f := range p.FunctionPrototypes {
		checkProto(f)
	}
}

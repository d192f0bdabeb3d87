package sandbox

import (
	"fmt"
	"strings"

	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// Parse returns the statements of a chunk as they are written, to find out what it uses. An
// error is a *SyntaxError. A chunk that can be parsed may still not compile.
func Parse(name, source string) (stmts []ast.Stmt, err error) {
	if len(source) > maxSource {
		return nil, &SyntaxError{1, fmt.Sprintf("the chunk is longer than %d bytes", maxSource)}
	}
	lines := strings.Count(source, "\n") + 1
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*SyntaxError)
			if !ok {
				e = &SyntaxError{lines, fmt.Sprint("the chunk cannot be parsed: ", r)}
			}
			stmts, err = nil, e
		}
	}()
	stmts, err = parse.Parse(strings.NewReader(plainSource(source)), name)
	if err != nil {
		return nil, syntaxError(err, lines)
	}
	return stmts, nil
}

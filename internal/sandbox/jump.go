package sandbox

import (
	"fmt"
	"strconv"

	glua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
)

// A jump out of blocks has to part their local variables from the functions that use them,
// with an instruction CLOSE n before it: n variables stay. gopher-lua's goto parts all
// variables of the function, and its break too few. So rewrite counts the variables, leaves
// the number in the code as (goto)(n), and patchJumps puts it where it belongs.

// loopLocals is how many variables of its own a for loop has.
const loopLocals = 3

// scope is a block of a function.
type scope struct {
	outer  *scope // nil: it is the function's outermost
	locals int    // so far, with those of the outer scopes
	labels map[string]int
	jumps  []jump // to labels that are not known yet
}

// jump is a goto.
type jump struct {
	label  string
	locals int             // at the jump, of the scope that has it in its list
	stay   *ast.NumberExpr // how many variables stay, to be set
}

// loop is a loop around the code that is rewritten.
type loop struct {
	outer  *loop
	label  string // behind it
	breaks bool
}

func (r *rewriter) open(locals int) {
	if r.scope != nil {
		locals += r.scope.locals
	}
	r.scope = &scope{outer: r.scope, locals: locals, labels: map[string]int{}}
}

// close ends a scope: its jumps go to its labels, or out of it.
func (r *rewriter) close() {
	s := r.scope
	r.scope = s.outer
	for _, j := range s.jumps {
		if n, ok := s.labels[j.label]; ok {
			j.stay.Value = strconv.Itoa(min(n, j.locals))
		} else if s.outer != nil {
			j.locals = s.outer.locals
			s.outer.jumps = append(s.outer.jumps, j)
		} else {
			panic(&SyntaxError{max(j.stay.Line(), 1), fmt.Sprintf("no visible label '%s' for goto", cut(j.label))})
		}
	}
}

// function rewrites the statements of a function.
func (r *rewriter) function(params int, stmts []ast.Stmt) []ast.Stmt {
	outer, loop := r.scope, r.loop
	r.scope, r.loop = nil, nil
	stmts = r.block(stmts, params)
	r.scope, r.loop = outer, loop
	return stmts
}

// inLoop rewrites a loop with body, and appends it with the label that its breaks go to.
func (r *rewriter) inLoop(out []ast.Stmt, s ast.Stmt, body func()) []ast.Stmt {
	r.loops++
	l := &loop{outer: r.loop, label: fmt.Sprintf("(break%d)", r.loops)}
	r.loop = l
	body()
	r.loop = l.outer
	out = append(out, s)
	if l.breaks {
		r.scope.labels[l.label] = r.scope.locals
		out = append(out, at(s, &ast.LabelStmt{Name: l.label}))
	}
	return out
}

func (r *rewriter) jump(out []ast.Stmt, s *ast.GotoStmt) []ast.Stmt {
	stay := at(s, &ast.NumberExpr{Value: "0"})
	r.scope.jumps = append(r.scope.jumps, jump{s.Label, r.scope.locals, stay})
	return append(out, at(s, &ast.FuncCallStmt{Expr: hidden(s, hiddenGoto, stay)}), s)
}

// patchJumps makes the instruction CLOSE of each goto right, and its call of (goto) nothing.
func patchJumps(p *glua.FunctionProto) {
	const a, bx = 0xff << 18, 0x3ffff // where an instruction has its operands
	const nop = uint32(glua.OP_NOP) << 26
	op := func(pc int) int {
		if pc < len(p.Code) {
			return int(p.Code[pc] >> 26)
		}
		return -1
	}
	for pc := range p.Code {
		if op(pc) != glua.OP_GETGLOBAL || p.Constants[p.Code[pc]&bx] != glua.LString(hiddenGoto) {
			continue
		}
		if op(pc+1) != glua.OP_LOADK || op(pc+2) != glua.OP_CALL || op(pc+3) != glua.OP_CLOSE {
			panic("a goto is not what it was")
		}
		stay := p.Constants[p.Code[pc+1]&bx].(glua.LNumber)
		p.Code[pc+3] = p.Code[pc+3]&^a | uint32(stay)<<18
		for i := range 3 {
			p.Code[pc+i] = nop
		}
	}
	for _, f := range p.FunctionPrototypes {
		patchJumps(f)
	}
}

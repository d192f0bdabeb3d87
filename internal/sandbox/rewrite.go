package sandbox

import (
	"fmt"
	"strconv"

	"github.com/yuin/gopher-lua/ast"
)

// Names of the functions that rewritten code calls. No script can name them.
const (
	hiddenConcat  = "(concat)"
	hiddenKey     = "(key)"
	hiddenSet     = "(set)"
	hiddenLen     = "(len)"
	hiddenTable   = "(table)"
	hiddenClosure = "(closure)"
	hiddenArgs    = "(args)"
	hiddenGoto    = "(goto)"
)

const (
	// maxDepth bounds how deep code is nested, and with it Go's stack in the compiler.
	maxDepth = 400
	// concatOperands is how many operands one call takes: each needs a register.
	concatOperands = 40
	// maxName bounds names, and literals that are taken for nothing to hash or to compare.
	maxName = 255
)

// rewrite makes what the machine would do without bounds, or to libraries, calls of hidden
// functions with the same meaning:
//
//	a .. b .. c           (concat)(a, b, c)
//	t[k]                  t[(key)(k)], unless k is a literal: gopher-lua hashes all of a string
//	t[k] = v              (set)(t, k, v)
//	#v                    (len)(v)
//	{ k = v, … }          (table)({ k = v, … }, 1), with the number of keys; (table)() if empty
//	function(…) … end     (closure)(function(…) … end)
//	a < b                 (<)(a, b), unless one is a literal; <=, >, >=, == and ~= likewise
//	a % b                 (%)(a, b), whose result gopher-lua rounds in another way than Lua
//	...                   (args)(...), where it stands for any number of values
//	goto x                (goto)(n) goto x, where n is how many local variables stay; see jump.go
//	break                 (goto)(n) goto (break1), and a label behind the loop
func rewrite(chunk []ast.Stmt) []ast.Stmt {
	var r rewriter
	return r.function(0, chunk)
}

type rewriter struct {
	depth int
	scope *scope
	loop  *loop
	loops int
}

func (r *rewriter) enter(n ast.PositionHolder) {
	if r.depth++; r.depth > maxDepth {
		panic(&SyntaxError{max(n.Line(), 1), fmt.Sprintf("the code is nested deeper than %d levels", maxDepth)})
	}
}

// block rewrites the statements of a block, which begins with more local variables.
func (r *rewriter) block(stmts []ast.Stmt, locals int) []ast.Stmt {
	r.open(locals)
	stmts = r.stmts(stmts)
	r.close()
	return stmts
}

func (r *rewriter) stmts(stmts []ast.Stmt) []ast.Stmt {
	out := make([]ast.Stmt, 0, len(stmts))
	for _, s := range stmts {
		out = r.stmt(out, s)
	}
	return out
}

// condition rewrites a condition. gopher-lua compiles a jump back to a place where the first
// instruction is a jump as one to nowhere.
func (r *rewriter) condition(e ast.Expr) ast.Expr { return r.expr(noJump(e)) }

// noJump makes the leftmost operand of e one that is compiled to something else than a jump.
func noJump(e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.LogicalOpExpr:
		e.Lhs = noJump(e.Lhs)
	case *ast.UnaryNotOpExpr:
		e.Expr = noJump(e.Expr)
	case ast.ConstExpr:
		return hidden(e, hiddenArgs, e)
	}
	return e
}

// stmt appends what s becomes.
func (r *rewriter) stmt(out []ast.Stmt, s ast.Stmt) []ast.Stmt {
	r.enter(s)
	defer func() { r.depth-- }()
	switch s := s.(type) {
	case *ast.AssignStmt:
		return append(out, r.assign(s))
	case *ast.LocalAssignStmt:
		if len(s.Names) == 1 && len(s.Exprs) == 1 {
			if f, ok := s.Exprs[0].(*ast.FunctionExpr); ok {
				// The function can call itself by its name.
				name := at(s, &ast.IdentExpr{Value: s.Names[0]})
				r.scope.locals++
				return append(out,
					at(s, &ast.LocalAssignStmt{Names: s.Names, Exprs: []ast.Expr{}}),
					at(s, &ast.AssignStmt{Lhs: []ast.Expr{name}, Rhs: []ast.Expr{r.expr(f)}}))
			}
		}
		r.exprs(s.Exprs)
		r.scope.locals += len(s.Names)
	case *ast.FuncDefStmt:
		return append(out, r.define(s))
	case *ast.FuncCallStmt:
		s.Expr = r.expr(s.Expr)
	case *ast.DoBlockStmt:
		s.Stmts = r.block(s.Stmts, 0)
	case *ast.WhileStmt:
		if _, forever := s.Condition.(*ast.TrueExpr); !forever {
			s.Condition = r.condition(s.Condition)
		}
		return r.inLoop(out, s, func() { s.Stmts = r.block(s.Stmts, 0) })
	case *ast.RepeatStmt:
		return r.inLoop(out, s, func() {
			r.open(0)
			s.Stmts = r.stmts(s.Stmts)
			s.Condition = r.condition(s.Condition)
			r.close()
		})
	case *ast.IfStmt:
		s.Condition = r.condition(s.Condition)
		s.Then = r.block(s.Then, 0)
		s.Else = r.block(s.Else, 0)
	case *ast.NumberForStmt:
		s.Init, s.Limit = r.expr(s.Init), r.expr(s.Limit)
		if s.Step != nil {
			s.Step = r.expr(s.Step)
		}
		return r.inLoop(out, s, func() { s.Stmts = r.block(s.Stmts, loopLocals+1) })
	case *ast.GenericForStmt:
		r.exprs(s.Exprs)
		return r.inLoop(out, s, func() { s.Stmts = r.block(s.Stmts, loopLocals+len(s.Names)) })
	case *ast.BreakStmt:
		if r.loop == nil {
			panic(&SyntaxError{max(s.Line(), 1), "no loop to break"})
		}
		r.loop.breaks = true
		return r.jump(out, at(s, &ast.GotoStmt{Label: r.loop.label}))
	case *ast.GotoStmt:
		return r.jump(out, s)
	case *ast.LabelStmt:
		r.scope.labels[s.Name] = r.scope.locals
	case *ast.ReturnStmt:
		r.exprs(s.Exprs)
	}
	return append(out, s)
}

// assign rewrites an assignment: first all values go into new local variables, then they are
// assigned, the last one first, as by LuaJIT. gopher-lua would assign to a local variable
// that the same statement still reads, as in a, b = b, a, and not at all in a = x and y if x
// is nil.
func (r *rewriter) assign(s *ast.AssignStmt) ast.Stmt {
	if len(s.Lhs) == 1 && len(s.Rhs) == 1 {
		if a, ok := s.Lhs[0].(*ast.AttrGetExpr); ok {
			return set(s, r.expr(a.Object), r.expr(a.Key), r.expr(s.Rhs[0]))
		}
		switch v := r.expr(s.Rhs[0]); v.(type) {
		case ast.ConstExpr, *ast.IdentExpr, *ast.AttrGetExpr, *ast.ArithmeticOpExpr:
			return at(s, &ast.AssignStmt{Lhs: s.Lhs, Rhs: []ast.Expr{v}})
		default:
			name := "(value)"
			return at(s, &ast.DoBlockStmt{Stmts: []ast.Stmt{
				at(s, &ast.LocalAssignStmt{Names: []string{name}, Exprs: []ast.Expr{v}}),
				at(s, &ast.AssignStmt{Lhs: s.Lhs, Rhs: []ast.Expr{at(s, &ast.IdentExpr{Value: name})}}),
			}})
		}
	}
	var targets, values ast.LocalAssignStmt
	var made []ast.Stmt
	name := func(kind string, i int) (string, ast.Expr) {
		n := fmt.Sprintf("(%s%d)", kind, i)
		return n, at(s, &ast.IdentExpr{Value: n})
	}
	for i, e := range s.Lhs {
		vn, v := name("value", i)
		values.Names = append(values.Names, vn)
		a, ok := e.(*ast.AttrGetExpr)
		if !ok {
			made = append(made, at(s, &ast.AssignStmt{Lhs: []ast.Expr{e}, Rhs: []ast.Expr{v}}))
			continue
		}
		on, o := name("object", i)
		kn, k := name("key", i)
		targets.Names = append(targets.Names, on, kn)
		targets.Exprs = append(targets.Exprs, one(r.expr(a.Object)), one(r.expr(a.Key)))
		made = append(made, set(s, o, k, v))
	}
	r.exprs(s.Rhs)
	values.Exprs = s.Rhs
	for i, j := 0, len(made)-1; i < j; i, j = i+1, j-1 {
		made[i], made[j] = made[j], made[i]
	}
	stmts := []ast.Stmt{at(s, &targets), at(s, &values)}
	if len(targets.Names) == 0 {
		stmts = stmts[1:]
	}
	stmts = append(stmts, made...)
	return at(s, &ast.DoBlockStmt{Stmts: stmts})
}

// define rewrites function a.b.c() and function a.b:c().
func (r *rewriter) define(s *ast.FuncDefStmt) ast.Stmt {
	target := s.Name.Func
	if target == nil {
		key := at(s, &ast.StringExpr{Value: s.Name.Method})
		target = at(s, &ast.AttrGetExpr{Object: s.Name.Receiver, Key: key})
		s.Func.ParList.Names = append([]string{"self"}, s.Func.ParList.Names...)
	}
	return r.assign(at(s, &ast.AssignStmt{Lhs: []ast.Expr{target}, Rhs: []ast.Expr{s.Func}}))
}

func (r *rewriter) exprs(es []ast.Expr) {
	for i, e := range es {
		es[i] = r.expr(e)
	}
}

func (r *rewriter) expr(e ast.Expr) ast.Expr {
	r.enter(e)
	defer func() { r.depth-- }()
	switch e := e.(type) {
	case *ast.IdentExpr:
		checkName(e, e.Value)
	case *ast.AttrGetExpr:
		e.Object, e.Key = r.expr(e.Object), r.key(e.Key)
	case *ast.TableExpr:
		if len(e.Fields) == 0 {
			return hidden(e, hiddenTable)
		}
		keys := 0
		for _, f := range e.Fields {
			if f.Key != nil {
				f.Key = r.key(f.Key)
				keys++
			}
			f.Value = r.expr(f.Value)
		}
		return hidden(e, hiddenTable, e, at(e, &ast.NumberExpr{Value: strconv.Itoa(keys)}))
	case *ast.FuncCallExpr:
		if e.Func != nil {
			e.Func = r.expr(e.Func)
		} else {
			e.Receiver = r.expr(e.Receiver)
			checkName(e, e.Method)
		}
		r.exprs(e.Args)
	case *ast.LogicalOpExpr:
		e.Lhs, e.Rhs = r.expr(noJump(e.Lhs)), r.expr(e.Rhs)
	case *ast.RelationalOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs), r.expr(e.Rhs)
		equality := e.Operator == "==" || e.Operator == "~="
		if equality && (isLiteral(e.Lhs) || isLiteral(e.Rhs)) {
			return e // the order may be that of a metamethod, whatever the type of the literal
		}
		if e.Operator == "~=" {
			return at(e, &ast.UnaryNotOpExpr{Expr: hidden(e, "(==)", e.Lhs, e.Rhs)})
		}
		return hidden(e, "("+e.Operator+")", e.Lhs, e.Rhs)
	case *ast.ArithmeticOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs), r.expr(e.Rhs)
		if e.Operator == "%" {
			return hidden(e, "(%)", e.Lhs, e.Rhs)
		}
	case *ast.UnaryMinusOpExpr:
		e.Expr = r.expr(e.Expr)
	case *ast.UnaryNotOpExpr:
		e.Expr = r.expr(e.Expr)
	case *ast.UnaryLenOpExpr:
		return hidden(e, hiddenLen, r.expr(e.Expr))
	case *ast.StringConcatOpExpr:
		return r.concat(e)
	case *ast.FunctionExpr:
		e.Stmts = r.function(len(e.ParList.Names), e.Stmts)
		return hidden(e, hiddenClosure, e)
	case *ast.Comma3Expr:
		if !e.AdjustRet {
			return at(e, &ast.FuncCallExpr{Func: at(e, &ast.IdentExpr{Value: hiddenArgs}), Args: []ast.Expr{e}})
		}
	}
	return e
}

// concat makes one call of a chain a .. b .. c, which is a .. (b .. c).
func (r *rewriter) concat(e *ast.StringConcatOpExpr) ast.Expr {
	var operands []ast.Expr
	var last ast.Expr = e
	for {
		c, ok := last.(*ast.StringConcatOpExpr)
		if !ok {
			break
		}
		operands = append(operands, r.expr(c.Lhs))
		last = c.Rhs
	}
	last = r.expr(last)
	for len(operands) > concatOperands {
		n := len(operands) - concatOperands
		last = hidden(e, hiddenConcat, append(operands[n:len(operands):len(operands)], last)...)
		operands = operands[:n]
	}
	return hidden(e, hiddenConcat, append(operands, last)...)
}

// key rewrites a key that is read.
func (r *rewriter) key(e ast.Expr) ast.Expr {
	if isLiteral(e) {
		return r.expr(e)
	}
	return hidden(e, hiddenKey, r.expr(e))
}

// isLiteral reports whether e is a constant that takes no time worth a charge to compare or
// to hash.
func isLiteral(e ast.Expr) bool {
	if s, ok := e.(*ast.StringExpr); ok {
		return len(s.Value) <= maxName
	}
	_, ok := e.(ast.ConstExpr)
	return ok
}

// checkName bounds a name, which the machine hashes whenever it is used.
func checkName(p ast.PositionHolder, name string) {
	if len(name) > maxName {
		panic(&SyntaxError{max(p.Line(), 1), fmt.Sprintf("a name of more than %d bytes", maxName)})
	}
}

// set is a call that assigns to a field.
func set(p ast.PositionHolder, object, key, value ast.Expr) ast.Stmt {
	return at(p, &ast.FuncCallStmt{Expr: hidden(p, hiddenSet, object, key, value)})
}

// hidden is a call of a hidden function, which has one result.
func hidden(p ast.PositionHolder, name string, args ...ast.Expr) ast.Expr {
	for i, a := range args {
		args[i] = one(a)
	}
	return at(p, &ast.FuncCallExpr{Func: at(p, &ast.IdentExpr{Value: name}), Args: args, AdjustRet: true})
}

// one makes e have exactly one value.
func one(e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.FuncCallExpr:
		e.AdjustRet = true
	case *ast.Comma3Expr:
		e.AdjustRet = true
	}
	return e
}

// at gives n the lines of p.
func at[N ast.PositionHolder](p ast.PositionHolder, n N) N {
	n.SetLine(p.Line())
	n.SetLastLine(p.LastLine())
	return n
}

package lua

import (
	"slices"

	"github.com/yuin/gopher-lua/ast"
)

// shape says what is known of a function without running it.
type shape struct {
	// kind is what the function does, if it is one of those that need no Lua.
	kind kind
	// fields are the fields of the message that the function names, if it uses its
	// argument in no other way than to read and set these and to return it. The other
	// fields need not be made for it.
	fields []string
	whole  bool // it may use all of its argument
}

// kind is a function that needs no Lua.
type kind uint8

const (
	other    kind = iota
	identity      // return message
	field         // return message.FIELD, which is fields[0]
)

// shapeOf returns the shape of the function that a chunk returns.
func shapeOf(chunk []ast.Stmt) shape {
	f, alone := function(chunk)
	if f == nil || len(f.ParList.Names) == 0 {
		return shape{whole: true}
	}
	name := f.ParList.Names[0]
	if slices.Contains(f.ParList.Names[1:], name) {
		return shape{whole: true}
	}
	if e := returned(f.Stmts); alone && e != nil {
		if isName(e, name) {
			return shape{kind: identity}
		}
		if a, ok := e.(*ast.AttrGetExpr); ok && isName(a.Object, name) {
			if k, ok := a.Key.(*ast.StringExpr); ok && (k.Value == "body" || k.Value == "body_args") {
				return shape{kind: field, fields: []string{k.Value}}
			}
		}
	}
	a := argument{name: name}
	a.main(f.Stmts)
	if a.whole {
		return shape{whole: true}
	}
	return shape{fields: a.fields}
}

// function returns the function expression that a chunk returns, nil if it returns anything
// else, and whether the chunk has nothing else.
func function(chunk []ast.Stmt) (f *ast.FunctionExpr, alone bool) {
	if len(chunk) == 0 {
		return nil, false
	}
	f, _ = returned(chunk[len(chunk)-1:]).(*ast.FunctionExpr)
	return f, len(chunk) == 1
}

// returned returns the expression of stmts, if they are one return of one expression.
func returned(stmts []ast.Stmt) ast.Expr {
	if len(stmts) != 1 {
		return nil
	}
	if r, ok := stmts[0].(*ast.ReturnStmt); ok && len(r.Exprs) == 1 {
		return r.Exprs[0]
	}
	return nil
}

func isName(e ast.Expr, name string) bool {
	i, ok := e.(*ast.IdentExpr)
	return ok && i.Value == name
}

// argument finds out how a function uses its argument. Any use that is not known to be
// harmless is a use of all of it, and so is another variable of the same name.
type argument struct {
	name   string
	fields []string
	whole  bool
}

// main looks at the statements of the function itself, which may return the argument.
func (a *argument) main(stmts []ast.Stmt) {
	for _, s := range stmts {
		switch s := s.(type) {
		case *ast.ReturnStmt:
			if len(s.Exprs) == 1 && isName(s.Exprs[0], a.name) {
				continue
			}
		case *ast.IfStmt:
			a.condition(s.Condition)
			a.main(s.Then)
			a.main(s.Else)
			continue
		case *ast.DoBlockStmt:
			a.main(s.Stmts)
			continue
		}
		a.stmt(s)
	}
}

func (a *argument) stmt(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.LocalAssignStmt:
		a.binds(s.Names...)
	case *ast.NumberForStmt:
		a.binds(s.Name)
	case *ast.GenericForStmt:
		a.binds(s.Names...)
	case *ast.IfStmt:
		a.condition(s.Condition)
		a.block(s.Then)
		a.block(s.Else)
		return
	case *ast.WhileStmt:
		a.condition(s.Condition)
		a.block(s.Stmts)
		return
	}
	eachPart(s, a.block, a.expr)
}

func (a *argument) block(stmts []ast.Stmt) {
	for _, s := range stmts {
		a.stmt(s)
	}
}

func (a *argument) binds(names ...string) {
	if slices.Contains(names, a.name) {
		a.whole = true
	}
}

// condition looks at an expression of which only the truth counts.
func (a *argument) condition(e ast.Expr) {
	switch e := e.(type) {
	case *ast.IdentExpr:
		return
	case *ast.LogicalOpExpr:
		a.condition(e.Lhs)
		a.condition(e.Rhs)
	default:
		a.expr(e)
	}
}

func (a *argument) expr(e ast.Expr) {
	switch e := e.(type) {
	case *ast.IdentExpr:
		a.binds(e.Value)
	case *ast.AttrGetExpr:
		k, ok := e.Key.(*ast.StringExpr)
		if !ok || !isName(e.Object, a.name) {
			a.expr(e.Object)
			a.expr(e.Key)
		} else if !slices.Contains(a.fields, k.Value) {
			a.fields = append(a.fields, k.Value)
		}
	case *ast.LogicalOpExpr:
		if e.Operator == "and" {
			a.condition(e.Lhs) // a table is never what "and" returns of its left
		} else {
			a.expr(e.Lhs)
		}
		a.expr(e.Rhs)
	case *ast.UnaryNotOpExpr:
		a.condition(e.Expr)
	case *ast.RelationalOpExpr:
		for _, side := range []ast.Expr{e.Lhs, e.Rhs} {
			if !isName(side, a.name) || e.Operator != "==" && e.Operator != "~=" {
				a.expr(side)
			}
		}
	case *ast.FunctionExpr:
		a.binds(e.ParList.Names...)
		a.block(e.Stmts)
	default:
		eachExpr(e, a.block, a.expr)
	}
}

// eachPart calls block with each block of s, and expr with each of its expressions, also
// those that it assigns to.
func eachPart(s ast.Stmt, block func([]ast.Stmt), expr func(ast.Expr)) {
	exprs := func(es []ast.Expr) {
		for _, e := range es {
			expr(e)
		}
	}
	switch s := s.(type) {
	case *ast.AssignStmt:
		exprs(s.Lhs)
		exprs(s.Rhs)
	case *ast.LocalAssignStmt:
		exprs(s.Exprs)
	case *ast.FuncCallStmt:
		expr(s.Expr)
	case *ast.DoBlockStmt:
		block(s.Stmts)
	case *ast.WhileStmt:
		expr(s.Condition)
		block(s.Stmts)
	case *ast.RepeatStmt:
		block(s.Stmts)
		expr(s.Condition)
	case *ast.IfStmt:
		expr(s.Condition)
		block(s.Then)
		block(s.Else)
	case *ast.NumberForStmt:
		exprs([]ast.Expr{s.Init, s.Limit})
		if s.Step != nil {
			expr(s.Step)
		}
		block(s.Stmts)
	case *ast.GenericForStmt:
		exprs(s.Exprs)
		block(s.Stmts)
	case *ast.FuncDefStmt:
		if s.Name.Func != nil {
			expr(s.Name.Func)
		}
		if s.Name.Receiver != nil {
			expr(s.Name.Receiver)
		}
		expr(s.Func)
	case *ast.ReturnStmt:
		exprs(s.Exprs)
	}
}

// eachExpr does the same for an expression.
func eachExpr(e ast.Expr, block func([]ast.Stmt), expr func(ast.Expr)) {
	switch e := e.(type) {
	case *ast.AttrGetExpr:
		expr(e.Object)
		expr(e.Key)
	case *ast.TableExpr:
		for _, f := range e.Fields {
			if f.Key != nil {
				expr(f.Key)
			}
			expr(f.Value)
		}
	case *ast.FuncCallExpr:
		if e.Func != nil {
			expr(e.Func)
		} else {
			expr(e.Receiver)
		}
		for _, a := range e.Args {
			expr(a)
		}
	case *ast.LogicalOpExpr:
		expr(e.Lhs)
		expr(e.Rhs)
	case *ast.RelationalOpExpr:
		expr(e.Lhs)
		expr(e.Rhs)
	case *ast.StringConcatOpExpr:
		expr(e.Lhs)
		expr(e.Rhs)
	case *ast.ArithmeticOpExpr:
		expr(e.Lhs)
		expr(e.Rhs)
	case *ast.UnaryMinusOpExpr:
		expr(e.Expr)
	case *ast.UnaryNotOpExpr:
		expr(e.Expr)
	case *ast.UnaryLenOpExpr:
		expr(e.Expr)
	case *ast.FunctionExpr:
		block(e.Stmts)
	}
}

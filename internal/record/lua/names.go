package lua

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/yuin/gopher-lua/ast"

	"kafka-upstream/internal/request"
)

// parts are the functions and tables that read a part of the request that doors hand over,
// rather than a fact.
var parts = map[string]request.Fields{
	"kong.request.get_method":          {Method: true},
	"kong.request.get_path_with_query": {URI: true},
	"kong.request.get_raw_path":        {URI: true},
	"kong.request.get_raw_query":       {Query: true},
	"kong.request.get_query":           {Query: true},
	"kong.request.get_query_arg":       {Query: true},
	"kong.request.get_header":          {Headers: true},
	"kong.request.get_headers":         {Headers: true},
	"kong.request.get_raw_body":        {Body: true},
	"kong.request.get_body":            {Body: true, Headers: true},
	"ngx.req.get_method":               {Method: true},
	"ngx.req.get_headers":              {Headers: true},
	"ngx.req.get_uri_args":             {Query: true},
	"ngx.req.get_body_data":            {Body: true},
	"ngx.req.get_post_args":            {Body: true},
	"ngx.req.read_body":                {},

	"kong.request.get_id":         {Facts: []request.Fact{requestID}},
	"kong.request.get_start_time": {Facts: []request.Fact{startTime}},
	"ngx.req.start_time":          {Facts: []request.Fact{startTime}},
	"ngx.req.http_version":        {Facts: []request.Fact{{Call: "kong.request.get_http_version"}}},
}

var (
	requestID = request.Fact{Call: request.CallVariable, Name: "kong_request_id"}
	startTime = request.Fact{Call: "kong.nginx.req_start_time"}
)

// tables are the tables whose fields are facts, each with the call that returns one.
var tables = map[string]string{
	"kong.ctx.shared": "kong.ctx.shared.get",
	"ngx.ctx":         "kong.nginx.get_ctx",
	"ngx.var":         request.CallVariable,
}

// memberNames are the functions of the tables that functions see, by the table's name: the parts
// and the facts without a name. For a table that is not used by its name, see names.escape.
var memberNames = func() map[string][]string {
	m := map[string][]string{}
	add := func(path string) {
		i := strings.LastIndexByte(path, '.')
		m[path[:i]] = append(m[path[:i]], path[i+1:])
	}
	for path := range parts {
		add(path)
	}
	for call, named := range request.KnownCalls() {
		if !named {
			add(call)
		}
	}
	return m
}()

// names finds out which functions of kong and ngx a chunk uses, by their names. Each name
// counts, wherever it stands, so variables that hide it do no harm.
type names struct {
	needs   request.Fields
	aliases map[string][]string // local variables that stand for a table of kong or ngx
	keys    map[string]bool     // all fields that the chunk names
	escaped map[string]bool     // tables that it uses in ways that are not understood
}

func needsOf(chunk []ast.Stmt) request.Fields {
	n := names{aliases: map[string][]string{}, keys: map[string]bool{}, escaped: map[string]bool{}}
	n.block(chunk)
	for table := range n.escaped {
		for prefix, functions := range memberNames {
			if prefix != table && !strings.HasPrefix(prefix, table+".") {
				continue
			}
			for _, f := range functions {
				if n.keys[f] {
					n.use(prefix + "." + f)
				}
			}
		}
	}
	return n.needs
}

func (n *names) block(stmts []ast.Stmt) {
	for _, s := range stmts {
		if l, ok := s.(*ast.LocalAssignStmt); ok {
			for i, name := range l.Names {
				if i >= len(l.Exprs) {
					break
				}
				paths := n.paths(l.Exprs[i])
				for _, path := range paths {
					if isTable(path) && !slices.Contains(n.aliases[name], path) {
						n.aliases[name] = append(n.aliases[name], path)
					}
				}
			}
			for _, e := range l.Exprs {
				if paths := n.paths(e); len(paths) > 0 && !slices.ContainsFunc(paths, func(p string) bool { return !isTable(p) }) {
					continue // an alias now
				}
				n.expr(e)
			}
			continue
		}
		eachPart(s, n.block, n.expr)
	}
}

// literalCalls are the functions whose argument is a fact's name.
var literalCalls = []string{request.CallVariable, request.CallIsTrusted}

// isAddress reports whether Kong can be asked whether it trusts s.
func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// isTable reports whether path is a table of kong or ngx that has functions, tables or facts,
// or one of literalCalls, which are followed like one.
func isTable(path string) bool {
	if tables[path] != "" || path == "kong" || path == "ngx" || path == "kong.ctx" || slices.Contains(literalCalls, path) {
		return true
	}
	return memberNames[path] != nil
}

// paths returns what e may stand for, such as kong.request.get_header.
func (n *names) paths(e ast.Expr) []string {
	switch e := e.(type) {
	case *ast.IdentExpr:
		if e.Value == "kong" || e.Value == "ngx" {
			return []string{e.Value}
		}
		return n.aliases[e.Value]
	case *ast.AttrGetExpr:
		k, ok := e.Key.(*ast.StringExpr)
		if !ok {
			return nil
		}
		var paths []string
		for _, object := range n.paths(e.Object) {
			paths = append(paths, object+"."+k.Value)
		}
		return paths
	}
	return nil
}

func (n *names) expr(e ast.Expr) {
	switch e := e.(type) {
	case *ast.IdentExpr:
		n.whole(e)
		return
	case *ast.AttrGetExpr:
		k, ok := e.Key.(*ast.StringExpr)
		if !ok {
			break
		}
		n.keys[k.Value] = true
		objects := n.paths(e.Object)
		if len(objects) == 0 {
			n.expr(e.Object)
			return
		}
		for _, object := range objects {
			if call := tables[object]; call != "" {
				n.fact(request.Fact{Call: call, Name: k.Value})
			}
		}
		n.whole(e)
		n.inner(e.Object)
		return
	case *ast.FuncCallExpr:
		if e.Func == nil {
			n.keys[e.Method] = true
		}
		for _, path := range n.paths(e.Func) {
			if !slices.Contains(literalCalls, path) || len(e.Args) == 0 {
				continue
			}
			name, ok := e.Args[0].(*ast.StringExpr)
			if !ok || path == request.CallIsTrusted && !isAddress(name.Value) {
				continue
			}
			n.fact(request.Fact{Call: path, Name: name.Value})
		}
	}
	eachExpr(e, n.block, n.expr)
}

// inner looks at the object of a field that is known by its path: only names in it count.
func (n *names) inner(e ast.Expr) {
	if a, ok := e.(*ast.AttrGetExpr); ok {
		if k, ok := a.Key.(*ast.StringExpr); ok {
			n.keys[k.Value] = true
			for _, object := range n.paths(a.Object) {
				if call := tables[object]; call != "" {
					n.fact(request.Fact{Call: call, Name: k.Value})
				}
			}
		}
		n.inner(a.Object)
	}
}

// whole is a use of what e stands for: a function, or a table as a whole.
func (n *names) whole(e ast.Expr) {
	for _, path := range n.paths(e) {
		if isTable(path) {
			n.escaped[path] = true
		} else {
			n.use(path)
		}
	}
}

// use adds what a function needs.
func (n *names) use(path string) {
	if f, ok := parts[path]; ok {
		n.needs = n.needs.Merge(f)
	} else {
		n.fact(request.Fact{Call: path})
	}
}

func (n *names) fact(f request.Fact) {
	if request.KnownFact(f) {
		n.needs = n.needs.Merge(request.Fields{Facts: []request.Fact{f}})
	}
}

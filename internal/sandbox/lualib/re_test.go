package lualib

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/sandbox"
)

func TestRegularExpressionsAsOpenRestyDocumentsThem(t *testing.T) {
	check(t, []example{
		// match
		{`local m = ngx.re.match("hello, 1234", "[0-9]+") return m[0], m[1]`, "1234,nil"},
		{`local m = ngx.re.match("hello, 1234", "([0-9])[0-9]+") return m[0], m[1]`, "1234,1"},
		{`local m = ngx.re.match("hello, 1234", "([0-9])(?<remaining>[0-9]+)") return m[0], m[1], m[2], m.remaining`, "1234,1,234,234"},
		{`local m = ngx.re.match("hello, world", "(world)|(hello)|(?<named>howdy)") return m[0], m[1], m[2], m[3], m.named`, "hello,false,hello,false,false"},
		{`local m = ngx.re.match("hello, world", "HEL LO", "ix") return m[0]`, "hello"},
		{`local m = ngx.re.match("hello, 美好生活", "HELLO, (.{2})", "iu") return m[0], m[1]`, "hello, 美好,美好"},
		{`local m = ngx.re.match("hello, 美好生活", "HELLO, (.{3})", "i") return m[1]`, "美"},
		{`local ctx = {} local m = ngx.re.match("1234, hello", "[0-9]+", "", ctx) return m[0], ctx.pos`, "1234,5"},
		{`local ctx = {pos = 2} local m = ngx.re.match("1234, hello", "[0-9]+", "", ctx) return m[0], ctx.pos`, "234,5"},
		{`local m, err = ngx.re.match("a", "b") return m, err`, "nil,nil"},
		{`local into = {} local m = ngx.re.match("ab", "(a)(b)?(c)?", "jo", nil, into) return m == into, m[1], m[2], m[3]`, "true,a,b,false"},
		{`local m, err = ngx.re.match("a", "(a") return m, err`, "nil,pcre_compile() failed: missing closing )"},
		{`local m = ngx.re.match(1234, 23) return m[0]`, "23"},
		{`local m = ngx.re.match("xab", "ab", "a") return m`, "nil"},
		{`local m = ngx.re.match("ab", "a|ab", "d") return m[0]`, "ab"},
		{`local m = ngx.re.match("ab", "a|ab") return m[0]`, "a"},
		// find
		{`local from, to, err = ngx.re.find("hello, 1234", "([0-9]+)", "jo") return from, to, err`, "8,11,nil"},
		{`local from, to = ngx.re.find("hello, 1234", "([0-9])([0-9]+)", "jo", nil, 2) return from, to`, "9,11"},
		{`local from, to, err = ngx.re.find("a", "a", "", nil, 1) return from, to, err`, "nil,nil,nth out of bound"},
		{`local ctx = {pos = 1} local from, to = ngx.re.find("a b", "", "", ctx) return from, to, ctx.pos`, "1,0,1"},
		{`ngx.re.find("abc", "b", "", {pos = 9})`, "nil"},
		// gmatch
		{`local t = {} for m in ngx.re.gmatch("hello, world!", "([a-z]+)", "i") do t[#t + 1] = m[1] end return table.concat(t, "|")`, "hello|world"},
		{`local it, err = ngx.re.gmatch("a", "(") return it, err ~= nil`, "nil,true"},
		{`local n = 0 for m in ngx.re.gmatch("abc", "x*") do n = n + 1 end return n`, "4"},
		// sub, gsub
		{`ngx.re.sub("hello, 1234", "([0-9])[0-9]", "[$0][$1]")`, "hello, [12][1]34,1"},
		{`ngx.re.sub("hello, 1234", "[0-9]", "${0}00")`, "hello, 100234,1"},
		{`ngx.re.sub("hello, 1234", "[0-9]", "$$")`, "hello, $234,1"},
		{`local s, n, err = ngx.re.sub("hello", "h", "$x") return s, n, err`, "nil,nil,failed to compile the replacement template"},
		{`return ngx.re.sub("hello, 1234", "([0-9])[0-9]", function(m) return "[" .. m[0] .. "][" .. m[1] .. "]" end)`, "hello, [12][1]34,1"},
		{`ngx.re.gsub("hello, world", "([a-z])[a-z]+", "[$0,$1]", "i")`, "[hello,h], [world,w],2"},
		{`return ngx.re.gsub("hello, world", "([a-z])[a-z]+", function(m) return m[1] end)`, "h, w,2"},
		{`ngx.re.gsub("abc", "x*", "-")`, "-a-b-c-,4"},
		{`ngx.re.gsub("abc", "d", "-")`, "abc,0"},
		{`ngx.re.gsub("a.b.c", "\\.", "")`, "abc,2"},
		// PCRE's own
		{`ngx.re.find("a\n", "a$") return (ngx.re.find("a\n", "a$")), (ngx.re.find("a\n\n", "a$")), (ngx.re.find("a\nb", "a$")), (ngx.re.find("a\nb", "a$", "m")), (ngx.re.find("a\n", "a\\z"))`, "1,nil,nil,1,nil"},
		{`(ngx.re.find("x\ny", "^y")), (ngx.re.find("x\ny", "^y", "m")), (ngx.re.find("a\nb", "a.b")), (ngx.re.find("a\nb", "a.b", "s"))`, "nil,3,nil,1"},
		{`(ngx.re.find("a\11b", "a\\sb")), (ngx.re.find("\255", "[\\x80-\\xff]")), (ngx.re.find("é", "É", "i")), (ngx.re.find("\233", "\\xe9"))`, "1,1,nil,1"},
		{`(ngx.re.find("a-b]", "[]-]")), (ngx.re.find("a[b", "[[]")), (ngx.re.find("x", "(?#none)x")), (ngx.re.find("a b", "a\\hb"))`, "2,2,1,1"},
		{`(ngx.re.find("a.b", "\\Qa.b\\E")), (ngx.re.find("foobar", "foo # comment\n bar", "x")), (ngx.re.find("A", "(?i)a")), (ngx.re.find("z{", "z{"))`, "1,1,1,1"},
		{`local m, err = ngx.re.match("\255", ".", "u") return m, err`, "nil,pcre_exec() failed: -10"},
	})
}

func TestWhatOnlyPCREHasFailsWithASentence(t *testing.T) {
	for pattern, what := range map[string]string{
		`a(?=b)`: "look-around", `a(?!b)`: "look-around", `(?<=a)b`: "look-around", `(?<!a)b`: "look-around",
		`(a)\1`: "a back-reference", `(?<n>a)\k<n>`: "a back-reference", `(?P<n>a)(?P=n)`: "a back-reference",
		`(?>a)`: "an atomic group", `a++`: "a possessive quantifier", `a{2}+`: "a possessive quantifier",
		`(?R)`: "a recursive expression", `(?(1)a)`: "a conditional group", `(*UTF8)a`: "(*…)", `a\Kb`: `\K`,
		`(?x) a`:                           "x among options",
		strings.Repeat("a", maxPattern+1):  "an expression of more than 4096 bytes",
		`(((a{99}){9}b{900}c{900}d{900}))`: "so large",
		strings.Repeat("()", 65):           "an expression of more than 64 groups",
	} {
		got := eval(t, "return ngx.re.match('x', [==["+pattern+"]==])")
		if !strings.Contains(got, what) || !strings.Contains(got, "is not available in regular expressions of message functions") {
			t.Errorf("%.50s: %s", pattern, got)
		}
	}
	checkErrors(t, []example{{`ngx.re.match("a", "a", "D")`, "option D is not available"}})
}

func TestHostileExpressionsEndWithinTheBudget(t *testing.T) {
	for name, source := range map[string]string{
		"nested repeats": `return ngx.re.find(("a"):rep(100000), "(a*)*(a*)*(a*)*b")`,
		"overscan":       `local n = 0 for m in ngx.re.gmatch(("a"):rep(20000), "a.*b|a") do n = n + 1 end return n`,
		"growth":         `local s = ("a"):rep(1000) for i = 1, 10 do s = ngx.re.gsub(s, "a", ("a"):rep(1000)) end return #s`,
		"templates":      `return #ngx.re.gsub(("a"):rep(100000), "(a+)", ("$1"):rep(10000))`,
		"expressions":    `for i = 1, 10000 do ngx.re.find("a", "a{900}" .. i) end`,
		"long text":      `local s = ("ab"):rep(2^20) for i = 1, 100 do ngx.re.find(s, "[ac]*c") end`,
		"groups":         `return ngx.re.find(("a"):rep(10000), ("(a*)"):rep(60) .. "b")`,
	} {
		_, err := run(t, newState(), source)
		var e *sandbox.Error
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if e, _ = err.(*sandbox.Error); e == nil || !e.Budget {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHonestExpressionsAreWithinTheBudget(t *testing.T) {
	check(t, []example{
		{`local s = ("x=1; "):rep(1000) .. "token=abc" local m = ngx.re.match(s, "token=([a-z]+)", "jo") return m[1]`, "abc"},
		{`local s, n = ngx.re.gsub(("4111-1111-1111-1111 "):rep(100), "[0-9]{4}(-[0-9]{4}){2}", "****") return n`, "100"},
		{`local s = ("a"):rep(1000000) .. "1" return (ngx.re.find(s, "[0-9]+"))`, "1000001"},
		{`ngx.re.find(("a"):rep(3000), "(a*)*(a*)*(a*)*b")`, "nil"}, // linear
	})
}

func TestTheCacheOfExpressionsIsBounded(t *testing.T) {
	for i := range 20 {
		eval(t, "for i = 1, 20 do ngx.re.find('a', 'a{900}"+strings.Repeat("b", i)+"' .. i) end")
	}
	regexCache.Lock()
	defer regexCache.Unlock()
	size := 0
	for _, re := range regexCache.m {
		size += re.weight()
	}
	if size != regexCache.size || size > maxCached {
		t.Errorf("%d instructions, counted as %d, of at most %d", size, regexCache.size, maxCached)
	}
}

func BenchmarkMatch(b *testing.B) {
	s := newState()
	p, err := sandbox.Compile("bench", `return function(s) return ngx.re.match(s, "token=([a-z0-9]+)", "jo") end`)
	if err != nil {
		b.Fatal(err)
	}
	f, err := s.Run(p)
	if err != nil {
		b.Fatal(err)
	}
	text := glua.LString("session=1; theme=dark; token=0123456789abcdef; path=/")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Call(f.(*glua.LFunction), text); err != nil {
			b.Fatal(err)
		}
	}
}

// words are what random expressions are made of.
var words = []string{"a", "b", "ab", ".", "[ab]", "[^a]", "(a|b)", "(ab)*", "(a*)", "a*?", "b+", "(?:a|ab)", "(?:b??)", "^", "$", `\b`, `\B`, "(b+|a)*", "a{2,3}", "(?i:A)", `\w`, "|", "\n"}

// A matcher that cannot be charged finds the same: Go's.
func TestMatchesAreThoseOfGo(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := newState()
	for range 3000 {
		var b, text strings.Builder
		for range 1 + r.IntN(6) {
			b.WriteString(words[r.IntN(len(words))])
		}
		for range r.IntN(12) {
			text.WriteByte("aab\nB_"[r.IntN(6)])
		}
		pattern := b.String()
		want, err := regexp.Compile(strings.ReplaceAll(pattern, "$", `\z`))
		if err != nil {
			continue
		}
		run := func(l *glua.LState) int {
			re, failure := compiled(l, strings.ReplaceAll(pattern, "$", `\z`), "")
			if failure != "" {
				t.Errorf("%q: %s", pattern, failure)
				return 0
			}
			got := re.match(l, text.String(), 0)
			w := want.FindStringSubmatchIndex(text.String())
			if len(got) != len(w) {
				t.Errorf("%q on %q: got %v, want %v", pattern, text.String(), got, w)
				return 0
			}
			for i := range w {
				if int(got[i]) != w[i] {
					t.Errorf("%q on %q: got %v, want %v", pattern, text.String(), got, w)
					break
				}
			}
			return 0
		}
		if _, err := s.Call(s.L().NewFunction(run)); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzRegex(f *testing.F) {
	for _, w := range words {
		f.Add(w, "aab", "i")
	}
	f.Add(`(?<x>\x{e9}|[^\]\xff])`, "\xff\xe9", "xu")
	f.Fuzz(func(t *testing.T, pattern, text, options string) {
		s := sandbox.New(sandbox.Limits{Instructions: 10_000, Bytes: 1 << 20})
		Open(s, glua.LNil, nil)
		_, err := s.Call(s.L().NewFunction(func(l *glua.LState) int {
			for _, f := range []glua.LGFunction{reMatch, reFind} {
				l.SetTop(0)
				l.Push(glua.LString(text))
				l.Push(glua.LString(pattern))
				l.Push(glua.LString(options))
				f(l)
			}
			l.SetTop(0)
			for _, s := range []string{text, pattern, "<$0>", options} {
				l.Push(glua.LString(s))
			}
			return reGsub(l)
		}))
		if err != nil && (strings.Contains(err.Error(), "runtime error") || strings.Contains(err.Error(), "machine failed")) {
			t.Fatal(err)
		}
	})
}

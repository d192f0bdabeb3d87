package lualib

import (
	"strings"
	"sync"
	"testing"
	"time"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/sandbox"
)

var testLimits = sandbox.Limits{Instructions: 100_000, Bytes: 64 << 20, Time: 20 * time.Second}

func newState() *sandbox.State {
	s := sandbox.New(testLimits)
	Open(s, &glua.LUserData{Value: "null", Metatable: glua.LNil}, nil)
	return s
}

// eval runs a chunk in a new state, and returns its results as tostring writes them, with
// commas, or the error's text.
func eval(t testing.TB, source string) string {
	t.Helper()
	v, err := run(t, newState(), source)
	if err != nil {
		return err.Error()
	}
	return v
}

func run(t testing.TB, s *sandbox.State, source string) (string, error) {
	t.Helper()
	source = "local function results(...) local t = {} for i = 1, select('#', ...) do t[i] = tostring((select(i, ...))) end return table.concat(t, ',') end\nreturn results((function(...)\n" + source + "\nend)())"
	p, err := sandbox.Compile("test", source)
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Run(p)
	if err != nil {
		return "", err
	}
	return v.String(), nil
}

type example struct{ source, want string }

func check(t *testing.T, examples []example) {
	t.Helper()
	for _, e := range examples {
		source := e.source
		if !strings.Contains(source, "return") {
			source = "return " + source
		}
		if got := eval(t, source); got != e.want {
			t.Errorf("%s\n got %q\nwant %q", e.source, got, e.want)
		}
	}
}

// checkErrors checks that each error contains a text.
func checkErrors(t *testing.T, examples []example) {
	t.Helper()
	for _, e := range examples {
		source := e.source
		if !strings.Contains(source, "return") {
			source = "return " + source
		}
		v, err := run(t, newState(), source)
		if err == nil {
			t.Errorf("%s\n got %q\nwant error %q", e.source, v, e.want)
		} else if !strings.Contains(err.Error(), e.want) {
			t.Errorf("%s\n got error %q\nwant %q", e.source, err, e.want)
		}
	}
}

func TestStatesRunAtTheSameTime(t *testing.T) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s := newState()
			for range 20 {
				got, err := run(t, s, `local x = require "kong.tools.string" return x.strip(" a "), (ngx.re.gsub("a1b22", "([0-9]+)", "<$1>", "jo")), #require("resty.jit-uuid")()`)
				if err != nil || got != "a,a<1>b<22>,36" {
					t.Error(got, err)
				}
			}
		})
	}
	wg.Wait()
}

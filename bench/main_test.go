//go:build linux

package main

import (
	"context"
	"os"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// TestMain is also this program itself: the harness runs the parts of it that
// need a process of their own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "load" || os.Args[1] == "broker") {
		main()
	}
	// The race detector waits for a second when a process ends.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(builtIn)
		os.Exit(code)
	}))
}

// builtIn is where the programs are, once a test has needed them.
var builtIn string

var built = sync.OnceValues(func() (all []candidate, err error) {
	if builtIn, err = os.MkdirTemp("", "ku-bench-test-"); err != nil {
		return nil, err
	}
	return candidates(context.Background(), builtIn, "", nil)
})

// programs are the candidates, built once for all tests.
func programs(t *testing.T) []candidate {
	t.Helper()
	all, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func program(t *testing.T, name string) candidate {
	t.Helper()
	all := programs(t)
	i := slices.IndexFunc(all, func(c candidate) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no candidate is called %s", name)
	}
	return all[i]
}

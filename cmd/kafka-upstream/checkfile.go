package main

import (
	"fmt"
	"io"
	"os"
	"slices"

	"kafka-upstream/internal/declarative"
	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/record/lua"
)

// compile returns what is wrong with each function of a configuration, nil for nothing.
func compile(functions []string) []error {
	all := make([]error, len(functions))
	for i, f := range functions {
		one := slices.Repeat([]string{"return function(message) return message end"}, len(functions))
		one[i] = f // the others compile, so an error is of this one
		_, all[i] = lua.Compile(one, lua.Options{})
	}
	return all
}

// checkFile checks the plugins in a declarative configuration, and prints what is wrong with
// them, a line each. It returns the exit code: 1 with a problem, 2 if the file cannot be read.
func checkFile(name string, stdout, stderr io.Writer) int {
	text, err := os.ReadFile(name)
	if err != nil {
		fmt.Fprintf(stderr, "kafka-upstream: %v\n", err)
		return 2
	}
	found, err := declarative.Check(text, plugin.Name, compile)
	if err != nil {
		fmt.Fprintf(stderr, "kafka-upstream: %s cannot be read: %v\n", name, err)
		return 2
	}
	for _, p := range found.Problems {
		fmt.Fprintf(stdout, "%s:%v\n", name, p)
	}
	for _, w := range found.Warnings {
		fmt.Fprintf(stdout, "%s:%d: %s: warning: %s\n", name, w.Line, w.Plugin, w.Text)
	}
	fmt.Fprintf(stdout, "%s: %s of %s, %s\n", name, count(found.Plugins, "configuration"), plugin.Name, count(len(found.Problems), "problem"))
	if len(found.Problems) > 0 {
		return 1
	}
	return 0
}

// count returns a number with its noun.
func count(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun + "s"
	case 1:
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

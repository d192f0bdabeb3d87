//go:build kafka

package main

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var curlCommand = regexp.MustCompile(`(?m)^  curl (?:.*\\\n)*.*$`)

// TestTheCommandsThatItPrintsDoWhatTheySay runs the printed commands with a
// shell. It carries the tag of the tests that need more than Go.
func TestTheCommandsThatItPrintsDoWhatTheySay(t *testing.T) {
	out, _, end := startDemo(t, "-listen", "127.0.0.1:0", "-admin-listen", "127.0.0.1:0")
	commands := curlCommand.FindAllString(out.String(), -1)
	if len(commands) != 5 {
		t.Fatalf("%d commands in %s", len(commands), out)
	}
	for _, c := range commands {
		answer, err := exec.CommandContext(t.Context(), "sh", "-c", c+" --silent --show-error --fail").CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v, %s", c, err, answer)
		}
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{`"foo": "bar"`, `"priority": "high"`, `"item": "tea"`, `"hello": "world"`, "#3  topic ", "\n3 requests, 3 records.\n", "topic kong-upstream: 2 (partition ", "topic second: 1 (partition "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %s", want, out)
		}
	}
}

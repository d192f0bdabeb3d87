//go:build kafka

package main

import (
	"os/exec"
	"strings"
	"testing"
)

func TestTheCommandsThatItPrintsReachTheSecureBroker(t *testing.T) {
	out, _, end := startDemo(t, "-secure", "-listen", "127.0.0.1:0", "-admin-listen", "127.0.0.1:0")
	for _, c := range curlCommand.FindAllString(out.String(), -1) {
		answer, err := exec.CommandContext(t.Context(), "sh", "-c", c+" --silent --show-error --fail").CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v, %s", c, err, answer)
		}
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"\n3 requests, 3 records.\n", "topic kong-upstream: 2 (partition ", "topic second: 1 (partition "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %s", want, out)
		}
	}
}

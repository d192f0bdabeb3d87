package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kafka-upstream/internal/test/e2e/rig"
)

func TestCheckSaysWhatIsWrongWithAFile(t *testing.T) {
	const good = "_format_version: '3.0'\nroutes:\n- name: orders\n  plugins:\n  - name: kafka-upstream\n    config:\n      topic: orders\n      bootstrap_servers: [{host: kafka, port: 9092}]\n"
	for name, tc := range map[string]struct {
		text           string
		code           int
		stdout, stderr string // FILE stands for the file's name
	}{
		"good":      {good, 0, "FILE: 1 configuration of kafka-upstream, no problems\n", ""},
		"no plugin": {"_format_version: '3.0'\n", 0, "FILE: no configurations of kafka-upstream, no problems\n", ""},
		"a warning": {good + "      forward_headers: true\n      exclude_headers: [cookie, authorization, apikey]\n", 0, "FILE:6: route orders, plugin 1: warning: messages may contain the headers proxy-authorization, which consumers of the topic can read: add them to exclude_headers\nFILE: 1 configuration of kafka-upstream, no problems\n", ""},
		"a problem": {strings.Replace(good, "topic", "topics", 1), 1, "FILE:6: route orders, plugin 1: config.topic: required field missing\nFILE:7: route orders, plugin 1: config.topics: unknown field\nFILE: 1 configuration of kafka-upstream, 2 problems\n", ""},
		"functions": {good + "      message_by_lua_functions:\n      - return function(message) return message end\n      - |\n        return function(message)\n          return message +\n        end\n      - return 1\n", 1,
			"FILE:11: route orders, plugin 1: config.message_by_lua_functions[2]: function 2, line 3: syntax error near 'end'\nFILE:15: route orders, plugin 1: config.message_by_lua_functions[3]: function 3, line 1: the chunk must return a function, such as: return function(message) return message end; it returned a number\nFILE: 1 configuration of kafka-upstream, 2 problems\n", ""},
		"not YAML":   {good + "  - ]", 2, "", "kafka-upstream: FILE cannot be read: line 9: "},
		"not Kong's": {"services: []", 2, "", "kafka-upstream: FILE cannot be read: it is not a declarative configuration: it has no _format_version\n"},
	} {
		file := filepath.Join(t.TempDir(), "kong.yml")
		if err := os.WriteFile(file, []byte(tc.text), 0o644); err != nil {
			t.Fatal(err)
		}
		stdout, stderr, code := rig.Run(t, false, "-check", file)
		stdout, stderr = strings.ReplaceAll(stdout, file, "FILE"), strings.ReplaceAll(stderr, file, "FILE")
		if code != tc.code || stdout != tc.stdout || !strings.HasPrefix(stderr, tc.stderr) || strings.Count(stderr, "\n") > 1 {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", name, code, stdout, stderr)
		}
	}
	if _, stderr, code := rig.Run(t, false, "-check", "/nowhere/kong.yml"); code != 2 || !strings.Contains(stderr, "/nowhere/kong.yml: no such file") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

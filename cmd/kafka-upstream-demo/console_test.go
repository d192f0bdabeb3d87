package main

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	yaml "go.yaml.in/yaml/v4"
)

func TestRecordsArePrintedReadable(t *testing.T) {
	for name, tc := range map[string]struct{ value, want, not string }{
		"json":          {`{"b":1,"a":1.00000000000000000001}`, "{\n  \"b\": 1,\n  \"a\": 1.00000000000000000001\n}", ""},
		"no json":       {"a\x1b[2J", `"a\x1b[2J"`, "\x1b"},
		"base64 text":   {`{"body":"aGVsbG8K","body_base64":true}`, "the body, decoded:\nhello\n", ""},
		"base64 bytes":  {`{"body":"AAH/","body_base64":true}`, `"body": "AAH/"`, "decoded"},
		"bad base64":    {`{"body":"!","body_base64":true}`, `"body": "!"`, "decoded"},
		"text body":     {`{"body":"aGVsbG8K"}`, `"body": "aGVsbG8K"`, "decoded"},
		"control bytes": {"{\"a\":\"\u009b2J\"}", `\u009b2J`, "\u009b"},
		"empty":         {"", `""`, ""},
	} {
		got := describe(&kgo.Record{Topic: "t", Partition: 3, Offset: 7, Value: []byte(tc.value), Timestamp: time.Unix(0, 0).UTC()})
		if !strings.HasPrefix(got, "topic t  partition 3  offset 7  key none  time 1970-01-01 00:00:00.000") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %s", name, got)
		}
		if tc.not != "" && strings.Contains(got, tc.not) {
			t.Errorf("%s: %q is in %q", name, tc.not, got)
		}
	}
	got := describe(&kgo.Record{Key: []byte("k\n"), Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1\n")}, {Key: "a", Value: []byte("2")}}})
	if !strings.Contains(got, `key "k\n"`) || !strings.HasSuffix(got, "\nheader \"a\": \"1\\n\"\nheader \"a\": \"2\"\n(null value)\n") {
		t.Error(got)
	}
}

func TestBootstrapServersAreReplacedInEveryPlugin(t *testing.T) {
	got, err := withBootstrapServers([]byte(`
_format_version: "3.0"
services:
- name: s
  url: http://a
  plugins: [{name: kafka-upstream, config: {topic: a, bootstrap_servers: [{host: x, port: 1}]}}]
routes:
- {hosts: [a], plugins: [{name: kafka-upstream, config: {topic: b}}]}
plugins: [{name: other, config: {bootstrap_servers: keep}}]
`), []string{"h:1", "[::1]:2"})
	if err != nil {
		t.Fatal(err)
	}
	s := string(got)
	if strings.Count(s, "host: h") != 2 || strings.Count(s, "::1") != 2 || strings.Contains(s, "host: x") || !strings.Contains(s, "bootstrap_servers: keep") {
		t.Error(s)
	}
	var m map[string]any
	if err := yaml.Load(got, &m); err != nil || m["_format_version"] != "3.0" {
		t.Error(err, m)
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add([]byte(`{"body":"aGVsbG8K","body_base64":true}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		for _, r := range describe(&kgo.Record{Value: value, Headers: []kgo.RecordHeader{{Key: string(value), Value: value}}}) {
			if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
				t.Fatalf("%q reaches the terminal", r)
			}
		}
	})
}

func FuzzWithBootstrapServers(f *testing.F) {
	f.Add([]byte("_format_version: '3.0'\nroutes: [{plugins: [{name: kafka-upstream, config: {}}]}]"))
	f.Fuzz(func(t *testing.T, config []byte) {
		if _, err := withBootstrapServers(config, []string{"h:1"}); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("not one sentence: %v", err)
		}
	})
}

package lua

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
)

// The examples of docs/message-functions.md: the message, and what each function makes of it.
func TestExamplesOfTheDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../../docs/message-functions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, examples, ok := strings.Cut(string(text), "\n## Examples\n")
	if !ok {
		t.Fatal("there are no examples")
	}
	examples, _, _ = strings.Cut(examples, "\n## ")
	fences := strings.Split(examples, "```")
	message := strings.TrimPrefix(fences[1], "json")
	n := 0
	for i := 3; i < len(fences); i += 2 {
		chunk, ok := strings.CutPrefix(fences[i], "lua\n")
		if !ok {
			continue
		}
		n++
		r := &request.Request{Query: []byte("priority=high"), Facts: []request.FactValue{value("kong.client.get_consumer", map[string]any{"username": "alice"})}}
		d := &record.Draft{Request: r, Message: []byte(strings.TrimSpace(message))}
		if err := compile(t, chunk).Transform(d); err != nil {
			t.Errorf("%s: %v", chunk, err)
			continue
		}
		if i+2 >= len(fences) {
			if !d.Skip {
				t.Errorf("%s: it is not skipped", chunk)
			}
			continue
		}
		want := strings.TrimPrefix(fences[i+2], "json")
		if !reflect.DeepEqual(decoded(t, d.Message), decoded(t, []byte(want))) {
			t.Errorf("%s:\n got %s\nwant %s", chunk, d.Message, want)
		}
	}
	if n < 4 {
		t.Errorf("%d examples", n)
	}
}

// Everything that the page says is there, is there.
func TestWhatTheDocumentationNamesIsThere(t *testing.T) {
	text, err := os.ReadFile("../../../docs/message-functions.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"kong.request", "kong.client", "kong.router"} {
		_, row, ok := strings.Cut(string(text), "| `"+table+"` | `")
		if !ok {
			t.Fatalf("%s has no row", table)
		}
		row, _, _ = strings.Cut(row, "`")
		for name := range strings.FieldsSeq(row) {
			if got := result(t, "{}", "return function() return type("+table+"."+name+") end"); got != "final function" {
				t.Errorf("%s.%s: %s", table, name, got)
			}
		}
	}
}

func TestModulesThatTheDocumentationNamesAreThere(t *testing.T) {
	text, err := os.ReadFile("../../../docs/message-functions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, row, _ := strings.Cut(string(text), "| `require` | ")
	row, _, _ = strings.Cut(row, " |\n")
	var names []string
	for item := range strings.SplitSeq(row, ", ") {
		item = strings.Trim(item, "`")
		before, group, ok := strings.Cut(item, "{")
		if !ok {
			names = append(names, item)
		}
		for name := range strings.FieldsSeq(strings.TrimSuffix(group, "}")) {
			names = append(names, before+name)
		}
	}
	if len(names) < 30 {
		t.Fatalf("%q", names)
	}
	for _, name := range names {
		if got := result(t, "{}", `return function() return type(require("`+name+`")) end`); got != "final table" && got != "final function" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

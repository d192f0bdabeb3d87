package docs

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/producer"
	"kafka-upstream/schema"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestEveryAnswerIsInTheTableAndTheOtherWayRound(t *testing.T) {
	type row struct{ status, body string }
	var rows []row
	for _, cells := range find(t, "docs/answers.md").rows() {
		if len(cells) == 4 && regexp.MustCompile(`^\d+$`).MatchString(cells[1]) {
			rows = append(rows, row{cells[1], cells[2]})
		}
	}
	documents := func(r row, a plugin.Response) bool { // a cause that depends on the request may follow
		return r.status == itoa(a.Status) && strings.Contains(r.body, strings.TrimSuffix(a.Body, "}"))
	}
	for reason := range plugin.Reasons() {
		if a := reason.Response(); !slices.ContainsFunc(rows, func(r row) bool { return documents(r, a) }) {
			t.Errorf("docs/answers.md lacks %d %s", a.Status, a.Body)
		}
	}
	for _, r := range rows {
		found := false
		for reason := range plugin.Reasons() {
			found = found || documents(r, reason.Response())
		}
		if !found {
			t.Errorf("the program does not answer %s %s", r.status, r.body)
		}
	}
}

func TestReasonsOf400AreThoseOfThePackage(t *testing.T) {
	var reasons [][]string
	for _, pattern := range []string{"internal/record/*.go", "internal/record/jsonmsg/*.go"} {
		files, _ := filepath.Glob(filepath.Join(root, pattern))
		for _, file := range files {
			if name, _ := filepath.Rel(root, file); !strings.HasSuffix(name, "_test.go") {
				reasons = append(reasons, regexp.MustCompile(`BadRequest\{Reason: "([^"]+)"\}`).FindAllStringSubmatch(read(t, name), -1)...)
			}
		}
	}
	var listed []string
	for _, cells := range find(t, "docs/answers.md").rows() {
		if len(cells) == 2 && strings.HasPrefix(cells[0], "`") {
			listed = append(listed, strings.Trim(cells[0], "`"))
		}
	}
	if len(reasons) != len(listed) || len(reasons) == 0 {
		t.Errorf("the package has %d reasons, docs/answers.md %d", len(reasons), len(listed))
	}
	text := strings.Join(listed, "\n") + "\n"
	for _, m := range reasons {
		if !strings.Contains(text, m[1]+"\n") {
			t.Errorf("docs/answers.md lacks %q", m[1])
		}
	}
}

func TestNumbersInTheDocumentsAreTheProgram(t *testing.T) {
	limit, _ := strconv.Atoi(value(leaves("", schema.Config())["producer_request_limits_bytes_per_request"].Default))
	for name, want := range map[string]string{
		"docs/answers.md":       "would be larger than " + itoa(limit-producer.Overhead) + " bytes",
		"docs/message.md":       "less " + itoa(producer.Overhead) + " bytes",
		"docs/configuration.md": "bytes less " + itoa(producer.Overhead),
	} {
		if !strings.Contains(read(t, name), want) {
			t.Errorf("%s does not say %q", name, want)
		}
	}
}

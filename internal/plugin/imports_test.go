package plugin

import (
	"go/build"
	"slices"
	"strings"
	"testing"
)

// imports returns the packages of this program that a package imports, tests apart, and
// those that they import.
func imports(t *testing.T, name string) []string {
	t.Helper()
	var all []string
	queue := []string{name}
	for len(queue) > 0 {
		p, err := build.ImportDir("../../"+strings.TrimPrefix(queue[0], "kafka-upstream/"), 0)
		if err != nil {
			t.Fatal(err)
		}
		queue = queue[1:]
		for _, i := range p.Imports {
			if strings.HasPrefix(i, "kafka-upstream/") && !slices.Contains(all, i) {
				all, queue = append(all, i), append(queue, i)
			}
		}
	}
	return all
}

// A second door must find all it needs here, and nothing of the first one's.
func TestPluginKnowsNoDoor(t *testing.T) {
	const internal = "kafka-upstream/internal/"
	for _, i := range imports(t, internal+"plugin") {
		if i == internal+"kongpdk" || i == internal+"companion" {
			t.Errorf("plugin imports %s", i)
		}
	}
	if all := imports(t, internal+"request"); len(all) > 0 {
		t.Errorf("request imports %q", all)
	}
	for _, i := range imports(t, internal+"record/jsonmsg") {
		if !slices.Contains([]string{internal + "record", internal + "request", internal + "memory"}, i) {
			t.Errorf("record imports %s", i)
		}
	}
}

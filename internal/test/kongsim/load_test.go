package kongsim

import (
	"fmt"
	"strings"
	"testing"
)

// What passes follows from the code of version.lua 1.0.1, which Kong 3.9.1 uses.
func TestAPluginWhoseVersionKongDoesNotTakeIsRefusedInKongsWords(t *testing.T) {
	for _, version := range []string{`"0.1.0"`, `"1.2.3"`, `"1"`, `"0"`, `"1.2"`, `"1.2."`, `"v1.2.3"`, `"1.2.3-rc1"`, `"1.2.3+f08ffe4"`, `"f08ffe4"`, `"v0.1.0-5-gf08ffe4-dirty"`} {
		if _, err := parseDump("query_cmd", dumpWith(version, "751")); err != nil {
			t.Errorf("version %s: %v", version, err)
		}
	}
	for version, got := range map[string]string{
		`"dev"`: "dev", `"unknown"`: "unknown", `"(devel)"`: "(devel)", `""`: "", `"1.2.3.4"`: "1.2.3.4", `"1..2"`: "1..2", `"1.."`: "1..",
		`"v"`: "v", `1.5`: "1.5", `null`: "nil", `["1.2.3"]`: "table",
	} {
		_, err := parseDump("query_cmd", dumpWith(version, "751"))
		want := fmt.Sprintf(`on plugin 'kafka-upstream': Plugin "kafka-upstream" cannot be loaded because its VERSION field does not follow the "x.y.z" format, got: %q.`, got)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("version %s: got %v, want %s", version, err, want)
		}
	}
}

func TestAPluginWhosePriorityKongDoesNotTakeIsRefusedInKongsWords(t *testing.T) {
	for priority, got := range map[string]string{`"751"`: "751", `7.5`: "7.5", `true`: "true"} {
		_, err := parseDump("query_cmd", dumpWith(`"1.2.3"`, priority))
		want := fmt.Sprintf(`Plugin "kafka-upstream" cannot be loaded because its PRIORITY field is not a valid integer number, got: %q.`, got)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("priority %s: got %v, want %s", priority, err, want)
		}
	}
	if _, err := parseDump("query_cmd", dumpWith(`"1.2.3"`, "null")); err == nil || !strings.Contains(err.Error(), "enabled but not installed") {
		t.Errorf("without a priority: %v", err)
	}
}

// Kong puts what it cannot read as a table into its error, and takes no notice of
// the exit status.
func TestWhatADumpSaysInPlaceOfAPluginIsInKongsError(t *testing.T) {
	o := processOptions(t, "-then", "sentence-dump")
	s, err := Start(t.Context(), o)
	if err == nil {
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), `not a plugin info table: `) || !strings.Contains(err.Error(), `"the directory is not there"`) {
		t.Errorf("got %v", err)
	}
}

func dumpWith(version, priority string) []byte {
	return fmt.Appendf(nil, `{"Protocol":"ProtoBuf:1","SocketPath":"/s","Plugins":[{"Name":"kafka-upstream","Version":%s,"Priority":%s,"Phases":["access"],"Schema":%s}]}`, version, priority, testSchema)
}

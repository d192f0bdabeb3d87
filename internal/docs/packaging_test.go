package docs

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestManPageHasTheFlagsOfTheProgram(t *testing.T) {
	help, err := exec.Command(binary, "-help").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	page, err := ManPage(string(help))
	if err != nil {
		t.Fatal(err)
	}
	if read(t, ManPageFile) != string(page) {
		t.Errorf("%s does not fit the flags any more: run make docs", ManPageFile)
	}
	for _, m := range regexp.MustCompile(`(?m)^  -(\S+)`).FindAllStringSubmatch(string(help), -1) {
		if !strings.Contains(string(page), "\n.BI \\-"+strings.ReplaceAll(m[1], "-", `\-`)) {
			t.Errorf("the page lacks -%s", m[1])
		}
	}
}

// The commands in the lines of kong.conf are those of the package.
func TestCommandsOfInstalledProgramsStartIt(t *testing.T) {
	n := 0
	for _, f := range find(t, "docs/install.md").fences {
		for _, m := range regexp.MustCompile(`(?m)_cmd = (.+)$`).FindAllStringSubmatch(f.text, -1) {
			n++
			checkFlags(t, "/usr/bin/kafka-upstream", strings.Fields(m[1]))
		}
		if socket := regexp.MustCompile(`_socket = (.+)`).FindStringSubmatch(f.text); socket != nil {
			if command := unit(t, "ExecStart"); !strings.Contains(command, "-socket "+socket[1]+" ") || !strings.Contains(f.text, "-socket "+socket[1]+" -dump") {
				t.Errorf("the socket %s is not that of %q", socket[1], command)
			}
		}
	}
	if n != 3 {
		t.Errorf("%d commands were found", n)
	}
}

// unit returns the value of a setting of the unit file.
func unit(t *testing.T, setting string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + setting + `=(.*)$`).FindStringSubmatch(read(t, "packaging/kafka-upstream.service"))
	if m == nil {
		t.Fatalf("the unit has no %s", setting)
	}
	return m[1]
}

func TestUnitFitsTheProgram(t *testing.T) {
	words := strings.Fields(unit(t, "ExecStart"))
	if last := words[len(words)-1]; last != "$KAFKA_UPSTREAM_FLAGS" {
		t.Fatalf("the flags of the file are not the last, but %s: they would not count", last)
	}
	words = words[:len(words)-1]
	checkFlags(t, "/usr/bin/kafka-upstream", words)
	command := strings.Join(words, " ") + " "
	if want := "-socket /run/" + unit(t, "RuntimeDirectory") + "/kafka-upstream.socket "; !strings.Contains(command, want) {
		t.Errorf("%q lacks %q", command, want)
	}
	drain, err := time.ParseDuration(regexp.MustCompile(`-drain-timeout (\S+)`).FindStringSubmatch(command)[1])
	if err != nil {
		t.Fatal(err)
	}
	stop, err := time.ParseDuration(strings.Replace(unit(t, "TimeoutStopSec"), "min", "m", 1))
	if err != nil || stop < 2*drain {
		t.Errorf("systemd waits %v for a drain of %v (%v)", stop, drain, err)
	}
	// The examples in the file are flags, too.
	file := read(t, "packaging/kafka-upstream.default")
	examples := regexp.MustCompile(`(?m)KAFKA_UPSTREAM_FLAGS="(.*)"$`).FindAllStringSubmatch(file, -1)
	if len(examples) != 2 || !strings.HasSuffix(unit(t, "EnvironmentFile"), "/etc/default/kafka-upstream") {
		t.Errorf("the file of flags has %q", examples)
	}
	for _, e := range examples {
		checkFlags(t, words[0], append(words[:len(words):len(words)], strings.Fields(e[1])...))
	}
}

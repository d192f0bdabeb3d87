package kafkatest

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kafka-upstream/internal/test/child"
)

//go:embed versions.txt
var versionsTxt string

// Versions are the releases of Apache Kafka that tests run against, newest
// first: the newest 4.x and the newest 3.9.x. versions.txt pins them.
var Versions = parseVersions(versionsTxt)

func parseVersions(text string) []string {
	var versions []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) > 0 && !strings.HasPrefix(fields[0], "#") {
			versions = append(versions, fields[0])
		}
	}
	return versions
}

// EachVersion runs f as one subtest for each of Versions, one after another.
func EachVersion(t *testing.T, f func(t *testing.T, version string)) {
	t.Helper()
	for _, version := range Versions {
		t.Run("kafka-"+version, func(t *testing.T) { f(t, version) })
	}
}

// install is where one release's jars and the Java to run them are.
type install struct {
	java string // the java program
	dir  string // holds broker/*.jar and tools/*.jar

	flags []string // of every JVM, beside those of all
}

// findInstall looks where `make kafka` puts things. Its error is one sentence
// that says how to get what is missing.
func findInstall(version string) (install, error) {
	in := install{dir: child.Installed("kafka-" + version)}
	for _, part := range []string{"broker", "tools"} {
		jars, _ := filepath.Glob(filepath.Join(in.dir, part, "*.jar"))
		if len(jars) == 0 {
			return in, fmt.Errorf("the jars of Apache Kafka %s are not in %s: run `make kafka`", version, filepath.Join(in.dir, part))
		}
	}
	var err error
	if in.java, err = child.Java(); err != nil {
		return in, fmt.Errorf("Apache Kafka %s does not run: %w", version, err)
	}
	return in, nil
}

// command is the call of a class of Kafka's with flags that make a JVM start
// fast and stay small, and more. Kafka's own classes (kafka.…) are the broker's
// jars', the command line tools (org.apache.kafka.tools.…) the tools'.
func (in install) command(flags []string, class string, args ...string) *exec.Cmd {
	part := "broker"
	if strings.HasPrefix(class, "org.apache.kafka.tools.") {
		part = "tools"
	} else if _, err := os.Stat(in.archive()); err == nil && flags == nil {
		flags = []string{"-XX:SharedArchiveFile=" + in.archive()}
	}
	// The jars in a certain order, and not "dir/*": an archive is of one class path.
	jars, _ := filepath.Glob(filepath.Join(in.dir, part, "*.jar"))
	return exec.Command(in.java, slices.Concat(child.Flags, []string{
		"-Xmx384m",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		"-cp", strings.Join(jars, string(filepath.ListSeparator)),
	}, in.flags, flags, []string{class}, args)...)
}

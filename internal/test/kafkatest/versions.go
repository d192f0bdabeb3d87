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
}

// findInstall looks where `make kafka` puts things. Its error is one sentence
// that says how to get what is missing.
func findInstall(version string) (install, error) {
	cache := os.Getenv("KAFKA_UPSTREAM_CACHE")
	if cache == "" {
		base := os.Getenv("XDG_CACHE_HOME")
		if base == "" {
			base = filepath.Join(os.Getenv("HOME"), ".cache")
		}
		cache = filepath.Join(base, "kafka-upstream")
	}
	in := install{dir: filepath.Join(cache, "kafka-"+version)}
	for _, part := range []string{"broker", "tools"} {
		jars, _ := filepath.Glob(filepath.Join(in.dir, part, "*.jar"))
		if len(jars) == 0 {
			return in, fmt.Errorf("the jars of Apache Kafka %s are not in %s: run `make kafka`", version, filepath.Join(in.dir, part))
		}
	}
	java := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		java = filepath.Join(home, "bin", "java")
	}
	path, err := exec.LookPath(java)
	if err != nil {
		return in, fmt.Errorf("there is no Java to run Apache Kafka %s with (%w): run `make kafka`", version, err)
	}
	in.java = path
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
	return exec.Command(in.java, slices.Concat([]string{
		"-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		"-cp", strings.Join(jars, string(filepath.ListSeparator)),
	}, flags, []string{class}, args)...)
}

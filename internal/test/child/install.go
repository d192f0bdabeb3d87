package child

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Installed is the directory where `make kafka` puts what it fetches under that name, such
// as "kafka-4.4.0": below KAFKA_UPSTREAM_CACHE, or else below the user's cache.
func Installed(name string) string {
	cache := os.Getenv("KAFKA_UPSTREAM_CACHE")
	if cache == "" {
		base := os.Getenv("XDG_CACHE_HOME")
		if base == "" {
			base = filepath.Join(os.Getenv("HOME"), ".cache")
		}
		cache = filepath.Join(base, "kafka-upstream")
	}
	return filepath.Join(cache, name)
}

// Java returns the path of the java program: that of JAVA_HOME, or else that of PATH. Its
// error says how to get one.
func Java() (string, error) {
	java := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		java = filepath.Join(home, "bin", "java")
	}
	path, err := exec.LookPath(java)
	if err != nil {
		return "", fmt.Errorf("there is no Java (%w): run `make kafka`", err)
	}
	return path, nil
}

// Flags make a JVM start fast and stay small. Behind them comes a limit of the heap (-Xmx).
var Flags = []string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"}

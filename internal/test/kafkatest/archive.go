package kafkatest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// A JVM spends most of a broker's start on loading its classes. An archive of
// them (JEP 350), which the JVM writes as it ends and maps at the next start,
// halves that. It is of use to the JVM that wrote it alone; another does not
// mind it.
func (in install) archive() string { return filepath.Join(in.dir, "broker.jsa") }

// Prepare makes the starts of that version faster, by a first one whose classes
// are archived; `make kafka` calls it. It returns how long that start took, or 0
// where there was nothing to do.
func Prepare(version string) (time.Duration, error) {
	in, err := findInstall(version)
	if err != nil {
		return 0, err
	}
	java, err := exec.Command(in.java, "-version").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s does not run: %w: %s", in.java, err, java)
	}
	stamp := in.archive() + ".java" // says whose archive it is
	if old, err := os.ReadFile(stamp); err == nil && string(old) == string(java) {
		return 0, nil
	}
	c, err := start(Config{Version: version, archive: true})
	if err != nil {
		return 0, err
	}
	defer c.close()
	if !c.brokers[0].process().Stop(stopGrace) {
		return 0, fmt.Errorf("Apache Kafka %s did not end within %v of SIGTERM%s", version, stopGrace, c.tails(nil))
	}
	if err := os.Rename(c.newArchive(), in.archive()); err != nil {
		return 0, err
	}
	return c.StartTime, os.WriteFile(stamp, java, 0o644)
}

// newArchive is where a broker that is to write an archive does so: beside the
// place for it, so that it can be renamed.
func (c *Cluster) newArchive() string {
	return c.install.archive() + "." + filepath.Base(c.dir)
}

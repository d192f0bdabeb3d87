package kafkatest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestVersionsAreANewestFourAndANewestThreeNine(t *testing.T) {
	if len(Versions) != 2 || !strings.HasPrefix(Versions[0], "4.") || !strings.HasPrefix(Versions[1], "3.9.") {
		t.Errorf("Versions = %v, want a 4.x and a 3.9.x", Versions)
	}
}

func TestVersionsAreTheFirstFieldOfEachLine(t *testing.T) {
	got := parseVersions("# broker tools\n4.0.1 4.0.0\n\n  3.9.1\n")
	if want := []string{"4.0.1", "3.9.1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWhatIsMissingIsSaidWithTheWayToGetIt(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("KAFKA_UPSTREAM_CACHE", cache)
	dir := filepath.Join(cache, "kafka-4.4.0")
	const cure = "run `make kafka`"

	_, err := findInstall("4.4.0")
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.HasSuffix(err.Error(), cure) {
		t.Errorf("without jars: got %v, want an error that names %s and ends in %s", err, dir, cure)
	}
	for _, part := range []string{"broker", "tools"} {
		if err := os.MkdirAll(filepath.Join(dir, part), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, part, "some.jar"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("JAVA_HOME", filepath.Join(cache, "no-java"))
	_, err = findInstall("4.4.0")
	if err == nil || !strings.Contains(err.Error(), "no Java") || !strings.HasSuffix(err.Error(), cure) {
		t.Errorf("without Java: got %v, want an error about Java that ends in %s", err, cure)
	}
}

func TestCacheIsInTheUsersCacheUnlessToldOtherwise(t *testing.T) {
	t.Setenv("KAFKA_UPSTREAM_CACHE", "")
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "/h")
	if in, _ := findInstall("1"); in.dir != "/h/.cache/kafka-upstream/kafka-1" {
		t.Errorf("got %s", in.dir)
	}
	t.Setenv("XDG_CACHE_HOME", "/x")
	if in, _ := findInstall("1"); in.dir != "/x/kafka-upstream/kafka-1" {
		t.Errorf("with XDG_CACHE_HOME got %s", in.dir)
	}
	t.Setenv("KAFKA_UPSTREAM_CACHE", "/k")
	if in, _ := findInstall("1"); in.dir != "/k/kafka-1" {
		t.Errorf("with KAFKA_UPSTREAM_CACHE got %s", in.dir)
	}
}

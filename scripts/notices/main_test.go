package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

func TestNoticesAreThoseOfWhatIsLinked(t *testing.T) {
	want, err := notices(root)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, output))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is stale: run make notices", output)
	}
	for _, name := range []string{"Go's standard library", "github.com/segmentio/kafka-go", "github.com/prometheus/client_golang: NOTICE", "google.golang.org/protobuf"} {
		if !strings.Contains(string(want), "\n"+name) {
			t.Errorf("it lacks %s", name)
		}
	}
}

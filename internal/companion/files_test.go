package companion

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFilesAreWrittenWhereKongLooks(t *testing.T) {
	dir := t.TempDir()
	for _, release := range []string{"1.2.3", "1.2.4"} {
		paths, err := WriteFiles(dir, release)
		want := []string{filepath.Join(dir, "kong/plugins/kafka-upstream/handler.lua"), filepath.Join(dir, "kong/plugins/kafka-upstream/schema.lua")}
		if err != nil || !slices.Equal(paths, want) {
			t.Fatalf("%q, %v", paths, err)
		}
		for _, path := range paths {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(b, []byte("of release "+release)) || bytes.Contains(b, []byte("@RELEASE@")) {
				t.Errorf("%s is not of release %s", path, release)
			}
			if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
		}
	}
	if all, _ := os.ReadDir(filepath.Join(dir, pluginDir)); len(all) != 2 {
		t.Errorf("there are %v", all)
	}
}

func TestFilesOfOthersAreNotOverwritten(t *testing.T) {
	for _, name := range []string{"handler.lua", "schema.lua"} {
		dir := t.TempDir()
		path := filepath.Join(dir, pluginDir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("-- another plugin\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := WriteFiles(dir, "1.2.3"); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if all, _ := os.ReadDir(filepath.Dir(path)); len(all) != 1 {
			t.Errorf("there are %v", all)
		}
		if b, _ := os.ReadFile(path); string(b) != "-- another plugin\n" {
			t.Errorf("%s is %q", name, b)
		}
	}
}

func TestSocketIsBesideThatOfThePluginProtocol(t *testing.T) {
	for socket, want := range map[string]string{
		"/usr/local/kong/kafka-upstream.socket": "/usr/local/kong/kafka-upstream-companion.socket",
		"/run/ku":                               "/run/ku-companion.socket",
	} {
		if got := Path(socket); got != want {
			t.Errorf("%s: %s", socket, got)
		}
	}
}

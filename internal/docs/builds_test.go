package docs

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/version"
)

// Kong does not start with a plugin whose version is none, so the dump has the
// release whichever way the program was built, and the commit is only said.
func TestVersionIsTheReleaseHoweverTheProgramIsBuilt(t *testing.T) {
	tmp := t.TempDir()
	archive, clone, shallow := filepath.Join(tmp, "archive"), filepath.Join(tmp, "clone"), filepath.Join(tmp, "shallow")
	copySource(t, archive)
	copySource(t, clone)
	git := []string{"git", "-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false", "-c", "protocol.file.allow=always"}
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"commit", "-q", "-m", "one"}, {"commit", "-q", "--allow-empty", "-m", "two"}} {
		sh(t, clone, append(git, args...)...)
	}
	sh(t, tmp, append(git, "clone", "-q", "--depth", "1", "file://"+clone, shallow)...)
	head := strings.TrimSpace(sh(t, clone, "git", "rev-parse", "HEAD"))

	// All are built at one path, for Go compiles a package again where it is elsewhere.
	src, here := filepath.Join(tmp, "src"), ""
	move := func(tree string) {
		if here == tree {
			return
		}
		if here != "" {
			rename(t, src, here)
		}
		rename(t, tree, src)
		here = tree
	}

	const pkg = "./cmd/kafka-upstream"
	bin := filepath.Join(tmp, "bin")
	program := filepath.Join(bin, plugin.Name)
	install := []string{"make", "install", "PREFIX=" + tmp}
	for _, way := range []struct {
		name, tree, dir string
		before          func()
		build           []string
		commit          string
	}{
		{name: "go build", tree: clone, build: []string{"go", "build", "-o", program, pkg}, commit: head},
		{name: "go build without git", tree: clone, build: []string{"go", "build", "-buildvcs=false", "-o", program, pkg}, commit: "unknown"},
		{name: "make install, clone", tree: clone, build: install, commit: head},
		{name: "make install, archive in a clone of something else", tree: clone, dir: "cmd/archive", before: func() { copySource(t, src+"/cmd/archive") }, build: install, commit: "unknown"},
		{name: "go build, archive", tree: archive, build: []string{"go", "build", "-o", program, pkg}, commit: "unknown"},
		{name: "make install, archive", tree: archive, build: install, commit: "unknown"},
		{name: "make install, any commit", tree: archive, build: append(install, "COMMIT=not a version"), commit: "not a version"},
		{name: "make install, shallow clone", tree: shallow, build: install, commit: head},
		{name: "make install, dirty", tree: shallow, before: func() { change(t, src) }, build: install, commit: head + "-dirty"},
		{name: "go build, dirty", tree: shallow, build: []string{"go", "build", "-o", program, pkg}, commit: head + "-dirty"},
	} {
		t.Run(way.name, func(t *testing.T) {
			move(way.tree)
			if way.before != nil {
				way.before()
			}
			_ = os.RemoveAll(bin)
			sh(t, filepath.Join(src, way.dir), way.build...)
			checkVersion(t, sh(t, tmp, program, "-dump"))
			if said := sh(t, tmp, program, "-version"); !strings.HasPrefix(said, "kafka-upstream "+version.Number+" (commit "+way.commit+", go") {
				t.Errorf("it says of itself: %s", said)
			}
		})
	}
	t.Run("go run", func(t *testing.T) { checkVersion(t, sh(t, src, "go", "run", pkg, "-dump")) })
	for _, name := range []string{"LICENSE", "THIRD_PARTY_NOTICES"} {
		if _, err := os.Stat(filepath.Join(tmp, "share/doc/kafka-upstream", name)); err != nil {
			t.Errorf("make install: %v", err)
		}
	}
}

func checkVersion(t *testing.T, dump string) {
	t.Helper()
	var d struct{ Plugins []struct{ Version string } }
	if err := json.Unmarshal([]byte(dump), &d); err != nil || len(d.Plugins) != 1 || d.Plugins[0].Version != version.Number {
		t.Errorf("the dump has %+v, %v", d, err)
	}
}

func TestReleaseIsASemanticVersionAndHeadsTheChangelog(t *testing.T) {
	if !regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$`).MatchString(version.Number) {
		t.Errorf("%q is no x.y.z", version.Number)
	}
	head := regexp.MustCompile(`(?m)^## \[(\d\S*)\] - \d{4}-\d\d-\d\d$`).FindStringSubmatch(read(t, "CHANGELOG.md"))
	if head == nil || head[1] != version.Number {
		t.Errorf("the newest release in CHANGELOG.md is %q, the program is %s", head, version.Number)
	}
}

// sh runs a command to its end and returns what it has printed to stdout.
func sh(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	// The version is the same with cgo and paths, and what was compiled without is used again.
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=auto -trimpath")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out, errs.String())
	}
	return string(out)
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// copySource copies what an archive of the repository holds.
func copySource(t *testing.T, to string) {
	t.Helper()
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, file)
		switch {
		case name == ".git" || name == "bin" || name == ".cache":
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		case !d.Type().IsRegular() || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// change changes a file of a clone.
func change(t *testing.T, clone string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(clone, "CHANGELOG.md"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

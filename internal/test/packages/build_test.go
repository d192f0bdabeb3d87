//go:build packages

package packages

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/version"
)

// next is the release that packages are upgraded to.
const next = "99.0.0"

// dist has the packages of this release, upgrades those of the next one.
var dist, upgrades string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("/var/tmp", "ku-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	dist, upgrades = dir+"/dist", dir+"/upgrades"
	return rig.Main(m)
}

// command runs a command to its end and returns what it prints.
func command(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

func sh(t *testing.T, args ...string) string {
	t.Helper()
	return command(t, exec.Command(args[0], args[1:]...))
}

// build runs make packages in a tree.
func build(t *testing.T, tree, out string, env ...string) {
	t.Helper()
	cmd := exec.Command("make", "-s", "packages", "DIST="+out, "COMMIT=0123abc")
	cmd.Dir, cmd.Env = tree, append(os.Environ(), append(env, "SOURCE_DATE_EPOCH=1800000000")...)
	command(t, cmd)
}

// copyTree copies what git knows of the repository, as it is now.
func copyTree(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	const root = "../../.."
	for _, name := range strings.Split(strings.TrimRight(sh(t, "git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00"), "\x00") {
		info, err := os.Stat(filepath.Join(root, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, name))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, info.Mode().Perm())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func edit(t *testing.T, file, from, to string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(b, []byte(from)) {
		t.Fatalf("%s lacks %q: %v", file, from, err)
	}
	if err := os.WriteFile(file, bytes.Replace(b, []byte(from), []byte(to), 1), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The tests below need what this one builds.
func TestPackagesAreReproducible(t *testing.T) {
	build(t, "../../..", dist)
	tree, again := copyTree(t), t.TempDir()
	build(t, tree, again, "TZ=Asia/Tokyo", "TMPDIR="+t.TempDir(), "USER=someone", "HOSTNAME=elsewhere")
	sums, err := os.ReadFile(dist + "/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(sums, []byte("\n")); n != 8 {
		t.Errorf("%d files were built:\n%s", n, sums)
	}
	check := exec.Command("sha256sum", "-c", "--strict", dist+"/SHA256SUMS")
	check.Dir = again
	command(t, check)

	edit(t, tree+"/internal/version/version.go", `"`+version.Number+`"`, `"`+next+`"`)
	edit(t, tree+"/packaging/kafka-upstream.default", "# Settings of", "# These are settings of")
	build(t, tree, upgrades)
}

// files returns what a package holds, by path; directories end with a slash.
func files(t *testing.T, data io.Reader) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	for r := tar.NewReader(data); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Mode&0o7022 != 0 || h.ModTime.Unix() != 1800000000 {
			t.Errorf("%s: owner %d:%d, mode %o, time %v", h.Name, h.Uid, h.Gid, h.Mode, h.ModTime)
		}
		if all[strings.TrimPrefix(h.Name, ".")], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

var installed = []string{
	"/etc/default/kafka-upstream",
	"/usr/bin/kafka-upstream",
	"/usr/lib/systemd/system/kafka-upstream.service",
	"/usr/local/share/lua/5.1/kong/plugins/kafka-upstream/handler.lua",
	"/usr/local/share/lua/5.1/kong/plugins/kafka-upstream/schema.lua",
	"/usr/share/doc/kafka-upstream/CHANGELOG.md.gz",
	"/usr/share/doc/kafka-upstream/LICENSE",
	"/usr/share/doc/kafka-upstream/THIRD_PARTY_NOTICES",
	"/usr/share/doc/kafka-upstream/copyright",
	"/usr/share/doc/kafka-upstream/kafka-upstream.spdx.json",
	"/usr/share/man/man8/kafka-upstream.8.gz",
}

func TestPackagesHoldTheProgramOfTheirArchitecture(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		rpmArch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch]
		deb := dist + "/kafka-upstream_" + version.Number + "-1_" + arch + ".deb"
		rpm := dist + "/kafka-upstream-" + version.Number + "-1." + rpmArch + ".rpm"
		if got := sh(t, "dpkg-deb", "--show", "--showformat", "${Package} ${Version} ${Architecture}", deb); got != "kafka-upstream "+version.Number+"-1 "+arch {
			t.Errorf("the .deb is %s", got)
		}
		if got := sh(t, "rpm", "-qp", "--qf", "%{NAME} %{VERSION}-%{RELEASE} %{ARCH} %{LICENSE}", rpm); got != "kafka-upstream "+version.Number+"-1 "+rpmArch+" Apache-2.0" {
			t.Errorf("the .rpm is %s", got)
		}
		if got := sh(t, "rpm", "-K", rpm); !strings.Contains(got, "digests OK") {
			t.Errorf("rpm -K: %s", got)
		}
		if got := strings.TrimSpace(sh(t, "rpm", "-qp", "--configfiles", rpm)); got != "/etc/default/kafka-upstream" {
			t.Errorf("the configuration of the .rpm is %s", got)
		}
		data, err := exec.Command("dpkg-deb", "--fsys-tarfile", deb).Output()
		if err != nil {
			t.Fatal(err)
		}
		ofDeb := files(t, bytes.NewReader(data))
		ofRPM := strings.Fields(sh(t, "rpm", "-qlp", rpm))
		for _, path := range installed {
			if len(ofDeb[path]) == 0 || !slices.Contains(ofRPM, path) {
				t.Errorf("%s is missing in the .deb or the .rpm of %s", path, arch)
			}
		}
		name := "kafka-upstream-" + version.Number + "-linux-" + arch
		f, err := os.Open(dist + "/" + name + ".tar.gz")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		ofArchive := files(t, z)
		program := ofDeb["/usr/bin/kafka-upstream"]
		if !bytes.Equal(program, ofArchive[name+"/kafka-upstream"]) {
			t.Error("the .deb and the archive hold different programs")
		}
		e, err := elf.NewFile(bytes.NewReader(program))
		if err != nil || e.Machine != machine {
			t.Fatalf("the program of %s is for %v: %v", arch, e.Machine, err)
		}
		if libs, err := e.ImportedLibraries(); err != nil || len(libs) > 0 {
			t.Errorf("the program needs %v, %v", libs, err)
		}
		var bill struct {
			Packages []struct{ Name, VersionInfo string }
		}
		sbom, err := os.ReadFile(dist + "/" + name + ".spdx.json")
		if err == nil {
			err = json.Unmarshal(sbom, &bill)
		}
		if err != nil || len(bill.Packages) < 10 || bill.Packages[0].VersionInfo != version.Number {
			t.Errorf("the bill of %s: %v, %+v", arch, err, bill)
		}
		if !bytes.Equal(sbom, ofDeb["/usr/share/doc/kafka-upstream/kafka-upstream.spdx.json"]) || !bytes.Equal(sbom, ofArchive[name+"/kafka-upstream.spdx.json"]) {
			t.Error("the bills differ")
		}
	}
}

//go:build packages

package packages

import (
	"bytes"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/version"
)

// systemctl plays systemd: it starts and stops the service as its unit says.
//
//go:embed systemctl.sh
var systemctl []byte

// debian is a chroot with a minimal Debian of this machine's release, a user kong and a
// stand-in for systemd.
type debian struct {
	t    *testing.T
	root string
}

func newDebian(t *testing.T) *debian {
	t.Helper()
	base := os.Getenv("KAFKA_UPSTREAM_DEBIAN") // what scripts/debian.sh has made
	if base == "" || os.Geteuid() != 0 {
		t.Fatal("run make test-packages, as root: the tests need a chroot")
	}
	root, err := os.MkdirTemp("/var/tmp", "ku-") // short: the path of the socket is below it
	if err != nil {
		t.Fatal(err)
	}
	d := &debian{t, root}
	t.Cleanup(func() {
		_ = exec.Command("chroot", root, "systemctl", "stop", "kafka-upstream").Run()
		_ = exec.Command("umount", "-l", root+"/proc").Run()
		_ = exec.Command("rm", "-rf", "--one-file-system", root).Run()
	})
	sh(t, "cp", "-a", base+"/.", root)
	sh(t, "mount", "-t", "proc", "proc", root+"/proc")
	d.write("/usr/bin/systemctl", systemctl, 0o755)
	d.in("mkdir", "-p", "/run/systemd/system", "/packages")
	d.in("useradd", "--user-group", "--no-create-home", "--shell", "/bin/sh", "kong")
	return d
}

// in runs a command in the chroot.
func (d *debian) in(args ...string) string {
	d.t.Helper()
	cmd := exec.Command("chroot", append([]string{d.root}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"}
	return command(d.t, cmd)
}

func (d *debian) write(path string, b []byte, mode os.FileMode) {
	d.t.Helper()
	if err := os.WriteFile(d.root+path, b, mode); err != nil {
		d.t.Fatal(err)
	}
}

func (d *debian) read(path string) string {
	b, err := os.ReadFile(d.root + path)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (d *debian) has(path string) bool {
	_, err := os.Lstat(d.root + path)
	return err == nil
}

// manager is a package manager: how it installs or upgrades a package, and removes it.
type manager struct {
	name            string
	file            func(dir, release string) string
	install, remove func(d *debian, file string)
}

func managers(arch string) []manager {
	rpmArch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch]
	return []manager{
		{
			"dpkg", func(dir, release string) string { return dir + "/kafka-upstream_" + release + "-1_" + arch + ".deb" },
			func(d *debian, file string) {
				sh(d.t, "cp", file, d.root+"/packages/")
				d.in("dpkg", "--force-confold", "-i", "/packages/"+filepath.Base(file))
			},
			func(d *debian, _ string) { d.in("dpkg", "-r", "kafka-upstream") },
		},
		{
			// Debian's rpm knows nothing of Debian's packages, such as the one with /bin/sh.
			"rpm", func(dir, release string) string { return dir + "/kafka-upstream-" + release + "-1." + rpmArch + ".rpm" },
			func(d *debian, file string) {
				sh(d.t, "rpm", "--root", d.root, "--force-debian", "--nodeps", "-U", file)
			},
			func(d *debian, _ string) { sh(d.t, "rpm", "--root", d.root, "--force-debian", "-e", "kafka-upstream") },
		},
	}
}

const (
	socket   = "/run/kafka-upstream/kafka-upstream.socket"
	flags    = "/etc/default/kafka-upstream"
	settings = "KAFKA_UPSTREAM_FLAGS=\"-log-level debug -drain-timeout 20s\"\n"
)

func TestPackagesAreInstalledUpgradedAndRemoved(t *testing.T) {
	arch := strings.TrimSpace(sh(t, "dpkg", "--print-architecture"))
	for _, m := range managers(arch) {
		t.Run(m.name, func(t *testing.T) {
			d := newDebian(t)
			m.install(d, m.file(dist, version.Number))
			for _, path := range installed {
				if !d.has(path) && !strings.HasPrefix(path, "/usr/share/") { // which a minimal Debian may leave out
					t.Errorf("%s is missing", path)
				}
			}
			if said := d.in("kafka-upstream", "-version"); !strings.HasPrefix(said, "kafka-upstream "+version.Number+" (commit 0123abc, ") {
				t.Errorf("it says of itself: %s", said)
			}
			d.in("kafka-upstream", "-socket", socket, "-dump")
			if d.has(socket) {
				t.Error("the installation has started the service")
			}

			// Its flags are changed, and it gets records that wait in its buffer.
			d.write(flags, []byte(settings), 0o644)
			f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
			sent := 0
			send := func() {
				t.Helper()
				p := rig.NewPlugin(rig.Settings(t, f.Addrs(), map[string]any{"producer_async_flush_timeout": 3600000}))
				if n := rig.SendN(t, rig.NewWorker(t, d.root+socket), p, 7); n != 7 {
					t.Fatalf("%d of 7 were accepted", n)
				}
				sent += 7
			}
			serving := func(release string) {
				t.Helper()
				rig.Eventually(t, "the service serves", func() bool {
					return strings.Contains(d.read("/service.log"), "msg=serving socket="+socket) && strings.Contains(d.read("/service.log"), "version="+release)
				})
			}
			drained := func() {
				t.Helper()
				if n := len(f.Records(t, "t", sent)); n != sent {
					t.Errorf("%d of %d records were delivered", n, sent)
				}
				if log := d.read("/stopped.log"); !strings.Contains(log, "undelivered=0") || strings.Contains(log, "level=ERROR") {
					t.Errorf("the service ended with:\n%s", log)
				}
			}
			d.in("systemctl", "enable", "--now", "kafka-upstream")
			serving(version.Number)
			send()

			m.install(d, m.file(upgrades, next))
			drained()
			serving(next)
			if got := d.read(flags); got != settings {
				t.Errorf("the flags became %q", got)
			}
			pid := strings.TrimSpace(d.read("/run/service.pid"))
			if args, err := os.ReadFile("/proc/" + pid + "/cmdline"); err != nil || !bytes.Contains(args, []byte("-drain-timeout\x0020s")) {
				t.Errorf("the flags are not used: %q, %v", args, err)
			}
			if handler := d.read("/usr/local/share/lua/5.1/kong/plugins/kafka-upstream/handler.lua"); !strings.Contains(handler, next) {
				t.Error("the companion handler is of the earlier release")
			}
			send()

			m.remove(d, "")
			drained()
			for _, path := range installed[1:] {
				if d.has(path) {
					t.Errorf("%s is still there", path)
				}
			}
			calls := d.read("/systemctl.log")
			for _, want := range []string{"try-restart kafka-upstream.service\n", "--no-reload disable --now kafka-upstream.service\n", "daemon-reload\n"} {
				if !strings.Contains(calls, want) {
					t.Errorf("systemctl was not called with %q:\n%s", want, calls)
				}
			}
			if m.name != "dpkg" {
				return
			}
			if got := d.read(flags); got != settings {
				t.Errorf("the removal left %q of the flags", got)
			}
			d.in("dpkg", "-P", "kafka-upstream")
			if d.has(flags) {
				t.Error("the flags are still there after the purge")
			}
		})
	}
}

// A directory in which each entry is a service that is not started, as in a container.
func TestPackagesNeedNoSystemd(t *testing.T) {
	arch := strings.TrimSpace(sh(t, "dpkg", "--print-architecture"))
	for _, m := range managers(arch) {
		t.Run(m.name, func(t *testing.T) {
			d := newDebian(t)
			d.in("rm", "-r", "/run/systemd", "/usr/bin/systemctl")
			m.install(d, m.file(dist, version.Number))
			m.install(d, m.file(upgrades, next))
			m.remove(d, "")
		})
	}
}

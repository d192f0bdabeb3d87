//go:build packages

package packages

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/version"
)

// debian is a minimal Debian of this machine's release, with a user kong.
type debian struct {
	t      *testing.T
	root   string
	leader string // the process id of its systemd, empty if none runs
}

func newDebian(t *testing.T) *debian {
	t.Helper()
	base := os.Getenv("KAFKA_UPSTREAM_DEBIAN") // what scripts/debian.sh has made
	if base == "" || os.Geteuid() != 0 {
		t.Fatal("run make test-packages, as root: the tests need a chroot")
	}
	root, err := os.MkdirTemp("/var/tmp", "ku-")
	if err != nil {
		t.Fatal(err)
	}
	d := &debian{t: t, root: root}
	t.Cleanup(func() { _ = exec.Command("rm", "-rf", "--one-file-system", root).Run() })
	sh(t, "cp", "-a", base+"/.", root)
	d.in("mkdir", "/packages")
	d.in("useradd", "--user-group", "--no-create-home", "--shell", "/bin/sh", "kong")
	return d
}

// boot runs its systemd, in a container with this machine's network.
func (d *debian) boot() {
	t := d.t
	t.Helper()
	nspawn := exec.Command("systemd-nspawn", "--directory", d.root, "--boot", "--register=no", "--keep-unit", "--console=pipe")
	var console rig.Lines
	nspawn.Stdout, nspawn.Stderr = &console, &console
	nspawn.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := nspawn.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = nspawn.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = nspawn.Process.Signal(syscall.SIGTERM) // which has it shut down
		select {
		case <-ended:
		case <-time.After(time.Minute):
			_ = nspawn.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("the console of systemd:\n%s", console.String())
		}
	})
	rig.Eventually(t, "systemd runs", func() bool {
		children, _ := exec.Command("pgrep", "--parent", strconv.Itoa(nspawn.Process.Pid), "--exact", "systemd").Output()
		d.leader = strings.TrimSpace(string(children))
		return d.leader != "" && d.has("/run/systemd/private")
	})
	// It is "degraded" where this machine lacks something that is not needed here.
	_ = d.command("systemctl", "is-system-running", "--wait").Run()
}

func (d *debian) command(args ...string) *exec.Cmd {
	enter := []string{"chroot", d.root}
	if d.leader != "" {
		enter = []string{"nsenter", "--target", d.leader, "--mount", "--uts", "--ipc", "--pid", "--root", "--wd"}
	}
	args = append(enter, args...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"}
	return cmd
}

// in runs a command in it.
func (d *debian) in(args ...string) string {
	d.t.Helper()
	return command(d.t, d.command(args...))
}

// at is where this machine finds a path of it.
func (d *debian) at(path string) string {
	if d.leader != "" {
		return "/proc/" + d.leader + "/root" + path
	}
	return d.root + path
}

func (d *debian) write(path string, b []byte) {
	d.t.Helper()
	if err := os.WriteFile(d.at(path), b, 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d *debian) read(path string) string {
	d.t.Helper()
	b, err := os.ReadFile(d.at(path))
	if err != nil {
		d.t.Error(err)
	}
	return string(b)
}

func (d *debian) has(path string) bool {
	_, err := os.Lstat(d.at(path))
	return !errors.Is(err, os.ErrNotExist)
}

func (d *debian) journal() string {
	d.t.Helper()
	return d.in("journalctl", "--unit", "kafka-upstream", "--no-pager", "--output", "cat")
}

// manager is a package manager: how it installs or upgrades a package, and removes it.
type manager struct {
	name    string
	file    func(dir, release string) string
	install func(d *debian, file string)
	remove  func(d *debian)
}

func managers(arch string) []manager {
	rpmArch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch]
	carry := func(d *debian, file string) (to string) {
		to = "/packages/" + filepath.Base(file)
		sh(d.t, "cp", file, d.at(to))
		return to
	}
	return []manager{
		{
			"dpkg", func(dir, release string) string { return dir + "/kafka-upstream_" + release + "-1_" + arch + ".deb" },
			func(d *debian, file string) { d.in("dpkg", "--force-confold", "-i", carry(d, file)) },
			func(d *debian) { d.in("dpkg", "-r", "kafka-upstream") },
		},
		{
			// Debian's rpm knows nothing of Debian's packages, such as the one with /bin/sh.
			"rpm", func(dir, release string) string { return dir + "/kafka-upstream-" + release + "-1." + rpmArch + ".rpm" },
			func(d *debian, file string) { d.in("rpm", "--force-debian", "--nodeps", "-U", carry(d, file)) },
			func(d *debian) { d.in("rpm", "--force-debian", "-e", "kafka-upstream") },
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
			d.boot()
			m.install(d, m.file(dist, version.Number))
			for _, path := range installed {
				if !d.has(path) {
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
			d.write(flags, []byte(settings))
			f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
			sent, ends := 0, 0
			send := func() {
				t.Helper()
				p := rig.NewPlugin(rig.Settings(t, f.Addrs(), map[string]any{"producer_async_flush_timeout": 3600000}))
				if n := rig.SendN(t, rig.NewWorker(t, d.at(socket)), p, 7); n != 7 {
					t.Fatalf("%d of 7 were accepted", n)
				}
				sent += 7
			}
			serving := func(release string) {
				t.Helper()
				rig.Eventually(t, release+" serves", func() bool {
					for line := range strings.Lines(d.journal()) {
						if strings.Contains(line, "msg=serving socket="+socket) && strings.Contains(line, " version="+release+" ") {
							return true
						}
					}
					return false
				})
			}
			drained := func() {
				t.Helper()
				ends++
				if n := len(f.Records(t, "t", sent)); n != sent {
					t.Errorf("%d of %d records were delivered", n, sent)
				}
				if log := d.journal(); strings.Count(log, "msg=ended accepted=7 delivered=7 failed=0 undelivered=0") != ends || strings.Contains(log, "level=ERROR") {
					t.Errorf("it has not ended %d times in order:\n%s", ends, log)
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
			pid := strings.TrimSpace(d.in("systemctl", "show", "--property", "MainPID", "--value", "kafka-upstream"))
			if args := d.in("cat", "/proc/"+pid+"/cmdline"); !strings.Contains(args, "-drain-timeout\x0020s") {
				t.Errorf("the flags are not used: %q", args)
			}
			if user := strings.TrimSpace(d.in("stat", "--format", "%U %a", socket)); user != "kong 660" {
				t.Errorf("the socket is for %s", user)
			}
			if handler := d.read("/usr/local/share/lua/5.1/kong/plugins/kafka-upstream/handler.lua"); !strings.Contains(handler, next) {
				t.Error("the companion handler is of the earlier release")
			}
			send()

			m.remove(d)
			drained()
			for _, path := range append(installed[1:len(installed):len(installed)], socket) {
				if d.has(path) {
					t.Errorf("%s is still there", path)
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

// In a container no systemd runs, although it may be installed.
func TestPackagesNeedNoSystemd(t *testing.T) {
	arch := strings.TrimSpace(sh(t, "dpkg", "--print-architecture"))
	for _, m := range managers(arch) {
		t.Run(m.name, func(t *testing.T) {
			d := newDebian(t)
			m.install(d, m.file(dist, version.Number))
			m.install(d, m.file(upgrades, next))
			if said := d.in("kafka-upstream", "-version"); !strings.Contains(said, next) {
				t.Errorf("it says of itself: %s", said)
			}
			m.remove(d)
		})
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongsim"
)

// shared is a directory that every user may enter, with a copy of the program that
// every user may execute.
func shared(t *testing.T) (dir, program string) {
	t.Helper()
	dir = rig.ShortDir(t)
	program = dir + "/kafka-upstream"
	b, err := os.ReadFile(rig.Binary)
	if err == nil {
		err = os.WriteFile(program, b, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, program
}

// dump runs the program's -dump, and returns the sentence that it prints in place of
// a plugin, "" for a plugin.
func dump(t *testing.T, program string, args ...string) (sentence string) {
	t.Helper()
	cmd := exec.Command(program, append(args, "-dump")...)
	cmd.Env = rig.Env()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var v any
	if json.Unmarshal(out.Bytes(), &v) != nil {
		t.Fatalf("%q: no JSON: %q", args, out.String())
	}
	sentence, ok := v.(string)
	if ok != (err != nil) || !strings.Contains(errs.String(), sentence) || strings.Contains(sentence, "\n") {
		t.Errorf("%q: %v, stdout %s, stderr %s", args, err, out.String(), errs.String())
	}
	return sentence
}

// Kong prints what a dump has in place of a plugin, and does not start. At its
// default log level that is all that an operator ever sees of a server that cannot.
func TestDumpFailsForWhatWouldEndTheServerEachTime(t *testing.T) {
	dir, program := shared(t)
	if err := os.WriteFile(dir+"/file", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"flag provided but not defined: -nonsense", []string{"-nonsense"}},
		{"cannot be negative", []string{"-drain-timeout", "-1s"}},
		{"use text or json", []string{"-log-format", "xml"}},
		{"unexpected argument", []string{"serve"}},
		{"cannot have more than 107", []string{"-socket", dir + "/" + strings.Repeat("x", 107)}},
		{"is not a socket", []string{"-socket", dir}},
		{"is not a socket", []string{"-socket", dir + "/file"}},
		{"not a directory", []string{"-socket", dir + "/file/s"}},
		{"not a directory", []string{"-kong-prefix", dir + "/file"}},
		{"none.pem", []string{"-kong-prefix", dir, "-ca-file", dir + "/none.pem"}},
		{"holds no PEM certificate", []string{"-kong-prefix", dir, "-ca-file", dir + "/file"}},
		{"-metrics cannot be served", []string{"-kong-prefix", dir, "-metrics", "9542"}},
		{"-metrics cannot be served", []string{"-kong-prefix", dir, "-metrics", "127.0.0.1:70000"}},
		{"-pprof cannot be served", []string{"-kong-prefix", dir, "-pprof", "localhost"}},
	} {
		if got := dump(t, program, c.args...); !strings.Contains(got, c.want) {
			t.Errorf("%q: %q, want %q", c.args, got, c.want)
		}
		_, err := kongsim.Start(t.Context(), kongsim.Options{Binary: program, Args: c.args})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: Kong says %v", c.args, err)
		}
	}
}

// Kong makes its prefix, its predecessor frees a port, and a log file is no
// condition.
func TestDumpDoesNotFailForWhatMayBeMendedBeforeTheServerStarts(t *testing.T) {
	dir, program := shared(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := rig.Start(t) // whose socket is there
	for _, args := range [][]string{
		{"-kong-prefix", dir + "/none"},
		{"-kong-prefix", dir, "-metrics", l.Addr().String(), "-pprof", l.Addr().String()},
		{"-kong-prefix", dir, "-log-file", dir + "/none/log"},
		{"-socket", s.Socket},
	} {
		if got := dump(t, program, args...); got != "" {
			t.Errorf("%q: %q", args, got)
		}
	}
}

// forbid makes a prefix into which Kong's workers may not write: root's, if this
// test is root's, where Kong has written as whom they run.
func forbid(t *testing.T, dir, user string) (prefix string) {
	t.Helper()
	prefix = filepath.Join(dir, "prefix")
	if err := os.Mkdir(prefix, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(prefix+"/nginx.conf", fmt.Appendf(nil, "pid pids/nginx.pid;\nuser %s;\n", user), 0o644); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		if err := os.Chmod(prefix, 0o555); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(prefix, 0o755) })
	}
	return prefix
}

func TestDumpFailsWhereTheServerCannotMakeItsSocket(t *testing.T) {
	dir, program := shared(t)
	prefix := forbid(t, dir, "nobody")
	got := dump(t, program, "-kong-prefix", prefix)
	if !strings.Contains(got, "cannot make its socket in "+prefix+" (permission denied)") {
		t.Errorf("got %q", got)
	}
	if os.Geteuid() != 0 {
		return
	}
	// As root it is about whom Kong's workers run as, and what these may.
	if !strings.Contains(got, "as user nobody") {
		t.Errorf("it is about another user: %q", got)
	}
	if err := os.Chmod(prefix, 0o777); err != nil {
		t.Fatal(err)
	}
	if got := dump(t, program, "-kong-prefix", prefix); got != "" {
		t.Errorf("where they may write: %q", got)
	}
	// A supervisor's server runs as whom it likes.
	if err := os.Chmod(prefix, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", prefix+"/kafka-upstream.socket") // root's
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-kong-prefix", prefix}, {"-kong-prefix", prefix, "-socket", dir + "/s"}} {
		if got := dump(t, program, args...); got != "" {
			t.Errorf("%q: with a supervisor's server: %q", args, got)
		}
	}
	_ = l.Close()
	if err := os.Chmod(prefix, 0o777); err != nil {
		t.Fatal(err)
	}
	ca := dir + "/ca.pem"
	if err := os.WriteFile(ca, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := dump(t, program, "-kong-prefix", prefix, "-ca-file", ca); !strings.Contains(got, "cannot be read: permission denied") {
		t.Errorf("with a file that only root may read: %q", got)
	}
	if err := os.Chmod(program, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := dump(t, program, "-kong-prefix", prefix); !strings.Contains(got, "user nobody, as whom Kong's workers run, may not execute "+program) {
		t.Errorf("with a program that only root may execute: %q", got)
	}
	for _, user := range []string{"root", "no-such-user-here", "nobody no-such-group-here"} {
		if err := os.WriteFile(prefix+"/nginx.conf", []byte("user "+user+";"), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := dump(t, program, "-kong-prefix", prefix); got != "" {
			t.Errorf("as %s: %q", user, got)
		}
	}
}

// A port that another process has keeps nothing from being served.
func TestPortsThatAreTakenKeepNothingFromBeingServed(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	metrics, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer metrics.Close()
	profiles, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer profiles.Close()
	for _, args := range [][]string{
		{"-metrics", metrics.Addr().String(), "-pprof", profiles.Addr().String()},
		{"-metrics", "192.0.2.1:9542", "-pprof", "192.0.2.1:6060"}, // not this machine's
	} {
		s := rig.Start(t, args...)
		w := s.Worker()
		if n := rig.SendN(t, w, rig.NewPlugin(rig.Settings(t, f.Addrs(), nil)), 1); n != 1 {
			t.Errorf("%q: it does not serve", args)
		}
		rig.Eventually(t, "both are told", func() bool {
			return strings.Contains(s.Log.String(), args[1]) && strings.Contains(s.Log.String(), args[3])
		})
		if args[3] != profiles.Addr().String() {
			continue
		}
		_ = profiles.Close()
		rig.Eventually(t, "the profiles are served once their port is free", func() bool { return strings.Contains(s.Log.String(), "serving profiles") })
	}
}

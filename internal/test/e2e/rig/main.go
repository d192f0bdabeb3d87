package rig

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"kafka-upstream/internal/test/apicurio"
	"kafka-upstream/internal/test/kafkatest"
)

// Binary is the path of the program, which [Main] builds: with the tag "faults", with the
// race detector if the tests have it, and for coverage if GOCOVERDIR is set.
var Binary string

// Main runs the tests of a package that run the program. It returns the exit code: not 0
// also where a secret was printed or a goroutine is left.
func Main(m *testing.M) int {
	if signal.Ignored(syscall.SIGHUP) { // under nohup: the program would inherit that
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	dir, err := os.MkdirTemp("", "kafka-upstream-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	Binary = filepath.Join(dir, "kafka-upstream")
	if err := build(Binary); err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n", err)
		return 1
	}
	code := m.Run()
	kafkatest.StopShared()
	apicurio.StopShared()
	for _, leak := range Leaks(printed.all()) {
		fmt.Fprintln(os.Stderr, leak)
		code = 1
	}
	http.DefaultClient.CloseIdleConnections()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

func build(path string) error {
	args := []string{"build", "-tags", "faults", "-o", path}
	env := os.Environ()
	if Race {
		args = append(args, "-race")
	} else { // the race detector needs cgo; what is shipped is built so
		args, env = append(args, "-trimpath"), append(env, "CGO_ENABLED=0")
	}
	if os.Getenv("GOCOVERDIR") != "" {
		args = append(args, "-cover", "-coverpkg", "kafka-upstream/...")
	}
	cmd := exec.Command("go", append(args, "kafka-upstream/cmd/kafka-upstream")...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// Env returns the environment that the program gets: that of Kong's plugin servers, which
// is empty, and more; and GOCOVERDIR and GORACE if they are set.
func Env(more ...string) []string {
	env := append([]string{}, more...) // not nil, which would be this process's
	for _, name := range []string{"GOCOVERDIR", "GORACE"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

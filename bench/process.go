//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// candidate is a plugin server that is measured.
type candidate struct {
	// Name is what tables call it.
	Name string
	// Path is its program.
	Path string
	// PDK says that it is built on go-pdk's server, which has other flags.
	PDK bool
	// Silent says that it sends no records.
	Silent bool
	// Args are further flags.
	Args []string
}

// self is how this program runs its parts in processes of their own.
func self(ctx context.Context, args ...string) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, exe, args...), nil
}

// brokerProcess is a running broker.
type brokerProcess struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr bytes.Buffer // complete when it has ended
	ended  chan struct{}
	// Host and Port are its address.
	Host string
	Port int
}

// startBroker starts a broker; stop ends it.
func startBroker(ctx context.Context, args ...string) (*brokerProcess, error) {
	b := &brokerProcess{ended: make(chan struct{})}
	var err error
	if b.cmd, err = self(ctx, append([]string{"broker"}, args...)...); err != nil {
		return nil, err
	}
	b.cmd.Stderr = &b.stderr
	if b.stdin, err = b.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	b.stdout = bufio.NewReader(out)
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the broker: %w", err)
	}
	go func() {
		_ = b.cmd.Wait()
		close(b.ended)
	}()
	line, err := b.stdout.ReadString('\n')
	if err == nil {
		var port string
		if b.Host, port, err = net.SplitHostPort(strings.TrimSpace(line)); err == nil {
			b.Port, err = strconv.Atoi(port)
		}
	}
	if err != nil {
		b.stop()
		return nil, fmt.Errorf("the broker does not say its address: %w%s", err, b.fate())
	}
	return b, nil
}

// counted returns what has arrived at the broker.
func (b *brokerProcess) counted() (counted, error) { return b.tell("count") }

// come makes a broker come that was started away.
func (b *brokerProcess) come() error {
	_, err := b.tell("come")
	return err
}

func (b *brokerProcess) tell(line string) (c counted, err error) {
	if _, err = io.WriteString(b.stdin, line+"\n"); err == nil {
		var line []byte
		if line, err = b.stdout.ReadBytes('\n'); err == nil {
			err = json.Unmarshal(line, &c)
		}
	}
	if err != nil {
		return c, fmt.Errorf("telling the broker to %s: %w%s", line, err, b.fate())
	}
	return c, nil
}

// fate says how the broker has ended, nothing if it has not.
func (b *brokerProcess) fate() string {
	select {
	case <-b.ended:
		return fmt.Sprintf("; the broker has ended (%v): %s", b.cmd.ProcessState, b.stderr.String())
	case <-time.After(100 * time.Millisecond):
		return ""
	}
}

func (b *brokerProcess) stop() {
	_ = b.stdin.Close()
	<-b.ended
}

// generate runs the load generator.
func generate(ctx context.Context, j job) (*outcome, error) {
	in, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	cmd, err := self(ctx, "load")
	if err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &stdout, &stderr
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1")
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("load generator: %s", strings.TrimSpace(stderr.String()+" "+err.Error()))
	}
	o := new(outcome)
	if err := json.Unmarshal(stdout.Bytes(), o); err != nil {
		return nil, fmt.Errorf("load generator: %w", err)
	}
	return o, nil
}

// plugin is a candidate that runs.
type plugin struct {
	candidate
	cmd    *exec.Cmd
	socket string
	dir    string
	ended  chan struct{}
}

// startPlugin starts a candidate and waits until it serves. Its standard input
// is the null device, so that kafka-upstream serves in the process that was
// started, and what it prints goes into a file: that costs it least.
func startPlugin(ctx context.Context, c candidate, more ...string) (*plugin, error) {
	dir, err := os.MkdirTemp("", "ku-") // short: a socket's path is
	if err != nil {
		return nil, err
	}
	p := &plugin{candidate: c, dir: dir, ended: make(chan struct{})}
	args := []string{"-kong-prefix", dir, "-pprof", "127.0.0.1:0"}
	p.socket = filepath.Join(dir, "kafka-upstream.socket")
	if c.PDK {
		p.socket = filepath.Join(dir, filepath.Base(c.Path)+".socket")
	}
	log, err := os.Create(p.log())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.CommandContext(ctx, c.Path, slices.Concat(args, c.Args, more)...)
	p.cmd.Env = []string{} // as under Kong
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("starting %s: %w", c.Name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	if err := poll(10*time.Second, func() bool { return p.over() || p.serves() }); err != nil || p.over() {
		err = fmt.Errorf("%s does not serve; it printed: %s", c.Name, p.printed())
		p.kill()
		return nil, err
	}
	return p, nil
}

func (p *plugin) pid() int { return p.cmd.Process.Pid }

func (p *plugin) log() string { return filepath.Join(p.dir, "log") }

// printed is the end of what it has printed.
func (p *plugin) printed() string {
	b, err := os.ReadFile(p.log())
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(b[max(0, len(b)-1000):]))
}

func (p *plugin) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *plugin) serves() bool {
	c, err := net.Dial("unix", p.socket)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// stop tells it to end, as Kong does, and waits until it has delivered what it
// holds. It is an error if kafka-upstream says that it could not.
func (p *plugin) stop() error {
	defer p.kill()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		return fmt.Errorf("%s has not ended 30 s after SIGTERM", p.Name)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 && !p.Silent {
		return fmt.Errorf("%s has ended with exit code %d: %s", p.Name, code, p.printed())
	}
	return nil
}

// kill ends it at once and removes its files.
func (p *plugin) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
	_ = os.RemoveAll(p.dir)
}

var (
	servingLine = regexp.MustCompile(`serving profiles"? address=(\S+)`)
	mallocsLine = regexp.MustCompile(`# Mallocs = (\d+)`)
)

// profileAddress is where the plugin serves profiles.
func (p *plugin) profileAddress() (string, error) {
	var m [][]byte
	_ = poll(5*time.Second, func() bool {
		b, err := os.ReadFile(p.log())
		m = servingLine.FindSubmatch(b)
		return err != nil || m != nil
	})
	if m == nil {
		return "", errors.New("the plugin does not say where it serves profiles")
	}
	return string(m[1]), nil
}

// mallocs returns how many heap objects the plugin has allocated so far.
func (p *plugin) mallocs() (int64, error) {
	address, err := p.profileAddress()
	if err != nil {
		return 0, err
	}
	page, err := fetch("http://"+address+"/debug/pprof/heap?debug=1", 0)
	if err != nil {
		return 0, err
	}
	m := mallocsLine.FindSubmatch(page)
	if m == nil {
		return 0, errors.New("the page with the heap profile has no Mallocs")
	}
	return strconv.ParseInt(string(m[1]), 10, 64)
}

// poll waits until cond holds.
func poll(timeout time.Duration, cond func() bool) error {
	for deadline := time.Now().Add(timeout); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v", timeout)
		}
	}
	return nil
}

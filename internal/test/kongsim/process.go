package kongsim

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// respawnPause is how often Kong starts a plugin server again, at most.
const respawnPause = time.Second

// program is a plugin server's binary and how Kong starts it.
type program struct {
	binary string
	args   []string
	dir    string // working directory
	name   string // of the plugin, for the log
	line   func(pid int, line string)
	log    func(level, message string)
}

func (p *program) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.binary, args...)
	cmd.Dir = p.dir
	cmd.Env = []string{"PWD=" + p.dir} // nginx leaves nothing else
	// For a program that is built for coverage, or with the race detector.
	for _, name := range []string{"GOCOVERDIR", "GORACE"} {
		if v := os.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	return cmd
}

// query runs query_cmd. Kong takes what it prints, and no notice of its exit
// status; what it prints to stderr is on the terminal of "kong start" at best.
func (p *program) query(ctx context.Context) (*dump, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := p.command(ctx, append([]string{"-dump"}, p.args...)...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if len(bytes.TrimSpace(out)) == 0 {
		return nil, fmt.Errorf("failed loading external plugins: failed decoding plugin info: %s -dump printed nothing (%s)%s", p.binary, exitText(err), tail(errOut.String()))
	}
	return parseDump(p.binary+" -dump", out)
}

func tail(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return ": " + last
	}
	return ""
}

// process is a plugin server that is started again whenever it ends.
type process struct {
	program  *program
	respawns func()
	stopping chan struct{}
	ended    chan struct{}  // closed when it will not run again
	outputs  sync.WaitGroup // one per process that was started, until nobody can print any more

	mu      sync.Mutex
	cmd     *exec.Cmd
	lastErr error
	last    string // the last line it printed
}

// spawn starts the program, and again whenever it ends, at most once a second.
func (p *program) spawn(respawned func()) (*process, error) {
	s := &process{program: p, respawns: respawned, stopping: make(chan struct{}), ended: make(chan struct{})}
	wait, err := s.start()
	if err != nil {
		return nil, err
	}
	go s.run(wait)
	return s, nil
}

func (s *process) start() (wait func() error, err error) {
	cmd := s.program.command(context.Background(), s.program.args...)
	// A session of its own, so that a Ctrl-C meant for this program does not
	// reach it: Kong's end is told by SIGTERM.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// A pipe of our own: the process may leave a child behind that drains, and
	// has to be heard to its end, when the process is long known to be over.
	read, write, err := os.Pipe()
	if err != nil {
		stdin.Close()
		return nil, err
	}
	defer write.Close()
	cmd.Stdout, cmd.Stderr = write, write
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := cmd.Start(); err != nil {
		stdin.Close()
		read.Close()
		return nil, fmt.Errorf("%s cannot be started: %w", s.program.binary, err)
	}
	s.cmd = cmd
	s.outputs.Go(func() {
		defer read.Close()
		for r := bufio.NewReader(read); ; {
			line, err := r.ReadString('\n')
			if line = strings.TrimRight(line, "\r\n"); line != "" || err == nil {
				s.mu.Lock()
				s.last = line
				s.mu.Unlock()
				s.program.line(cmd.Process.Pid, line)
			}
			if err != nil {
				return
			}
		}
	})
	return func() error {
		err := cmd.Wait()
		stdin.Close()
		return err
	}, nil
}

func (s *process) run(wait func() error) {
	defer close(s.ended)
	started := time.Now()
	for {
		err := wait()
		s.mu.Lock()
		s.cmd, s.lastErr = nil, err
		s.mu.Unlock()
		select {
		case <-s.stopping:
			return
		default:
		}
		s.program.log("notice", fmt.Sprintf("plugin server %s ended (%s), it is started again", s.program.name, exitText(err)))
		for {
			select {
			case <-s.stopping:
				return
			case <-time.After(time.Until(started.Add(respawnPause))):
			}
			started = time.Now()
			next, err := s.start()
			if err == nil {
				s.respawns()
				wait = next
				break
			}
			s.program.log("err", err.Error())
		}
	}
}

func exitText(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// pid returns the process id, 0 while it does not run.
func (s *process) pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return 0
	}
	return s.cmd.Process.Pid
}

// stop ends the process as Kong does when a worker exits, on a stop and on a
// reload alike: by SIGTERM, and by SIGKILL a moment later, when the worker's Lua
// VM closes. Then its stdin is closed. What it leaves behind to drain may take as
// long as grace; the error is of one that takes longer.
func (s *process) stop(grace time.Duration) error {
	close(s.stopping)
	s.signal(syscall.SIGTERM)
	s.signal(syscall.SIGKILL)
	<-s.ended
	drained := make(chan struct{})
	go func() {
		s.outputs.Wait()
		close(drained)
	}()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-drained:
		return nil
	case <-timer.C:
		return fmt.Errorf("what %s left behind has not ended %s after Kong did", s.program.name, grace)
	}
}

func (s *process) signal(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(sig)
	}
}

// waitListening waits until the socket, another one than old, takes
// connections.
func (s *process) waitListening(ctx context.Context, socket string, old os.FileInfo) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if info, err := os.Stat(socket); err == nil && (old == nil || !os.SameFile(old, info)) {
			if c, err := net.Dial("unix", socket); err == nil {
				return c.Close()
			}
		}
		s.mu.Lock()
		cmd, err, last := s.cmd, s.lastErr, s.last
		s.mu.Unlock()
		if cmd == nil {
			return fmt.Errorf("%s ended (%s) before it listened on %s%s", s.program.name, exitText(err), socket, tail(last))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen on %s after 10 s%s", s.program.name, socket, tail(last))
		}
	}
}

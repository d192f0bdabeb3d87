//go:build unix

package spool

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// childEnv has the test binary be a process with a spool: its value is "<first number> <directory>".
const childEnv = "SPOOL_TEST_CHILD"

// child appends records until it is killed, and takes and is done with some. It prints what it
// does: "a" and a number for each record that is on the disk, "t" for each that it took, "d"
// before it is done with one. Each line is one write, so a kill tears none.
func child(arg string) {
	number, dir, _ := strings.Cut(arg, " ")
	first, err := strconv.Atoi(number)
	if err != nil {
		panic(err)
	}
	s, err := Open(Options{Dir: dir, Log: quiet, segmentSize: 32 << 10})
	if err != nil {
		fmt.Println("e", err)
		os.Exit(1)
	}
	q := s.Queue("d", "t")
	fmt.Println("o 0")
	in, _ := io.ReadAll(os.Stdin) // until the parent lets all go
	appending := string(in) == "append"
	for n := 0; ; n++ {
		if appending && s.Stats().Records < 500 {
			var entries []Entry
			for range 1 + n%3 {
				entries = append(entries, Entry{q, record(first)})
				first++
			}
			_ = s.Append(entries, func(p []Position, err error) {
				if err == nil {
					for _, e := range entries {
						fmt.Println("a", e.Record.Timestamp)
					}
				}
			})
		} else {
			time.Sleep(time.Millisecond) // as others need the processor
		}
		var taken []Stored
		for _, b := range q.Unacknowledged() {
			taken = append(taken, b.Records...)
		}
		next, err := q.Next(3, 1<<20)
		if err != nil {
			fmt.Println("e", err)
		}
		for _, r := range taken { // batches are recovered with what is done
			fmt.Println("t", r.Record.Timestamp)
		}
		for _, r := range next {
			fmt.Println("t", r.Record.Timestamp)
		}
		taken = append(taken, next...)
		if len(taken) == 0 {
			continue
		}
		_ = q.WriteBatch(Batch{Partition: int32(n % 3), ProducerID: int64(first), Positions: positions(taken)})
		if n%8 != 0 {
			for _, r := range taken {
				fmt.Println("d", r.Record.Timestamp)
			}
			q.Done(positions(taken))
		}
	}
}

// process is a child.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string
}

func start(t *testing.T, first int, dir string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), lines: make(chan string, 100_000)}
	p.cmd.Env = append(os.Environ(), fmt.Sprint(childEnv, "=", first, " ", dir))
	p.cmd.Stderr = os.Stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := bufio.NewScanner(out)
	if !read.Scan() || read.Text() != "o 0" {
		t.Fatal("the process did not open the spool: ", read.Text())
	}
	go func() {
		defer close(p.lines)
		for read.Scan() {
			p.lines <- read.Text()
		}
	}()
	t.Cleanup(p.kill)
	return p
}

// run lets it begin.
func (p *process) run(how string) {
	_, _ = io.WriteString(p.stdin, how)
	p.stdin.Close()
}

// kill is SIGKILL, and waits for the end.
func (p *process) kill() {
	p.stdin.Close()
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	_ = p.cmd.Wait()
}

// rest returns what it has printed, once it has ended.
func (p *process) rest() (out []string) {
	for l := range p.lines {
		out = append(out, l)
	}
	return out
}

// Processes that share a directory are killed at any time, one after another and several at
// once: each record that one of them has acknowledged is taken until it is done with, by one
// process at a time, and in the order in which it was appended.
func TestKilledProcessesLoseNoRecord(t *testing.T) {
	seed := testSeed(t)
	random := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	acknowledged, done := map[int]bool{}, map[int]bool{}
	var mu sync.Mutex
	count := func(name string, lines []string) {
		mu.Lock()
		defer mu.Unlock()
		taken := map[int]bool{}
		for _, l := range lines {
			what, number, _ := strings.Cut(l, " ")
			n, err := strconv.Atoi(number)
			if err != nil {
				t.Errorf("%s: %s", name, l)
				continue
			}
			switch what {
			case "a":
				acknowledged[n] = true
			case "d":
				done[n] = true
			case "t":
				if taken[n] {
					t.Errorf("%s took record %d twice", name, n)
				}
				taken[n] = true
			}
		}
	}
	const million = 1_000_000
	var running []*process
	for round := range 14 {
		p := start(t, round*million, dir)
		p.run("append")
		running = append(running, p)
		time.Sleep(time.Duration(random.IntN(120)) * time.Millisecond) // the moment is at random
		if round%3 == 2 {
			continue // it runs beside the next one
		}
		for len(running) > random.IntN(2) {
			i := random.IntN(len(running))
			running[i].kill()
			count(fmt.Sprint("process ", round), running[i].rest())
			running = append(running[:i], running[i+1:]...)
		}
	}
	for _, p := range running {
		p.kill()
		count("a process", p.rest())
	}

	s := open(t, Options{Dir: dir})
	q := s.Queue("d", "t")
	left := map[int]bool{}
	var got []Stored
	for _, b := range q.Unacknowledged() {
		got = append(got, b.Records...)
	}
	last := map[int]int{}
	for _, r := range take(t, q) {
		n := int(r.Record.Timestamp)
		if last[n/million] > n {
			t.Errorf("record %d is behind %d", n, last[n/million])
		}
		last[n/million] = n
		got = append(got, r)
	}
	for _, r := range got {
		n := int(r.Record.Timestamp)
		if left[n] {
			t.Errorf("record %d is there twice", n)
		}
		left[n] = true
	}
	again := 0
	for n := range acknowledged {
		if !left[n] && !done[n] {
			t.Errorf("record %d is lost", n)
		}
		if left[n] && done[n] {
			again++
		}
	}
	t.Logf("%d records acknowledged, %d done, %d left, %d of them done before", len(acknowledged), len(done), len(left), again)
	if len(acknowledged) < 100 || len(done) < 100 {
		t.Error("too few records for a test")
	}
}

// Of several processes that look at the same time, one adopts all that dead ones have left; when
// it is killed, another does.
func TestOneOfSeveralProcessesAdopts(t *testing.T) {
	seed := testSeed(t)
	random := rand.New(rand.NewPCG(seed, 2))
	dir := t.TempDir()
	var dead []*Spool
	for i := range 3 {
		s := open(t, Options{Dir: dir})
		s.janitor.end()
		mustPut(t, s, s.Queue("d", "t"), 100*i, 100*i+100)
		dead = append(dead, s)
	}
	var all []*process
	for i := range 4 {
		p := start(t, 1_000_000*(i+1), dir)
		p.run("look")
		all = append(all, p)
	}
	for _, s := range dead {
		crash(s)
	}
	settled := map[string]bool{}
	for len(all) > 0 {
		taker := -1
		until(t, "a process adopts", func() bool {
			taker = slices.IndexFunc(all, func(p *process) bool { return len(p.lines) > 0 })
			return taker >= 0
		})
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond) // the moment is at random
		for i, p := range all {
			if i != taker && len(p.lines) > 0 {
				t.Fatal("two processes have adopted: the second has ", <-p.lines)
			}
		}
		all[taker].kill()
		for _, l := range all[taker].rest() {
			if n, ok := strings.CutPrefix(l, "d "); ok {
				settled[n] = true
			}
		}
		all = append(all[:taker], all[taker+1:]...)
	}
	s := open(t, Options{Dir: dir})
	q := s.Queue("d", "t")
	got := take(t, q)
	for _, b := range q.Unacknowledged() {
		got = append(got, b.Records...)
	}
	for _, r := range got {
		settled[fmt.Sprint(r.Record.Timestamp)] = true
	}
	if len(settled) != 300 {
		t.Fatalf("%d of 300 records are accounted for", len(settled))
	}
}

package kafkatest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// Where this variable says "parent", the test binary starts a child, prints its
// process id and waits for it.
const helperRole = "KAFKATEST_HELPER_ROLE"

func helperMain(role string) int {
	if role != "parent" {
		return 2
	}
	p, err := startProcess(exec.Command("sleep", "600"))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(p.cmd.Process.Pid)
	<-p.done
	return 0
}

func TestChildOutlivesTheGoroutineThatStartedIt(t *testing.T) {
	var p *process
	done := make(chan error)
	go func() {
		var err error
		p, err = startProcess(exec.Command("sleep", "600"))
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
		t.Fatalf("the child has ended: %v", p.err)
	case <-time.After(200 * time.Millisecond): // nothing to wait for: it is to go on
	}
	if !p.stop(10 * time.Second) {
		t.Error("sleep did not end on SIGTERM")
	}
	if !p.ended() {
		t.Error("stop returned before the child was gone")
	}
}

func TestStopKillsAChildThatDoesNotEndInTime(t *testing.T) {
	cmd := exec.Command("sh", "-c", `trap "" TERM; echo ready; while :; do sleep 1 & wait $!; done`)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	p, err := startProcess(cmd)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if p.stop(50 * time.Millisecond) {
		t.Error("stop says that the child ended by itself")
	}
	if !p.ended() {
		t.Error("the child lives on")
	}
}

func TestProgramThatIsNotThereIsAnError(t *testing.T) {
	if _, err := startProcess(exec.Command("/no/such/program")); err == nil {
		t.Error("no error")
	}
}

package kongsim

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

func newTestWorker(t testing.TB, socket string, o WorkerOptions) *Worker {
	w := NewWorker(socket, o)
	t.Cleanup(w.Close)
	return w
}

var noAnswers = Replay(&Recording{})

func plugin(seq uint64) *Plugin {
	return &Plugin{ID: "p1", Name: "kafka-upstream", Seq: seq, Config: []byte(`{"topic":"a"}`)}
}

func ok(c *fakeConn) { c.exit(200, []byte("done")) }

func TestAnInstanceIsStartedOncePerWorkerAndConfiguration(t *testing.T) {
	p := startFake(t, ok)
	w1, w2 := newTestWorker(t, p.socket, WorkerOptions{}), newTestWorker(t, p.socket, WorkerOptions{})
	for _, w := range []*Worker{w1, w1, w2, w2} {
		exit, err := w.HandleEvent(t.Context(), plugin(1), noAnswers)
		if err != nil || exit.Status != 200 || string(exit.Body) != "done" {
			t.Fatalf("got %+v, %v", exit, err)
		}
	}
	want := []string{"START 1 kafka-upstream", "EVENT 1", "EVENT 1", "START 2 kafka-upstream", "EVENT 2", "EVENT 2"}
	if got := p.commands(); !slices.Equal(got, want) {
		t.Errorf("commands %v, want %v", got, want)
	}
}

func TestAChangedConfigurationStartsAnewClosesTheOldAndSendsTheEvent(t *testing.T) {
	p := startFake(t, ok)
	w := newTestWorker(t, p.socket, WorkerOptions{})
	for _, seq := range []uint64{1, 2, 2} {
		if _, err := w.HandleEvent(t.Context(), plugin(seq), noAnswers); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"START 1 kafka-upstream", "EVENT 1", "START 2 kafka-upstream", "CLOSE 1", "EVENT 2", "EVENT 2"}
	if got := p.commands(); !slices.Equal(got, want) {
		t.Errorf("commands %v, want %v", got, want)
	}
	if s := w.Stats(); s.Starts != 2 || s.Closes != 1 || s.Events != 3 || s.Exits != 3 || s.Retries != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestManyFirstRequestsShareOneStart(t *testing.T) {
	p := startFake(t, ok)
	w := newTestWorker(t, p.socket, WorkerOptions{})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := w.HandleEvent(t.Context(), plugin(1), noAnswers); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s := w.Stats(); s.Starts != 1 || s.Events != 20 {
		t.Errorf("stats %+v", s)
	}
}

func TestAConnectionWithoutExitGoesBackToThePool(t *testing.T) {
	p := startFake(t, func(c *fakeConn) { c.ask("kong.log.notice", listArg("x")) })
	w := newTestWorker(t, p.socket, WorkerOptions{})
	for range 5 {
		exit, err := w.HandleEvent(t.Context(), plugin(1), noAnswers)
		if exit != nil || err != nil {
			t.Fatal(exit, err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dials != 1 {
		t.Errorf("%d connections were made where one does", p.dials)
	}
}

func TestEachExitCostsItsConnection(t *testing.T) {
	p := startFake(t, ok)
	w := newTestWorker(t, p.socket, WorkerOptions{})
	for range 4 {
		if _, err := w.HandleEvent(t.Context(), plugin(1), noAnswers); err != nil {
			t.Fatal(err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dials != 4 { // START's connection serves the first event
		t.Errorf("%d connections, want 4", p.dials)
	}
}

func TestAnIdleConnectionThatTheServerClosedIsNotUsed(t *testing.T) {
	p := startFake(t, func(*fakeConn) {})
	w := newTestWorker(t, p.socket, WorkerOptions{})
	for range 3 {
		if _, err := w.HandleEvent(t.Context(), plugin(1), noAnswers); err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		for c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
	}
	if s := w.Stats(); s.Retries != 0 {
		t.Errorf("%d retries", s.Retries)
	}
}

func TestACloseInAnEventDropsTheInstancesAndRetries(t *testing.T) {
	var n atomic.Int32
	p := startFake(t, func(c *fakeConn) {
		if n.Add(1) < 4 {
			c.hangUp()
			return
		}
		ok(c)
	})
	w := newTestWorker(t, p.socket, WorkerOptions{})
	exit, err := w.HandleEvent(t.Context(), plugin(1), noAnswers)
	if err != nil || exit.Status != 200 {
		t.Fatal(exit, err)
	}
	if s := w.Stats(); s.Retries != 3 || s.Events != 4 || s.Starts != 4 || s.Closes != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestRetriesEndWithTheTimeout(t *testing.T) {
	p := startFake(t, func(c *fakeConn) { c.hangUp() })
	w := newTestWorker(t, p.socket, WorkerOptions{Timeout: 50 * time.Millisecond})
	if _, err := w.HandleEvent(t.Context(), plugin(1), noAnswers); err == nil || !strings.Contains(err.Error(), "again and again") {
		t.Errorf("got %v", err)
	}
	if s := w.Stats(); s.Retries < 3 {
		t.Errorf("only %d retries", s.Retries)
	}
}

func TestARefusedStartIsNotRetried(t *testing.T) {
	p := startFake(t, ok)
	p.start = func([]byte) bool { return false }
	w := newTestWorker(t, p.socket, WorkerOptions{})
	if _, err := w.HandleEvent(t.Context(), plugin(1), noAnswers); err == nil {
		t.Fatal("no error")
	}
	if got := p.commands(); !slices.Equal(got, []string{"START refused"}) {
		t.Errorf("commands %v", got)
	}
}

func TestAnUnknownPDKMethodIsNotRetried(t *testing.T) {
	p := startFake(t, func(c *fakeConn) { c.ask("kong.request.get_horoscope", nil) })
	w := newTestWorker(t, p.socket, WorkerOptions{})
	if _, err := w.HandleEvent(t.Context(), plugin(1), noAnswers); err == nil || !strings.Contains(err.Error(), "get_horoscope") {
		t.Errorf("got %v", err)
	}
	if s := w.Stats(); s.Retries != 0 || s.Events != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestASilentServerEndsTheEventAfterTheTimeout(t *testing.T) {
	p := startFake(t, func(c *fakeConn) { c.r.ReadByte(); c.over = true })
	w := newTestWorker(t, p.socket, WorkerOptions{Timeout: 30 * time.Millisecond})
	if _, err := w.HandleEvent(t.Context(), plugin(1), noAnswers); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if s := w.Stats(); s.Retries != 0 {
		t.Errorf("%d retries of a timeout", s.Retries)
	}
}

func TestTheContextEndsAnEvent(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := startFake(t, func(c *fakeConn) { cancel(); c.r.ReadByte(); c.over = true })
	w := newTestWorker(t, p.socket, WorkerOptions{})
	if _, err := w.HandleEvent(ctx, plugin(1), noAnswers); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestNoServerIsAnErrorWithoutRetry(t *testing.T) {
	w := newTestWorker(t, t.TempDir()+"/none.socket", WorkerOptions{})
	if _, err := w.HandleEvent(t.Context(), plugin(1), noAnswers); err == nil || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("got %v", err)
	}
}

func TestTheFieldsOfARpcCallComeInAnyOrderAndTheSeedDecides(t *testing.T) {
	firsts := func(seed uint64) (all []protowire.Number) {
		p := startFake(t, func(c *fakeConn) { all = append(all, c.firstField) })
		w := newTestWorker(t, p.socket, WorkerOptions{Seed: seed})
		for range 16 {
			if _, err := w.HandleEvent(t.Context(), plugin(1), noAnswers); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	a := firsts(7)
	if !slices.Contains(a, 1) || !slices.Contains(a, cmdHandleEvent) {
		t.Errorf("always the same order: %v", a)
	}
	if b := firsts(7); !slices.Equal(a, b) {
		t.Errorf("the same seed gave %v and %v", a, b)
	}
}

func TestPipelinedAsksAreAnsweredInOrder(t *testing.T) {
	rec := &Recording{Calls: []Call{{"a", []byte("1"), []byte("x")}, {"a", []byte("2"), nil}, {"b", nil, []byte("z")}}}
	var got [][]byte
	p := startFake(t, func(c *fakeConn) { got = c.askAll(rec.Calls...); ok(c) })
	w := newTestWorker(t, p.socket, WorkerOptions{})
	if _, err := w.HandleEvent(t.Context(), plugin(1), Replay(rec)); err != nil {
		t.Fatal(err)
	}
	for i, c := range rec.Calls {
		if string(got[i]) != string(c.Reply) {
			t.Errorf("reply %d is %q, want %q", i, got[i], c.Reply)
		}
	}
}

func TestAnExitHoldsStatusBodyAndHeaders(t *testing.T) {
	p := startFake(t, func(c *fakeConn) {
		c.exit(503, []byte("a\xffb"), Header{"Retry-After", "1"}, Header{"X-A", "1"}, Header{"X-A", "2"})
	})
	w := newTestWorker(t, p.socket, WorkerOptions{})
	exit, err := w.HandleEvent(t.Context(), plugin(1), noAnswers)
	if err != nil {
		t.Fatal(err)
	}
	if exit.Status != 503 || string(exit.Body) != "a\xffb" || exit.Header("retry-after") != "1" || len(exit.Headers) != 3 || exit.Headers[2].Value != "2" {
		t.Errorf("exit %+v", exit)
	}
}

func TestAnExitThatKongRefusesIsAnError(t *testing.T) {
	for _, tc := range []struct {
		status int
		header Header
	}{{99, Header{}}, {600, Header{}}, {200, Header{"X", "a\r\nB: c"}}, {200, Header{"X Y", "a"}}} {
		p := startFake(t, func(c *fakeConn) {
			if tc.header.Name == "" {
				c.exit(tc.status, nil)
			} else {
				c.exit(tc.status, nil, tc.header)
			}
		})
		w := newTestWorker(t, p.socket, WorkerOptions{})
		if exit, err := w.HandleEvent(t.Context(), plugin(1), noAnswers); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: got %+v, %v", tc, exit, err)
		}
	}
}

func TestJunkFromAPluginServerIsOneSentence(t *testing.T) {
	for name, junk := range map[string]string{
		"http":     "HTTP/1.1 400 Bad Request\r\n\r\n",
		"protobuf": "\x03\x00\x00\x00\xff\xff\xff",
		"short":    "\x03\x00\x00\x00\x0a",
	} {
		t.Run(name, func(t *testing.T) {
			p := startFake(t, ok)
			p.start = func([]byte) bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				for c := range p.conns {
					c.Write([]byte(junk))
				}
				return false
			}
			w := newTestWorker(t, p.socket, WorkerOptions{Timeout: time.Second})
			_, err := w.HandleEvent(t.Context(), plugin(1), noAnswers)
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTheConfigurationArrivesAsItIs(t *testing.T) {
	var got []byte
	p := startFake(t, func(c *fakeConn) { got = c.config(); ok(c) })
	w := newTestWorker(t, p.socket, WorkerOptions{})
	if _, err := w.HandleEvent(t.Context(), plugin(1), noAnswers); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(got) || string(got) != `{"topic":"a"}` {
		t.Errorf("got %s", got)
	}
}

func listArg(values ...string) []byte {
	var b []byte
	for _, v := range values {
		b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), appendValue(nil, v))
	}
	return b
}

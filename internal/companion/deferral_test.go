package companion

import (
	"context"
	"strings"
	"testing"

	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/request"
)

// deferring returns a handler that defers all answers.
func deferring(deferred chan<- plugin.Deferred) *fakeHandler {
	return &fakeHandler{needs: everything, handle: func(x plugin.Exchange, r *request.Request) plugin.Response {
		if string(r.Body) == "own goroutine" {
			x.WillBlock()
		}
		x.Release()
		deferred <- x.Defer()
		return plugin.Panic.Response()
	}}
}

func TestDeferredAnswersLeaveInAnyOrder(t *testing.T) {
	deferred := make(chan plugin.Deferred, 100)
	r := start(t, always(deferring(deferred)), nil)
	w := r.connect()
	for i := range uint32(50) {
		w.send(post(i, 1, []string{"x", "own goroutine"}[i%2]))
	}
	for range 50 {
		d := <-deferred
		go func() {
			d.Answer(plugin.Sent.Response())
			d.Answer(plugin.Panic.Response()) // does not count
		}()
	}
	for _, a := range w.answered(50) {
		if a.status != 200 {
			t.Errorf("%+v", a)
		}
	}
	eventually(t, "50 answers are counted", func() bool { return r.count(plugin.Sent) == 50 })
}

func TestDeferredAnswerOfAWorkerThatHungUpFindsNobody(t *testing.T) {
	deferred := make(chan plugin.Deferred, 1)
	r := start(t, always(deferring(deferred)), nil)
	w := r.connect()
	w.send(post(1, 1, "x"))
	d := <-deferred
	_ = w.Close()
	eventually(t, "the connection ends", func() bool { return strings.Contains(r.log.String(), "has disconnected") })
	d.Answer(plugin.Sent.Response())
	eventually(t, "nothing is held", func() bool { return r.held.Load() == 0 })
	if n := r.count(plugin.Sent); n != 0 {
		t.Errorf("%d answers are counted", n)
	}
}

func TestPanicAfterDeferIsTheAnswer(t *testing.T) {
	deferred := make(chan plugin.Deferred, 1)
	h := &fakeHandler{needs: everything, handle: func(x plugin.Exchange, _ *request.Request) plugin.Response {
		deferred <- x.Defer()
		panic("of a test")
	}}
	w := start(t, always(h), nil).connect()
	w.send(post(1, 1, "x"))
	if a := w.answered(1)[0]; a.status != 500 {
		t.Errorf("%+v", a)
	}
	(<-deferred).Answer(plugin.Sent.Response())
	w.send(post(2, 1, "x"))
	if a := w.answered(2)[1]; a.id != 2 || a.status != 500 {
		t.Errorf("%+v", a)
	}
}

// The worker hangs up only when all its requests are answered.
func TestShutdownWaitsForDeferredAnswers(t *testing.T) {
	deferred := make(chan plugin.Deferred, 1)
	r := start(t, always(deferring(deferred)), nil)
	w := r.connect()
	w.send(post(1, 1, "x"))
	d := <-deferred
	ended := make(chan error, 1)
	go func() { ended <- r.Shutdown(context.Background()) }()
	w.until("the news that the server leaves", func() bool { return w.left })
	d.Answer(plugin.Sent.Response())
	if a := w.answered(1)[0]; a.status != 200 {
		t.Errorf("%+v", a)
	}
	_ = w.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestShutdownThatIsForcedLeavesDeferredAnswers(t *testing.T) {
	deferred := make(chan plugin.Deferred, 1)
	r := start(t, always(deferring(deferred)), nil)
	w := r.connect()
	w.send(post(1, 1, "x"))
	d := <-deferred
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Shutdown(ctx); err == nil {
		t.Error("nothing says that a connection was closed")
	}
	w.ended()
	d.Answer(plugin.Sent.Response())
}

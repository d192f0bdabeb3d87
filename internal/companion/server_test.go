package companion

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
)

func always(h plugin.Handler) func(string) plugin.Handler {
	return func(string) plugin.Handler { return h }
}

func TestRequestReachesItsHandlerAsItWas(t *testing.T) {
	h := &fakeHandler{needs: everything}
	h.needs.Facts = []request.Fact{{Call: request.CallConsumer}, {Call: request.CallVariable, Name: "x"}}
	w := start(t, always(h), nil).connect()
	w.send(sentRequest{id: 7, config: 1, method: "PURGE", uri: "/\xff?a=1", query: "a=2",
		headers: []string{"x-a", "1", "x-a", "", "content-type", "\xe9"},
		facts:   []byte("\x06\x01\x00\x00\x00\x02\x00\x00\x00id\x04\x01\x00\x00\x00c" + "\x00"),
		body:    "\x00\xff"}.frame())
	if a := w.answered(1)[0]; a.id != 7 || a.status != 200 || a.body != "" {
		t.Errorf("%+v", a)
	}
	const want = "PURGE /\xff?a=1 ?a=2 x-a=1 x-a= content-type=\xe9 {\x00\xff} kong.client.get_consumer()=map[id:c] kong.nginx.get_var(x)=<nil>"
	if seen, _ := h.handled(); len(seen) != 1 || seen[0] != want {
		t.Errorf("got  %q\nwant %q", seen, want)
	}
	if w.welcome != "1.2.3" {
		t.Errorf("the welcome names %q", w.welcome)
	}
}

func TestConfigurationIsAnsweredWithItsNeeds(t *testing.T) {
	for _, row := range []struct {
		needs request.Fields
		want  string
	}{
		{request.Fields{}, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		{request.Fields{Method: true}, "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		{request.Fields{URI: true}, "\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		{request.Fields{Query: true, Headers: true}, "\x0c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		{request.Fields{Body: true, MaxBody: 258, Facts: []request.Fact{{Call: "c", Name: "n"}}},
			"\x10\x00\x00\x00\x02\x01\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00c\x01\x00\x00\x00n"},
		{request.Fields{Body: true, MaxBody: 1 << 40}, "\x10\x00\x00\x00\xff\xff\xff\x7f\x00\x00\x00\x00"},
	} {
		w := start(t, always(&fakeHandler{needs: row.needs}), nil).connect()
		if got := string(w.needs[1]); got != row.want {
			t.Errorf("%+v: %q, want %q", row.needs, got, row.want)
		}
	}
}

func TestAnswerCarriesWhatTheHandlerCannotKnow(t *testing.T) {
	for name, row := range map[string]struct {
		answer plugin.Response
		want   answer
	}{
		"success":         {plugin.Sent.Response(), answer{status: 200}},
		"other status":    {plugin.Response{Status: 202, Reason: plugin.Sent, Body: ordinary.Body}, answer{status: 202}},
		"with a log line": {plugin.Response{Status: 200, Reason: plugin.Sent, Body: ordinary.Body, Log: []string{"a\nb"}}, answer{status: 200, body: ordinary.Body, lines: []string{`err: a\nb`}}},
		"refused": {plugin.BufferFull.Response(), answer{status: 503, body: `{"message":"Service Unavailable","error":"could not send message to topic"}`,
			headers: []string{"Content-Type", "application/json; charset=utf-8", "Retry-After", "1"}}},
		"lines at levels": {plugin.Response{Status: 500, Body: "x", Lines: []record.LogLine{{Level: "warn", Text: "w"}}, Log: []string{"e"}},
			answer{status: 500, body: "x", lines: []string{"warn: w", "err: e"}}},
		"filtered": {plugin.Filtered.Response(), answer{status: 200, body: `{"message":"message filtered"}`, headers: []string{"Content-Type", "application/json; charset=utf-8"}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, always(&fakeHandler{handle: func(plugin.Exchange, *request.Request) plugin.Response { return row.answer }}), nil)
			w := r.connect()
			w.send(post(9, 1, "x"))
			row.want.id = 9
			if a := w.answered(1)[0]; !reflect.DeepEqual(a, row.want) {
				t.Errorf("got  %+v\nwant %+v", a, row.want)
			}
			eventually(t, "the answer is counted", func() bool { return r.count(row.answer.Reason) == 1 })
		})
	}
}

func TestLinesOfARequestAreBounded(t *testing.T) {
	a := plugin.Response{Status: 200, Lines: slices.Repeat([]record.LogLine{{Level: "info", Text: "x"}}, 60)}
	w := start(t, always(&fakeHandler{handle: func(plugin.Exchange, *request.Request) plugin.Response { return a }}), nil).connect()
	w.send(post(1, 1, ""))
	if lines := w.answered(1)[0].lines; len(lines) != 51 || lines[50] != "warn: 10 more log lines of this request are left out" {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
}

// Requests that wait, or that are large, have the others go on.
func TestSlowRequestHoldsUpNobody(t *testing.T) {
	free := make(chan struct{})
	h := &fakeHandler{needs: everything}
	h.needs.MaxBody = 1 << 20
	h.handle = func(x plugin.Exchange, r *request.Request) plugin.Response {
		switch string(r.Body[:4]) {
		case "wait":
			body := string(r.Body)
			x.WillBlock()
			<-free
			if string(r.Body) != body {
				t.Errorf("the body has become %q", r.Body)
			}
		case "rest":
			x.Release()
			x.WillBlock()
			<-free
		case "huge":
			<-free // and does not say so
		}
		return plugin.Sent.Response()
	}
	w := start(t, always(h), nil).connect()
	w.send(post(1, 1, "wait for it"), post(2, 1, "rest"), post(3, 1, "quick"), post(4, 1, "huge"+strings.Repeat("x", maxInline)), post(5, 1, "quick"), post(6, 1, "wait too"), post(7, 1, "quick"))
	var early []uint32
	for _, a := range w.answered(3) {
		early = append(early, a.id)
	}
	slices.Sort(early)
	if !slices.Equal(early, []uint32{3, 5, 7}) {
		t.Errorf("answered are %v", early)
	}
	close(free)
	if n := len(w.answered(7)); n != 7 {
		t.Errorf("%d answers", n)
	}
}

func TestPanicConcernsOneRequest(t *testing.T) {
	h := &fakeHandler{needs: everything, handle: func(x plugin.Exchange, r *request.Request) plugin.Response {
		switch string(r.Body) {
		case "later":
			x.WillBlock()
			panic("a fault")
		case "now":
			panic("a fault")
		}
		return plugin.Sent.Response()
	}}
	r := start(t, always(h), nil)
	w := r.connect()
	w.send(post(1, 1, "now"), post(2, 1, "later"), post(3, 1, ""))
	status := map[uint32]int{}
	for _, a := range w.answered(3) {
		status[a.id] = a.status
	}
	if status[1] != 500 || status[2] != 500 || status[3] != 200 {
		t.Errorf("%v", status)
	}
	if n := strings.Count(r.log.String(), "panic while handling a request"); n != 2 {
		t.Errorf("%d panics are logged: %s", n, r.log)
	}
}

func TestBodyIsWhatItsFlagSays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "0000000001")
	if err := os.WriteFile(file, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(t.TempDir(), "0000000002")
	if err := os.WriteFile(large, make([]byte, 1001), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		flags  uint8
		body   string
		status int
		seen   string // of the body
		line   string
	}{
		"content":              {0, "x", 200, "{x}", ""},
		"none":                 {0, "", 200, "{}", ""},
		"in a file":            {flagBodyFile, file, 200, "{from a file}", ""},
		"in a file too large":  {flagBodyFile, large, 413, "", ""},
		"in a file that is no": {flagBodyFile, "/dev/zero", 500, "", "no regular file"},
		"unreadable":           {flagNoBody, "its reason", 500, "", `Kong could not read the request body: "its reason"`},
		"too large":            {flagBodyTooLarge, "", 413, "", ""},
		"larger than allowed":  {0, strings.Repeat("x", 1001), 413, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := &fakeHandler{needs: everything}
			w := start(t, always(h), nil).connect()
			w.send(sentRequest{id: 1, config: 1, body: row.body, flags: row.flags}.frame())
			a := w.answered(1)[0]
			if a.status != row.status || !strings.Contains(strings.Join(a.lines, "\n"), row.line) || (row.line == "") != (len(a.lines) == 0) {
				t.Errorf("%+v", a)
			}
			all, _ := h.handled()
			if seen := strings.Join(all, "\n"); !strings.Contains(seen, row.seen) || (row.seen == "") != (seen == "") {
				t.Errorf("seen is %q", seen)
			}
		})
	}
}

func TestPeerThatIsNoHandlerIsCutOff(t *testing.T) {
	for name, sent := range map[string][]byte{
		"HTTP":                      []byte("GET / HTTP/1.1\r\n\r\n"),
		"Kong's plugin protocol":    []byte("\x10\x00\x00\x00\x08\x01\x1a\x0c........"),
		"request before hello":      post(1, 1, ""),
		"hello twice":               slices.Concat(hello(), hello()),
		"hello that is too long":    frameOf(kindHello, 0, make([]byte, maxHello+1)),
		"hello that is too short":   frameOf(kindHello, 0, []byte{1, 0, 0, 0}),
		"unknown kind":              slices.Concat(hello(), frameOf(99, 0, nil)),
		"answers":                   slices.Concat(hello(), frameOf(kindAnswers, 0, nil)),
		"configuration of nothing":  slices.Concat(hello(), frameOf(kindConfig, 0, []byte{1, 0, 0})),
		"configuration of 5 MB":     slices.Concat(hello(), appendHeader(nil, header{5 << 20, kindConfig, 0})),
		"request that is too short": slices.Concat(hello(), frameOf(kindRequest, 0, make([]byte, requestSize-1))),
		"request of 2 GiB":          slices.Concat(hello(), appendHeader(nil, header{1 << 31, kindRequest, 0})),
		"list that is too short":    slices.Concat(hello(), frameOf(kindForget, 0, []byte{1})),
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, always(&fakeHandler{}), nil)
			w := r.dial()
			w.send(sent)
			w.ended()
			eventually(t, "a log line", func() bool {
				return strings.Contains(r.log.String(), "its peer is no companion handler of this release")
			})
		})
	}
}

func TestHandlerOfAnotherVersionIsToldSo(t *testing.T) {
	r := start(t, always(&fakeHandler{}), nil)
	w := r.dial()
	w.send(frameOf(kindHello, 0, []byte("\x02\x00\x00\x00\x05\x00\x00\x009.9.9 and more that is not known yet")))
	w.ended()
	if w.welcome != "1.2.3" {
		t.Errorf("the welcome names %q", w.welcome)
	}
	eventually(t, "the cure is logged", func() bool { return strings.Contains(r.log.String(), "9.9.9 and speaks version 2") })
}

func TestHandlerOfAnotherReleaseIsServed(t *testing.T) {
	r := start(t, always(&fakeHandler{}), nil)
	w := r.dial()
	w.send(frameOf(kindHello, 0, []byte("\x01\x00\x00\x00\x05\x00\x00\x009.9.9")), configOf(1, ""), post(3, 1, ""))
	if a := w.answered(1)[0]; a.status != 200 {
		t.Errorf("%+v", a)
	}
	eventually(t, "the cure is logged", func() bool { return strings.Contains(r.log.String(), "write its files again") })
}

func TestFrameThatCannotBeUnderstoodConcernsOneRequest(t *testing.T) {
	h := &fakeHandler{needs: everything}
	w := start(t, always(h), nil).connect()
	for i := range requestSize - 8 {
		bad := post(uint32(i), 1, "x")
		bad[headerSize+8+i] ^= 0x7f
		w.send(bad)
	}
	w.send(post(1000, 1, ""))
	for _, a := range w.answered(requestSize - 8 + 1) {
		if a.id == 1000 && a.status != 200 || a.id != 1000 && a.status != 500 {
			t.Errorf("%+v", a)
		}
	}
}

func TestRequestOfAForgottenConfigurationIsNotHandled(t *testing.T) {
	h := &fakeHandler{}
	w := start(t, always(h), nil).connect()
	w.send(post(1, 2, ""), forget(1, 5), post(2, 1, ""), configOf(1, ""), post(3, 1, ""))
	got := w.answered(3)
	if _, closed := h.handled(); got[0].status != statusUnknownConfig || got[1].status != statusUnknownConfig || got[2].status != 200 || closed != 1 {
		t.Errorf("%+v, closed %d times", got, closed)
	}
}

// Kong may have thousands, and a peer may send any number.
func TestConfigurationsAreBounded(t *testing.T) {
	var closed atomic.Int32
	c := newConfigs(0)
	c.limit = 10 * (configSize + 100)
	for n := range uint32(100) {
		c.add(n, &closing{&closed}, 100)
		if n > 0 && c.get(0) == nil {
			t.Fatalf("the one in use is gone after %d", n)
		}
	}
	if len(c.byNumber) != 10 || closed.Load() != 90 || c.get(99) == nil || c.get(91) == nil || c.get(90) != nil || c.size != 10*(configSize+100) {
		t.Errorf("there are %d, closed were %d", len(c.byNumber), closed.Load())
	}
	c.removeAll()
	if closed.Load() != 100 || c.size != 0 || c.order.Len() != 0 {
		t.Errorf("closed were %d, %d bytes are left", closed.Load(), c.size)
	}
}

type closing struct{ n *atomic.Int32 }

func (c *closing) Needs() request.Fields { return request.Fields{} }
func (c *closing) Handle(context.Context, plugin.Exchange, *request.Request) plugin.Response {
	return plugin.Response{}
}
func (c *closing) Refuse(error) plugin.Response { return plugin.Response{} }
func (c *closing) Close()                       { c.n.Add(1) }

func TestRequestForWhichThereIsNoMemoryIsAnswered(t *testing.T) {
	h := &fakeHandler{needs: everything}
	h.needs.MaxBody = 10 << 20
	r := start(t, always(h), func(s *Server) { s.Memory = memory.NewLimit(1 << 20) })
	w := r.connect()
	w.send(post(1, 1, strings.Repeat("x", 3<<20)), post(2, 1, strings.Repeat("y", 200<<10)), post(3, 1, "z"))
	status := map[uint32]int{}
	for _, a := range w.answered(3) {
		status[a.id] = a.status
	}
	if status[1] != 503 || status[2] != 200 || status[3] != 200 {
		t.Errorf("%v", status)
	}
}

func TestTooManyRequestsThatWaitAreRefused(t *testing.T) {
	free := make(chan struct{})
	h := &fakeHandler{handle: func(x plugin.Exchange, _ *request.Request) plugin.Response {
		x.Release()
		x.WillBlock()
		<-free
		return plugin.Sent.Response()
	}}
	r := start(t, always(h), func(s *Server) { s.Memory = memory.NewLimit(blockedShare * 10 * blockedSize) })
	w := r.connect()
	for i := range 12 {
		w.send(post(uint32(i), 1, ""))
	}
	if a := w.answered(1)[0]; a.id != 11 || a.status != 503 {
		t.Errorf("%+v", a)
	}
	close(free)
	w.answered(12)
}

func TestWorkerThatReadsNoAnswersIsCutOff(t *testing.T) {
	free := make(chan struct{})
	h := &fakeHandler{handle: func(x plugin.Exchange, _ *request.Request) plugin.Response {
		x.WillBlock()
		<-free
		a := plugin.Sent.Response()
		a.Body = strings.Repeat("x", 1<<20)
		return a
	}}
	r := start(t, always(h), nil)
	w := r.connect()
	for i := range 64 {
		w.send(post(uint32(i), 1, ""))
	}
	// Otherwise the reading goroutine may be the one that writes, and take no more requests.
	eventually(t, "all requests are under way", func() bool { seen, _ := h.handled(); return len(seen) == 64 })
	close(free)
	eventually(t, "the requests and the connection have ended", func() bool {
		r.Server.mu.Lock()
		defer r.Server.mu.Unlock()
		return r.held.Load() == 0 && len(r.conns) == 0
	})
	if n := strings.Count(r.log.String(), "does not read its answers"); n != 1 {
		t.Errorf("%d lines say that the worker does not read", n)
	}
	other := r.connect()
	other.send(post(1, 1, ""))
	other.answered(1)
}

func TestShutdownAnswersWhatIsInFlightAndTakesNothingMore(t *testing.T) {
	free, entered := make(chan struct{}), make(chan struct{})
	h := &fakeHandler{needs: everything, handle: func(x plugin.Exchange, r *request.Request) plugin.Response {
		if string(r.Body) == "wait" {
			x.WillBlock()
			close(entered)
			<-free
		}
		return plugin.Sent.Response()
	}}
	r := start(t, always(h), nil)
	w := r.connect()
	idle := r.connect()
	w.send(post(1, 1, "wait"))
	<-entered
	done := make(chan error, 1)
	go func() { done <- r.Shutdown(t.Context()) }()
	w.until("the word that the server leaves", func() bool { return w.left })
	w.send(post(2, 1, ""))
	if a := w.answered(1)[0]; a.id != 2 || a.status != statusLeaving {
		t.Errorf("%+v", a)
	}
	idle.until("the word that the server leaves", func() bool { return idle.left })
	_ = idle.Close()
	close(free)
	if a := w.answered(2)[1]; a.id != 1 || a.status != 200 {
		t.Errorf("%+v", a)
	}
	_ = w.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if seen, closed := h.handled(); len(seen) != 1 || closed != 2 {
		t.Errorf("handled %q, closed %d times", seen, closed)
	}
}

func TestShutdownWaitsForNoWorkerThatDoesNotHangUp(t *testing.T) {
	r := start(t, always(&fakeHandler{}), func(s *Server) { s.endTimeout = 10 * time.Millisecond })
	w := r.connect()
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	w.ended()
}

func TestShutdownThatIsOutOfTimeSaysWhatIsLeft(t *testing.T) {
	free, entered := make(chan struct{}), make(chan struct{})
	r := start(t, always(&fakeHandler{handle: func(x plugin.Exchange, r *request.Request) plugin.Response {
		x.WillBlock()
		close(entered)
		<-free
		return plugin.Sent.Response()
	}}), nil)
	w := r.connect()
	w.send(post(1, 1, ""))
	<-entered
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if err := r.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "1 connections") || !strings.Contains(err.Error(), "enough") {
		t.Error(err)
	}
	close(free)
}

// What a worker has sent in whole is handled even if it is gone; a part of a frame never is.
func TestConnectionThatIsCutAtAnyByteHandlesWholeFramesOnly(t *testing.T) {
	prefix := slices.Concat(hello(), configOf(1, ""))
	frame := post(1, 1, "body")
	for n := range len(frame) + 1 {
		h := &fakeHandler{needs: everything}
		r := start(t, always(h), nil)
		w := r.dial()
		w.send(prefix, frame[:n])
		_ = w.Close()
		eventually(t, "the end", func() bool {
			_, closed := h.handled()
			return closed == 1
		})
		seen, _ := h.handled()
		if got := len(seen); got != 0 && n < len(frame) || got != 1 && n == len(frame) {
			t.Errorf("after %d of %d bytes, %d requests are handled", n, len(frame), got)
		}
	}
}

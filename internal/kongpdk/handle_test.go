package kongpdk

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"

	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/request"
)

// The exit is what go-pdk's own encoder would make of it.
func TestExitIsAnExitArgs(t *testing.T) {
	for _, a := range []plugin.Response{
		{},
		plugin.Sent.Response(),
		plugin.BufferFull.Response(),
		{Status: 599, Body: strings.Repeat("x", 300), Headers: []plugin.Header{{Name: strings.Repeat("n", 200), Value: strings.Repeat("v", 20000)}, {}}},
	} {
		r := buffer{buf: appendExit(nil, &a)}
		var frames [][]byte
		for range 2 {
			s, err := r.frame(1 << 20)
			if err != nil {
				t.Fatal(err)
			}
			frames = append(frames, r.bytes(s))
		}
		m := new(pb.ExitArgs)
		if err := proto.Unmarshal(frames[1], m); err != nil || string(frames[0]) != "kong.response.exit" || len(r.buf) != r.at {
			t.Fatalf("%q, %v", frames[0], err)
		}
		want := make(map[string]any)
		for _, h := range a.Headers {
			want[h.Name] = h.Value
		}
		if int(m.Status) != a.Status || string(m.Body) != a.Body || !maps.Equal(m.Headers.AsMap(), want) {
			t.Errorf("%v, want %+v", m, a)
		}
	}
}

func TestHandlerIsGivenTheRequestAndAnswers(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		f.plugin.Start = func([]byte) plugin.Handler {
			return &handler{response: plugin.Sent.Response(), needs: request.Fields{Method: true, Headers: true, Body: true, MaxBody: 100},
				handle: func(x plugin.Exchange, r *request.Request) {
					if string(r.Method) != "PUT" || string(r.Header("x-a")) != "1" || string(r.Body) != "body" || x.Began().IsZero() {
						t.Errorf("the request is %q", r)
					}
					x.Release()
				}}
		}
		p := f.dial()
		p.send(eventCall(1, f.dial().start("{}"), "access"))
		for range 6 {
			p.read()
		}
		p.send([]byte("\x0a\x03PUT"), []byte("\x0a\x0a\x0a\x03x-a\x12\x03\x1a\x011"), []byte("\x0a\x04body"))
		p.exit()
		f.Shutdown(t.Context())
		if got := f.seen(&f.answered); !slices.Equal(got, []string{"sent"}) {
			t.Errorf("answered are %q", got)
		}
	})
}

func TestRequestThatCannotBeReadIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		reply []byte
		want  func(error) bool
	}{
		"junk":      {[]byte{0xff}, func(err error) bool { return strings.HasPrefix(err.Error(), "unexpected reply from Kong: body: ") }},
		"too large": {append([]byte("\x0a\xc8\x01"), make([]byte, 200)...), func(err error) bool { return errors.Is(err, request.ErrTooLarge) }},
		"no body": {[]byte("\x1a\x03why"), func(err error) bool {
			_, ok := errors.AsType[*request.BodyError](err)
			return ok
		}},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T) {
				f := newFixture(t)
				refused := make(chan error, 1)
				f.plugin.Start = func([]byte) plugin.Handler {
					return &handler{response: plugin.BodyUnreadable.Response(), needs: request.Fields{Body: true, MaxBody: 100}, refused: func(err error) { refused <- err }}
				}
				p := f.dial()
				p.send(eventCall(1, f.dial().start("{}"), "access"))
				for range 4 {
					p.read()
				}
				p.send(nil, c.reply)
				if a, _ := p.exit(); a.Status != 500 {
					t.Errorf("answered %v", a)
				}
				if err := <-refused; !c.want(err) {
					t.Errorf("the error is %v", err)
				}
			})
		})
	}
}

func TestPanicOfAHandlerIsAnsweredAndCounted(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		f.plugin.Start = func([]byte) plugin.Handler {
			return &handler{handle: func(plugin.Exchange, *request.Request) { panic("of a test") }}
		}
		p := f.dial()
		p.send(eventCall(1, f.dial().start("{}"), "access"))
		if a, _ := p.exit(); a.Status != 500 {
			t.Errorf("answered %v", a)
		}
		f.Shutdown(t.Context())
		if got := f.seen(&f.answered); !slices.Equal(got, []string{"panic"}) {
			t.Errorf("answered are %q", got)
		}
	})
}

package kongpdk

import (
	"fmt"
	"strings"
	"testing"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/record"
)

func TestLinesAreLoggedAtTheirLevels(t *testing.T) {
	var x Exchange
	x.session = new(session)
	var want []string
	a := plugin.Response{Status: 200, Log: []string{"a failure"}}
	for level, method := range map[string]string{"debug": "debug", "info": "info", "notice": "notice", "warn": "warn", "err": "err", "crit": "crit", "alert": "alert",
		"emerg": "alert", // Kong's protocol has no call of that name
		"":      "err", "error": "err", "WARN": "err", "response.exit": "err"} {
		a.Lines = append(a.Lines, record.LogLine{Level: level, Text: "it is\n" + level})
		want = append(want, "kong.log."+method, `it is\n`+level)
	}
	want = append(want, "kong.log.err", "a failure", "kong.response.exit")
	x.exit(a)
	d := &aDriver{sent: x.session.send}
	got := d.frames(t)
	for i, w := range want {
		if i%2 == 0 && got[i] != w || i%2 == 1 && loggedText(t, got[i]) != w {
			t.Errorf("frame %d is %q, want %q", i, got[i], w)
		}
	}
	if len(got) != len(want)+1 || !x.logged {
		t.Errorf("%d frames are sent, logged is %v", len(got), x.logged)
	}
}

// loggedText returns the text of a log call's arguments.
func loggedText(t *testing.T, args string) string {
	var list structpb.ListValue
	if err := proto.Unmarshal([]byte(args), &list); err != nil || len(list.Values) != 1 {
		t.Fatalf("arguments %q, %v", args, err)
	}
	return list.Values[0].GetStringValue()
}

// Kong replies to each line before it reads the next, and the server reads no reply before
// all lines are written.
func TestManyLongLinesAreCutShortAndAnswered(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		a := ok
		for i := range 5000 {
			a.Lines = append(a.Lines, record.LogLine{Level: "notice", Text: fmt.Sprint(i, strings.Repeat("x", 10000))})
		}
		f.access = func(x *Exchange) { x.exit(a) }
		p := f.dial()
		p.send(eventCall(1, f.dial().start("{}"), "access"))
		for i := 0; ; i++ {
			method, args := string(p.read()), string(p.read())
			if method == "kong.response.exit" {
				if i != maxLines+1 {
					t.Errorf("%d lines", i)
				}
				return
			}
			if i == maxLines && (method != "kong.log.warn" || loggedText(t, args) != "4950 more log lines of this request are left out") {
				t.Errorf("the last line is %s %q", method, args)
			}
			p.send(nil)
		}
	})
}

func TestNoContentHasNoBodyAndNoContentType(t *testing.T) {
	a := plugin.Response{Status: 204, Body: "{}", Headers: []plugin.Header{{Name: "content-type", Value: "application/json"}, {Name: "X-A", Value: "1"}}}
	d := &aDriver{sent: appendExit(nil, &a)}
	m := new(pb.ExitArgs)
	if err := proto.Unmarshal([]byte(d.frames(t)[1]), m); err != nil {
		t.Fatal(err)
	}
	if m.Status != 204 || len(m.Body) != 0 || len(m.Headers.Fields) != 1 || m.Headers.Fields["X-A"].GetStringValue() != "1" {
		t.Errorf("the exit is %v", m)
	}
	if len(a.Headers) != 2 || a.Body != "{}" {
		t.Error("the response was changed")
	}
}

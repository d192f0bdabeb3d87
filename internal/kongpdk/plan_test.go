package kongpdk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"kafka-upstream/internal/request"
)

func TestCallsAreNoMoreThanTheFieldsNeed(t *testing.T) {
	for _, c := range []struct {
		fields            request.Fields
		calls, byVariable int
	}{
		{request.Fields{}, 0, 0},
		{request.Fields{Method: true}, 1, 1},
		{request.Fields{URI: true}, 2, 1},
		{request.Fields{Query: true}, 1, 1},
		{request.Fields{Method: true, Query: true}, 2, 1},
		{request.Fields{URI: true, Query: true}, 2, 1},
		{request.Fields{Facts: []request.Fact{{Call: "kong.client.get_ip"}, {Call: request.CallVariable, Name: "x"}}}, 2, 2},
		{request.Fields{Headers: true}, 1, 1},
		{request.Fields{Body: true}, 2, 2}, // the body, and the headers that say what it is
		{request.Fields{Headers: true, Body: true}, 2, 2},
		{request.Fields{Method: true, URI: true, Headers: true, Body: true}, 5, 3},
	} {
		for variable, want := range map[string]int{"": c.calls, "request": c.byVariable} {
			if got := newPlan(c.fields, variable).calls.size(); got != want {
				t.Errorf("%+v: %d calls with %q, want %d", c.fields, got, variable, want)
			}
		}
	}
}

func headers(t *testing.T, b []byte) []request.Header {
	t.Helper()
	h, err := appendHeaders(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHeadersKeepBytesAndOrderOfRepeats(t *testing.T) {
	s := &structpb.Struct{Fields: map[string]*structpb.Value{
		"x-a": structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{
			structpb.NewStringValue("1"), structpb.NewStringValue("2"), structpb.NewStringValue("")}}),
	}}
	b, err := proto.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	want := []request.Header{{Name: []byte("x-a"), Value: []byte("1")}, {Name: []byte("x-a"), Value: []byte("2")}, {Name: []byte("x-a"), Value: []byte{}}}
	if got := headers(t, b); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// caf\xe9, which go-pdk refuses, together with all the headers beside it
	b = []byte("\x0a\x0f\x0a\x05x-lat\x12\x06\x1a\x04caf\xe9")
	got := headers(t, b)
	if len(got) != 1 || string(got[0].Value) != "caf\xe9" {
		t.Errorf("got %q", got)
	}
}

// aLender is what an exchange with the own user's Kong offers.
type aLender struct{}

func (aLender) WillBlock()               {}
func (aLender) Reserve(int64) bool       { return true }
func (aLender) PeerUID() (uint32, error) { return uint32(os.Geteuid()), nil }

func bodyReply(t *testing.T, r *pb.RawBodyResult) []byte {
	t.Helper()
	b, err := proto.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBodyComesFromTheReplyOrFromKongsFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "0000000001")
	if err := os.WriteFile(file, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	plan := newPlan(request.Fields{Body: true, MaxBody: 11}, "")
	for _, c := range []struct {
		reply *pb.RawBodyResult
		want  string
		err   string
	}{
		{&pb.RawBodyResult{}, "", ""},
		{&pb.RawBodyResult{Kind: &pb.RawBodyResult_Content{Content: []byte("hello")}}, "hello", ""},
		{&pb.RawBodyResult{Kind: &pb.RawBodyResult_Content{Content: []byte("hello world!")}}, "", "above the limit"},
		{&pb.RawBodyResult{Kind: &pb.RawBodyResult_BodyFilepath{BodyFilepath: file}}, "from a file", ""},
		{&pb.RawBodyResult{Kind: &pb.RawBodyResult_BodyFilepath{BodyFilepath: file + "x"}}, "", fmt.Sprintf("could not read the request body from %q", file+"x") + ": no such file or directory; the file must be on a file system"},
		{&pb.RawBodyResult{Kind: &pb.RawBodyResult_Error{Error: "some reason"}}, "", `Kong could not read the request body: "some reason"`},
	} {
		var r scratch
		err := plan.readBody(&r, bodyReply(t, c.reply), aLender{})
		if string(r.request.Body) != c.want {
			t.Errorf("%v: body is %q", c.reply, r.request.Body)
		}
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%v: error is %v, want %s", c.reply, err, c.err)
		}
	}
}

func TestBodyFileAboveTheLimitIsNotRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 1<<40); err != nil { // a hole: reading it would take all memory
		t.Fatal(err)
	}
	var r scratch
	err := newPlan(request.Fields{Body: true, MaxBody: 1 << 20}, "").readBody(&r, bodyReply(t, &pb.RawBodyResult{Kind: &pb.RawBodyResult_BodyFilepath{BodyFilepath: file}}), aLender{})
	if !errors.Is(err, request.ErrTooLarge) {
		t.Errorf("error is %v", err)
	}
	if cap(r.file) != 0 {
		t.Errorf("%d bytes were taken", cap(r.file))
	}
}

func TestResetKeepsNothingOfTheRequest(t *testing.T) {
	s := &scratch{file: make([]byte, 10, 1<<20)}
	s.request.Body = s.file
	s.reset()
	if !reflect.DeepEqual(*s, scratch{}) {
		t.Errorf("left is %+v", s)
	}
}

func FuzzWire(f *testing.F) {
	f.Add([]byte("\x0a\x0f\x0a\x05x-lat\x12\x06\x1a\x04caf\xe9"))
	f.Add([]byte("\x0a\x02hi"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.Clone(b)
		_, _ = parseText(b)
		_, _, _, _ = parseBody(b)
		h, err := appendHeaders(nil, b)
		if !bytes.Equal(in, b) {
			t.Error("the reply was changed")
		}
		s := new(structpb.Struct)
		if proto.Unmarshal(b, s) != nil {
			return
		}
		if err != nil {
			t.Fatalf("go-pdk reads %v, ours says %v", s, err)
		}
		for _, v := range h {
			if _, ok := s.Fields[string(v.Name)]; !ok {
				t.Errorf("%q is in nobody's headers", v.Name)
			}
		}
	})
}

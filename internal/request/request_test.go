package request

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
)

func TestAsksAreNoMoreThanThePartsNeed(t *testing.T) {
	for _, c := range []struct {
		parts            Parts
		asks, byVariable int
	}{
		{Parts{}, 0, 0},
		{Parts{Method: true}, 1, 1},
		{Parts{URI: true}, 2, 1},
		{Parts{Headers: true}, 1, 1},
		{Parts{Body: true}, 2, 2}, // the body, and the headers that say what it is
		{Parts{Headers: true, Body: true}, 2, 2},
		{Parts{Method: true, URI: true, Headers: true, Body: true}, 5, 3},
	} {
		for variable, want := range map[string]int{"": c.asks, "request": c.byVariable} {
			if got := NewPlan(c.parts, 100, variable).Asks().Len(); got != want {
				t.Errorf("%+v: %d asks with %q, want %d", c.parts, got, variable, want)
			}
		}
	}
}

func headers(t *testing.T, b []byte) []Header {
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
	want := []Header{{[]byte("x-a"), []byte("1")}, {[]byte("x-a"), []byte("2")}, {[]byte("x-a"), []byte{}}}
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

func TestHeaderIsTheFirstOfThatName(t *testing.T) {
	r := &Request{Headers: []Header{{[]byte("a"), []byte("1")}, {[]byte("b"), []byte("2")}, {[]byte("b"), []byte("3")}}}
	if got := string(r.Header("b")); got != "2" {
		t.Errorf("b is %q", got)
	}
	if got := r.Header("c"); got != nil {
		t.Errorf("c is %q", got)
	}
}

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
	plan := NewPlan(Parts{Body: true}, 11, "")
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
		var r Request
		err := plan.readBody(&r, bodyReply(t, c.reply), aDoor{})
		if string(r.Body) != c.want {
			t.Errorf("%v: body is %q", c.reply, r.Body)
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
	var r Request
	err := NewPlan(Parts{Body: true}, 1<<20, "").readBody(&r, bodyReply(t, &pb.RawBodyResult{Kind: &pb.RawBodyResult_BodyFilepath{BodyFilepath: file}}), aDoor{})
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("error is %v", err)
	}
	if cap(r.file) != 0 {
		t.Errorf("%d bytes were taken", cap(r.file))
	}
}

func TestBodyFileOfAnotherUserSaysWhatToDo(t *testing.T) {
	err := fileError("/tmp/x", &os.PathError{Op: "open", Path: "/tmp/x", Err: os.ErrPermission})
	for _, want := range []string{"/tmp/x", "run the plugin server as that user", "set nginx_http_client_body_buffer_size"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

func TestResetKeepsNothingOfTheRequest(t *testing.T) {
	r := &Request{Method: []byte("m"), URI: []byte("u"), Query: []byte("q"), Body: []byte("b"),
		Headers: []Header{{[]byte("a"), []byte("b")}}, file: make([]byte, 10, 1<<20)}
	h := r.Headers
	r.Reset()
	if !reflect.DeepEqual(*r, Request{Headers: []Header{}, file: []byte(nil)}) {
		t.Errorf("left is %+v", r)
	}
	if h[0].Name != nil {
		t.Error("a header's bytes are held on to")
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

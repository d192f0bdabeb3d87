package request

import (
	"fmt"
	"strings"
	"testing"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// replies are Kong's to the asks of a plan for all parts.
type replies struct{ method, uri, query, headers, body []byte }

func repliesOf(t testing.TB, headers, body int) replies {
	t.Helper()
	encoded := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for i := range headers {
		s.Fields[fmt.Sprintf("x-header-%d", i)] = structpb.NewStringValue(fmt.Sprintf("value of header %d", i))
	}
	return replies{
		method:  encoded(&pb.String{V: "POST"}),
		uri:     encoded(&pb.String{V: "/orders/v1/items?source=web&trace=on"}),
		query:   encoded(&pb.String{V: "source=web&trace=on"}),
		headers: encoded(s),
		body:    encoded(&pb.RawBodyResult{Kind: &pb.RawBodyResult_Content{Content: []byte(strings.Repeat("x", body))}}),
	}
}

// read is Plan.Read without the conversation.
func (k *replies) read(p *Plan, r *Request) (err error) {
	if r.Method, err = parseText(k.method); err != nil {
		return err
	}
	if r.URI, err = parseText(k.uri); err != nil {
		return err
	}
	if r.Query, err = parseText(k.query); err != nil {
		return err
	}
	if r.Headers, err = appendHeaders(r.Headers, k.headers); err != nil {
		return err
	}
	return p.readBody(r, k.body, aDoor{})
}

func BenchmarkRead(b *testing.B) {
	for _, headers := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("headers=%d", headers), func(b *testing.B) {
			k := repliesOf(b, headers, 1024)
			p := NewPlan(Parts{Method: true, URI: true, Headers: true, Body: true}, 1<<20, "")
			var r Request
			b.ReportAllocs()
			for b.Loop() {
				if err := k.read(p, &r); err != nil {
					b.Fatal(err)
				}
				r.Reset()
			}
		})
	}
}

func TestReadingIntoAUsedRequestAllocatesNothing(t *testing.T) {
	p := NewPlan(Parts{Method: true, URI: true, Headers: true, Body: true}, 1<<20, "")
	var r Request
	for _, headers := range []int{1000, 10, 0} {
		k := repliesOf(t, headers, 1024)
		read := func() {
			if err := k.read(p, &r); err != nil {
				t.Fatal(err)
			}
			r.Reset()
		}
		read()
		if n := testing.AllocsPerRun(100, read); n != 0 {
			t.Errorf("%d headers: %v allocations", headers, n)
		}
	}
}

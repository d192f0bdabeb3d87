package kongpdk

import (
	"fmt"
	"strings"
	"testing"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"kafka-upstream/internal/request"
)

// kongReplies are Kong's to the calls of a plan for all parts.
type kongReplies struct{ method, uri, query, headers, body []byte }

func kongRepliesOf(t testing.TB, headers, body int) kongReplies {
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
	return kongReplies{
		method:  encoded(&pb.String{V: "POST"}),
		uri:     encoded(&pb.String{V: "/orders/v1/items?source=web&trace=on"}),
		query:   encoded(&pb.String{V: "source=web&trace=on"}),
		headers: encoded(s),
		body:    encoded(&pb.RawBodyResult{Kind: &pb.RawBodyResult_Content{Content: []byte(strings.Repeat("x", body))}}),
	}
}

// read is plan.read without the conversation.
func (k *kongReplies) read(p *plan, r *scratch) (err error) {
	if r.request.Method, err = parseText(k.method); err != nil {
		return err
	}
	if r.request.URI, err = parseText(k.uri); err != nil {
		return err
	}
	if r.request.Query, err = parseText(k.query); err != nil {
		return err
	}
	if r.request.Headers, err = appendHeaders(r.request.Headers, k.headers); err != nil {
		return err
	}
	return p.readBody(r, k.body, aLender{})
}

func BenchmarkRead(b *testing.B) {
	for _, headers := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("headers=%d", headers), func(b *testing.B) {
			k := kongRepliesOf(b, headers, 1024)
			p := newPlan(request.Fields{Method: true, URI: true, Headers: true, Body: true, MaxBody: 1 << 20}, "")
			var r scratch
			b.ReportAllocs()
			for b.Loop() {
				if err := k.read(p, &r); err != nil {
					b.Fatal(err)
				}
				r.reset()
			}
		})
	}
}

func BenchmarkFact(b *testing.B) {
	consumer, err := proto.Marshal(&pb.Consumer{Id: "0c526b08-ede8-5178-bef7-1e59d3503ae8", CreatedAt: 1795350560, Username: "anna", CustomId: "17"})
	if err != nil {
		b.Fatal(err)
	}
	for name, c := range map[string]struct {
		call  string
		reply []byte
	}{
		"consumer": {request.CallConsumer, consumer},
		"captures": {request.CallURICaptures, []byte("\x0a\x02eu\x12\x0c\x0a\x06region\x12\x02eu")},
		"variable": {request.CallVariable, []byte("\x0a\x07TLSv1.3")},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := factReaders[c.call](&factBuilder{free: factsFree}, c.reply); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestReadingIntoAUsedRequestAllocatesNothing(t *testing.T) {
	p := newPlan(request.Fields{Method: true, URI: true, Headers: true, Body: true, MaxBody: 1 << 20}, "")
	var r scratch
	for _, headers := range []int{1000, 10, 0} {
		k := kongRepliesOf(t, headers, 1024)
		read := func() {
			if err := k.read(p, &r); err != nil {
				t.Fatal(err)
			}
			r.reset()
		}
		read()
		if n := testing.AllocsPerRun(100, read); n != 0 {
			t.Errorf("%d headers: %v allocations", headers, n)
		}
	}
}

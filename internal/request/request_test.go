package request

import (
	"reflect"
	"testing"
)

func TestHeaderIsTheFirstOfThatName(t *testing.T) {
	r := &Request{Headers: []Header{{[]byte("a"), []byte("1")}, {[]byte("b"), []byte("2")}, {[]byte("b"), []byte("3")}}}
	if got := string(r.Header("b")); got != "2" {
		t.Errorf("b is %q", got)
	}
	if got := r.Header("c"); got != nil {
		t.Errorf("c is %q", got)
	}
}

func TestResetKeepsNothingOfTheRequest(t *testing.T) {
	r := &Request{Method: []byte("m"), URI: []byte("u"), Query: []byte("q"), Body: []byte("b"),
		Headers: []Header{{[]byte("a"), []byte("b")}}, Facts: []FactValue{{Fact{"c", "d"}, "e"}}}
	h, f := r.Headers, r.Facts
	r.Reset()
	if !reflect.DeepEqual(*r, Request{Headers: []Header{}, Facts: []FactValue{}}) {
		t.Errorf("left is %+v", r)
	}
	if h[0].Name != nil || f[0] != (FactValue{}) {
		t.Error("a header's bytes, or a fact, are held on to")
	}
}

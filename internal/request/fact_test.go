package request

import (
	"reflect"
	"testing"
)

func TestKnownFactsAreCallsWithTheNameThatTheyTake(t *testing.T) {
	for f, want := range map[Fact]bool{
		{Call: CallConsumer}:                             true,
		{Call: CallConsumer, Name: "id"}:                 false,
		{Call: CallURICaptures}:                          true,
		{Call: CallVariable, Name: "request_id"}:         true,
		{Call: CallVariable}:                             false,
		{Call: "kong.ctx.shared.get", Name: "a\xff\x00"}: true,
		{Call: "kong.nginx.get_ctx", Name: "x"}:          true,
		{Call: "kong.plugin.get_id"}:                     false, // Kong's protocol has none of these
		{Call: "kong.request.get_id"}:                    false,
		{Call: "kong.log.emerg"}:                         false,
		{Call: "kong.response.exit"}:                     false, // it has these, but they are no facts
		{Call: "kong.request.get_query_arg", Name: "a"}:  false,
		{}: false,
	} {
		if got := KnownFact(f); got != want {
			t.Errorf("%q: %v", f, got)
		}
	}
	for call, named := range KnownCalls() {
		name := ""
		if named {
			name = "x"
		}
		if !KnownFact(Fact{call, name}) {
			t.Errorf("%s is not known", call)
		}
	}
}

func TestMergeWantsWhatEitherWants(t *testing.T) {
	a, b, c := Fact{Call: "a"}, Fact{Call: "b", Name: "1"}, Fact{Call: "b", Name: "2"}
	for name, row := range map[string]struct{ f, g, want Fields }{
		"nothing":       {},
		"all of one":    {f: Fields{true, true, true, true, true, []Fact{a}, 7}, want: Fields{true, true, true, true, true, []Fact{a}, 7}},
		"some of each":  {Fields{Method: true, Headers: true, MaxBody: 1}, Fields{URI: true, Query: true, Body: true, MaxBody: 2}, Fields{true, true, true, true, true, nil, 2}},
		"a fact once":   {Fields{Facts: []Fact{a, b}}, Fields{Facts: []Fact{b, c, a}}, Fields{Facts: []Fact{a, b, c}}},
		"facts of both": {Fields{Facts: []Fact{b}}, Fields{Facts: []Fact{a}}, Fields{Facts: []Fact{b, a}}},
	} {
		if got := row.f.Merge(row.g); !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: %+v, want %+v", name, got, row.want)
		}
		if got := row.g.Merge(row.f); got.Method != row.want.Method || got.URI != row.want.URI || got.Query != row.want.Query || got.Headers != row.want.Headers ||
			got.Body != row.want.Body || got.MaxBody != row.want.MaxBody || len(got.Facts) != len(row.want.Facts) {
			t.Errorf("%s, the other way round: %+v, want %+v", name, got, row.want)
		}
	}
}

// Two configurations that begin with the same list must not write into it.
func TestMergeWritesToNeitherList(t *testing.T) {
	common := make([]Fact, 1, 4)
	common[0] = Fact{Call: "a"}
	f := Fields{Facts: common}
	x, y := f.Merge(Fields{Facts: []Fact{{Call: "x"}}}), f.Merge(Fields{Facts: []Fact{{Call: "y"}}})
	if x.Facts[1].Call != "x" || y.Facts[1].Call != "y" || common[:2][1].Call != "" {
		t.Errorf("merged are %v and %v", x.Facts, y.Facts)
	}
}

func TestFactIsFoundByCallAndName(t *testing.T) {
	r := &Request{Facts: []FactValue{{Fact{"a", ""}, "1"}, {Fact{"b", "x"}, 2.0}, {Fact{"b", "y"}, nil}}}
	for f, want := range map[Fact]any{{Call: "a"}: "1", {"b", "x"}: 2.0, {"b", "y"}: nil, {Call: "b"}: nil, {Call: "c"}: nil} {
		if got := r.Fact(f); got != want {
			t.Errorf("%q: %v", f, got)
		}
	}
}

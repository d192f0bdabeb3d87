package record_test

import (
	"bytes"
	"regexp"
	"testing"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
)

const trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

var newTrace = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-00$`)

func traced(t testing.TB, r *request.Request) map[string]string {
	b, err := record.NewBuilder(record.Options{BodyValue: true, TraceHeaders: true, MaxValue: 1 << 20}, nil)
	if err != nil {
		t.Fatal(err)
	}
	records, _, err := b.Append(nil, r, at, &limit{size: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, h := range records[0].Headers {
		if _, ok := got[h.Key]; ok {
			t.Errorf("%s twice", h.Key)
		}
		got[h.Key] = string(h.Value)
	}
	return got
}

func TestTraceContextIsPassedOn(t *testing.T) {
	const valid = "00-" + trace + "-" + span + "-01"
	for parent, want := range map[string]string{
		valid:                              valid,
		"00-" + trace + "-" + span + "-00": "00-" + trace + "-" + span + "-00",
		"00-" + trace + "-" + span + "-ff": "00-" + trace + "-" + span + "-ff",
		// of a later version, what this one knows
		"cc-" + trace + "-" + span + "-03":     valid,
		"01-" + trace + "-" + span + "-0e-new": "00-" + trace + "-" + span + "-00",
	} {
		got := traced(t, &request.Request{Headers: headers("traceparent: "+parent, "tracestate: a=1", "tracestate: ", "tracestate: b=2", "baggage: x=1", "baggage: y=2")})
		if got["traceparent"] != want || got["tracestate"] != "a=1,b=2" || got["baggage"] != "x=1,y=2" {
			t.Errorf("%s: %v", parent, got)
		}
	}
}

func TestTraceBeginsWithoutAValidTraceparent(t *testing.T) {
	for _, parents := range [][]string{
		nil,
		{""},
		{"00-" + trace + "-" + span + "-01 "},
		{"00-" + trace + "-" + span + "-01-x"},
		{"00-" + trace + "-" + span + "-1"},
		{"00-" + trace + "-" + span},
		{"ff-" + trace + "-" + span + "-01"},
		{"0x-" + trace + "-" + span + "-01"},
		{"00-" + long("0", 32) + "-" + span + "-01"},
		{"00-" + trace + "-" + long("0", 16) + "-01"},
		{"00-4BF92F3577B34DA6A3CE929D0E0E4736-" + span + "-01"},
		{"00-" + trace + "-" + span + "-0G"},
		{"01-" + trace + "-" + span + "-01x"},
		{"00_" + trace + "-" + span + "-01"},
		{"00-" + trace + "-" + span + "-01", "00-" + trace + "-" + span + "-01"}, // two
	} {
		var lines []string
		for _, p := range parents {
			lines = append(lines, "traceparent: "+p)
		}
		got := traced(t, &request.Request{Headers: headers(append(lines, "tracestate: a=1", "baggage: x=1")...)})
		if !newTrace.MatchString(got["traceparent"]) || len(got) != 2 || got["baggage"] != "x=1" {
			t.Errorf("%q: %v", parents, got)
		}
	}
	a, b := traced(t, &request.Request{}), traced(t, &request.Request{})
	if a["traceparent"] == b["traceparent"] {
		t.Error("two traces are the same")
	}
}

func FuzzTraceparent(f *testing.F) {
	f.Add([]byte("00-" + trace + "-" + span + "-01"))
	f.Add([]byte("01-" + trace + "-" + span + "-01-x"))
	valid := regexp.MustCompile(`\A(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}|([0-9a-e][0-9a-f]|f[0-9a-e])-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-(?s:.*))?)\z`)
	zero := regexp.MustCompile(`\A..-(0{32}|.{32}-0{16})-`)
	f.Fuzz(func(t *testing.T, parent []byte) {
		got := traced(t, &request.Request{Headers: []request.Header{{Name: []byte("traceparent"), Value: parent}}})["traceparent"]
		ok := valid.Match(parent) && !zero.Match(parent) && !(bytes.HasPrefix(parent, []byte("00")) && len(parent) != 55)
		if ok != (len(parent) >= 55 && len(got) == 55 && got[3:52] == string(parent[3:52])) {
			t.Errorf("%q becomes %q, valid %v", parent, got, ok)
		}
	})
}

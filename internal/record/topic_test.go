package record_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/request"
)

// headers makes headers of "name: value" lines.
func headers(lines ...string) (h []request.Header) {
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h = append(h, request.Header{Name: []byte(name), Value: []byte(value)})
	}
	return h
}

// recordsOf returns the records that a request becomes with these options.
func recordsOf(t *testing.T, o record.Options, r *request.Request) ([]record.Record, error) {
	t.Helper()
	if o.MaxValue == 0 {
		o.MaxValue = 1 << 20
	}
	if o.Topic == "" {
		o.Topic = "orders"
	}
	if o.SplitLimit == 0 {
		o.SplitLimit = 1000
	}
	o.Forward.Body = true
	b, err := record.NewBuilder(o, jsonmsg.NewEncoder(o.Forward, nil))
	if err != nil {
		t.Fatal(err)
	}
	records, _, err := b.Append(nil, r, time.Unix(1, 0), &limit{size: 1 << 30})
	if err != nil && len(records) > 0 {
		t.Errorf("%d records with the error %v", len(records), err)
	}
	return records, err
}

func reason(err error) string {
	if bad, ok := errors.AsType[*record.BadRequest](err); ok {
		return bad.Reason
	}
	return ""
}

func topicsOf(records []record.Record) (topics []string) {
	for _, r := range records {
		topics = append(topics, r.Topic)
	}
	return topics
}

func TestTopicsOfTheQueryAreAllowedOnes(t *testing.T) {
	o := record.Options{Topic: "orders", TopicsQueryArg: "topic list", AllowedTopics: []string{"a", "b", "c d"}}
	for query, want := range map[string][]string{
		"":                                    {"orders"},
		"topic":                               {"orders"},
		"topics=a":                            {"orders"},
		"topic+list":                          {"orders"}, // Kong's true
		"topic+list=":                         {"orders"},
		"topic%20list=,%20,":                  {"orders"},
		"topic+list=a":                        {"a"},
		"topic+list=a,b":                      {"a", "b"},
		"topic+list=b,a,b,orders":             {"b", "a", "orders"},
		"topic+list=%20a+,,%62":               {"a", "b"},
		"x=1&topic+list=a&topic%20list=b%2ca": {"a", "b"},
		"topic+list=c+d":                      {"c d"},
		"topic+list&topic+list=a":             {"a"},
	} {
		records, err := recordsOf(t, o, &request.Request{Query: []byte(query)})
		if err != nil || !reflect.DeepEqual(topicsOf(records), want) {
			t.Errorf("%s: %q, %v", query, topicsOf(records), err)
		}
	}
}

func TestOneTopicThatIsNotAllowedRefusesTheRequest(t *testing.T) {
	o := record.Options{Topic: "orders", TopicsQueryArg: "t", AllowedTopics: []string{"a"}}
	for query, want := range map[string][]string{
		"t=true":              {"true"},
		"t=a,x,b,orders":      {"x", "b"},
		"t=A":                 {"A"},
		"t=" + long("y", 999): {long("y", 249)},
	} {
		_, err := recordsOf(t, o, &request.Request{Query: []byte(query)})
		bad, ok := errors.AsType[*record.TopicError](err)
		if !ok || !reflect.DeepEqual(bad.Topics, want) {
			t.Errorf("%.20s: %v", query, err)
		}
	}
	_, err := recordsOf(t, o, &request.Request{Query: []byte("t=a,topic3")})
	if err == nil || err.Error() != "sending message to the following topics is not allowed: (topic3)" { // as Kong's
		t.Error(err)
	}
	_, err = recordsOf(t, o, &request.Request{Query: []byte("t=" + long("x,", 30))})
	if bad, ok := errors.AsType[*record.TopicError](err); !ok || len(bad.Topics) != 11 || bad.Topics[10] != "20 more" {
		t.Errorf("many: %v", err)
	}
	if _, err := recordsOf(t, o, &request.Request{Query: []byte("t=" + long("a,", 101))}); reason(err) != "too many topics" {
		t.Errorf("101 topics: %v", err)
	}
	if records, err := recordsOf(t, o, &request.Request{Query: []byte("t=" + long("a,", 100))}); err != nil || len(records) != 1 {
		t.Errorf("100 topics: %v", err)
	}
	if records, err := recordsOf(t, record.Options{TopicsQueryArg: "t"}, &request.Request{Query: []byte("t=orders")}); err != nil || len(records) != 1 {
		t.Errorf("without allowed topics, the topic itself: %v", err)
	}
}

func TestRecordsOfSeveralTopicsShareTheirMemory(t *testing.T) {
	o := record.Options{TopicsQueryArg: "t", AllowedTopics: []string{"a", "b"}, Key: record.KeyOptions{Parts: []record.KeyPart{{From: record.Constant, Name: "k"}}}}
	records, err := recordsOf(t, o, &request.Request{Query: []byte("t=a,b")})
	if err != nil || len(records) != 2 {
		t.Fatal(records, err)
	}
	a, b := records[0], records[1]
	if a.Topic != "a" || b.Topic != "b" || &a.Value[0] != &b.Value[0] || &a.Key[0] != &b.Key[0] {
		t.Errorf("%+v", records)
	}
}

func TestTopicIsMadeOfTheRequest(t *testing.T) {
	o := record.Options{Topic: "orders.{uri_capture.region}-{header.X-Tier}", AllowedTopics: []string{"orders.eu-1", "orders.-1"}}
	in := func(region any, lines ...string) *request.Request {
		return &request.Request{Headers: headers(lines...), Facts: []request.FactValue{{
			Fact:  request.Fact{Call: "kong.request.get_uri_captures"},
			Value: map[string]any{"named": map[string]any{"region": region}, "unnamed": []any{region}}}}}
	}
	records, err := recordsOf(t, o, in("eu", "x-tier: 1"))
	if err != nil || !reflect.DeepEqual(topicsOf(records), []string{"orders.eu-1"}) {
		t.Errorf("%v, %v", records, err)
	}
	if records, err = recordsOf(t, o, in("", "x-tier: 1")); err != nil || records[0].Topic != "orders.-1" {
		t.Errorf("an empty part: %v, %v", records, err)
	}
	if _, err := recordsOf(t, o, in("us", "x-tier: 1")); !reflect.DeepEqual(err, &record.TopicError{Topics: []string{"orders.us-1"}}) {
		t.Errorf("not allowed: %v", err)
	}
	for _, r := range []*request.Request{in(nil, "x-tier: 1"), in("eu"), {}} {
		if _, err := recordsOf(t, o, r); reason(err) != "the request lacks a part of its topic" {
			t.Errorf("a missing part: %v", err)
		}
	}
	o.TopicsQueryArg = "t"
	if records, err := recordsOf(t, o, &request.Request{Query: []byte("t=orders.eu-1")}); err != nil || len(records) != 1 {
		t.Errorf("the query instead: %v", err)
	}
	if _, err := recordsOf(t, o, &request.Request{Query: []byte("t=orders.{uri_capture.region}-{header.X-Tier}")}); err == nil {
		t.Error("the template itself is allowed")
	}
}

func TestOptionsThatCannotBeUsed(t *testing.T) {
	key := func(from record.Source, name string) record.Options {
		return record.Options{Topic: "t", Key: record.KeyOptions{Parts: []record.KeyPart{{From: from, Name: name}}}}
	}
	topic := func(s string) record.Options { return record.Options{Topic: s, AllowedTopics: []string{"a"}} }
	for i, row := range []struct {
		o     record.Options
		words []string // of the error
	}{
		{record.Options{Topic: "t.{header.x}"}, []string{"topic", "allowed_topics"}},
		{topic("t.{header.x"), []string{"{header.x", "closed"}},
		{topic("t.{cookie.x}"), []string{"{cookie.x}", `"cookie"`, "{uri_capture.NAME}"}},
		{topic("t.{header}"), []string{"{header}", "name"}},
		{topic("t.{body}"), []string{"{body}", "SOURCE.NAME"}},
		{topic("t.{constant.x}"), []string{"{constant.x}"}},
		{topic("{consumer.email}"), []string{"email", "custom_id"}},
		{key("cookie", "x"), []string{"record_key", "cookie"}},
		{key(record.FromQuery, ""), []string{"record_key", "query_arg", "name"}},
		{key(record.FromConsumer, "tags"), []string{"tags", "username"}},
		{key(record.FromURICapture, "0"), []string{"from 1"}},
		{key(record.FromBody, "/a~2"), []string{"/a~2", "~0"}},
		{record.Options{Split: "xml"}, []string{"split", "xml", "ndjson"}},
		{record.Options{CloudEvents: "on"}, []string{"cloudevents", "on", "binary"}},
		{record.Options{Headers: record.HeaderOptions{Repeated: "last"}}, []string{"repeated_headers_behavior", "last", "take_first"}},
	} {
		_, err := record.NewBuilder(row.o, jsonmsg.Encoder{})
		if err == nil {
			t.Errorf("%d: no error", i)
			continue
		}
		for _, word := range row.words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%d: %v lacks %q", i, err, word)
			}
		}
	}
	for _, o := range []record.Options{{BodyValue: true}, {CloudEvents: record.CloudEventsBinary}} {
		if _, err := record.NewBuilder(o, jsonmsg.Encoder{}, func(*record.Draft) error { return nil }); err == nil {
			t.Errorf("functions with %+v", o)
		}
	}
}

func TestTopicsAreAllThatARecordCanHave(t *testing.T) {
	for i, row := range []struct {
		o    record.Options
		want []string
	}{
		{record.Options{Topic: "t"}, []string{"t"}},
		{record.Options{Topic: "t", AllowedTopics: []string{"a"}}, []string{"t"}},
		{record.Options{Topic: "t", TopicsQueryArg: "q", AllowedTopics: []string{"a", "t", "a"}}, []string{"t", "a"}},
		{record.Options{Topic: "t.{header.x}", AllowedTopics: []string{"a", "b"}}, []string{"a", "b"}},
	} {
		b, err := record.NewBuilder(row.o, jsonmsg.Encoder{})
		if err != nil || !reflect.DeepEqual(b.Topics(), row.want) {
			t.Errorf("%d: %v, %v", i, b.Topics(), err)
		}
	}
}

func TestNeedsAreWhatIsRead(t *testing.T) {
	key := func(from record.Source, name string) record.Options {
		return record.Options{Key: record.KeyOptions{Parts: []record.KeyPart{{From: from, Name: name}}}}
	}
	consumer, captures := []request.Fact{{Call: "kong.client.get_consumer"}}, []request.Fact{{Call: "kong.request.get_uri_captures"}}
	for i, row := range []struct {
		o    record.Options
		want request.Fields
	}{
		{record.Options{Forward: request.Fields{Method: true, MaxBody: 7}}, request.Fields{Method: true, MaxBody: 7}},
		{record.Options{TopicsQueryArg: "t"}, request.Fields{Query: true}},
		{key(record.FromQuery, "a"), request.Fields{Query: true}},
		{key(record.FromHeader, "a"), request.Fields{Headers: true}},
		{key(record.FromBody, "a"), request.Fields{Body: true}},
		{key(record.FromConsumer, "id"), request.Fields{Facts: consumer}},
		{key(record.FromURICapture, "1"), request.Fields{Facts: captures}},
		{key(record.Constant, "1"), request.Fields{}},
		{record.Options{Topic: "{consumer.id}{uri_capture.1}{consumer.username}", AllowedTopics: []string{"a"}}, request.Fields{Facts: append(consumer[:1:1], captures...)}},
		{record.Options{Headers: record.HeaderOptions{Forward: true}}, request.Fields{}},
		{record.Options{Headers: record.HeaderOptions{Forward: true, All: true}}, request.Fields{Headers: true}},
		{record.Options{Headers: record.HeaderOptions{Forward: true, Include: []string{"a"}}}, request.Fields{Headers: true}},
		{record.Options{TraceHeaders: true}, request.Fields{Headers: true}},
		{record.Options{TimestampHeader: "date"}, request.Fields{Headers: true}},
		{record.Options{Split: record.SplitNDJSON}, request.Fields{Body: true}},
		{record.Options{BodyValue: true, Forward: request.Fields{Method: true, URI: true, MaxBody: 7}}, request.Fields{Body: true, MaxBody: 7}},
		{record.Options{CloudEvents: record.CloudEventsBinary}, request.Fields{Headers: true, Body: true, URI: true}},
		{record.Options{CloudEvents: record.CloudEventsStructured, CloudEventsSource: "/a"}, request.Fields{Headers: true, Body: true}},
	} {
		b, err := record.NewBuilder(row.o, jsonmsg.Encoder{})
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Needs(); !reflect.DeepEqual(got, row.want) && fmt.Sprint(got) != fmt.Sprint(row.want) {
			t.Errorf("%d: %+v, want %+v", i, got, row.want)
		}
	}
}

func long(s string, n int) string { return strings.Repeat(s, n) }

// FuzzTopics: whatever the query, each topic is an allowed one, and comes once.
func FuzzTopics(f *testing.F) {
	f.Add("t=a,b&t=%61+,c")
	f.Add("t&t=&t=,,%2c")
	f.Fuzz(func(t *testing.T, query string) {
		o := record.Options{Topic: "d", MaxValue: 1 << 20, TopicsQueryArg: "t", AllowedTopics: []string{"a", "b", "c"}}
		b, err := record.NewBuilder(o, jsonmsg.Encoder{})
		if err != nil {
			t.Fatal(err)
		}
		records, _, err := b.Append(nil, &request.Request{Query: []byte(query)}, time.Time{}, new(limit))
		if err != nil {
			if bad, ok := errors.AsType[*record.TopicError](err); ok && (len(bad.Topics) > 11 || len(bad.Error()) > 4000) {
				t.Errorf("%d topics in the error", len(bad.Topics))
			}
			return
		}
		if len(records) == 0 || len(records) > 4 {
			t.Fatalf("%d records", len(records))
		}
		seen := map[string]bool{}
		for _, r := range records {
			if seen[r.Topic] || !strings.Contains("abcd", r.Topic) {
				t.Errorf("topics %q", topicsOf(records))
			}
			seen[r.Topic] = true
		}
	})
}

package record_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/request"
)

func values(records []record.Record) (values []string) {
	for _, r := range records {
		values = append(values, string(r.Value))
	}
	return values
}

func TestEachElementIsARecord(t *testing.T) {
	for i, row := range []struct {
		split record.Split
		body  string
		want  []string
	}{
		{record.SplitArray, `[1]`, []string{"1"}},
		{record.SplitArray, " [ {\"a\" : 1} ,\n\"x\",null, [ ] ]\r\n", []string{`{"a" : 1}`, `"x"`, "null", "[ ]"}},
		{record.SplitArray, `["é"]`, []string{`"é"`}},
		{record.SplitNDJSON, "{\"a\":1}\n{\"a\":2}", []string{`{"a":1}`, `{"a":2}`}},
		{record.SplitNDJSON, "\n \t\r\n{\"a\":1}\r\n\r\n [ 2 ] \n3\n", []string{`{"a":1}`, "[ 2 ]", "3"}},
	} {
		for _, mediaType := range []string{"application/json", "application/x-ndjson", ""} {
			r := &request.Request{Body: []byte(row.body)}
			if mediaType != "" {
				r.Headers = headers("content-type: " + mediaType)
			}
			records, err := recordsOf(t, record.Options{Split: row.split, BodyValue: true}, r)
			if err != nil || !reflect.DeepEqual(values(records), row.want) {
				t.Errorf("%d, %s: %q, %v", i, mediaType, values(records), err)
			}
			for _, got := range records {
				if headersText(got.Headers) != "content-type=application/json;" {
					t.Errorf("%d, %s: headers %s", i, mediaType, headersText(got.Headers))
				}
			}
		}
	}
}

func TestElementIsTheBodyOfTheMessage(t *testing.T) {
	r := &request.Request{Body: []byte("{\"id\": 1}\n\"x\"\n"), Headers: headers("host: a", "content-type: application/x-ndjson", "content-type: b", "content-encoding: identity", "x: y")}
	o := record.Options{Split: record.SplitNDJSON, Forward: request.Fields{Headers: true}, Key: keyParts(record.KeyPart{From: record.FromBody, Name: "id"}),
		Headers: record.HeaderOptions{Forward: true, Include: []string{"content-type", "x"}}}
	records, err := recordsOf(t, o, r)
	if err != nil {
		t.Fatal(err)
	}
	const h = `"headers":{"host":"a","content-type":"application/json","x":"y"}`
	if want := []string{"{" + h + `,"body":"{\"id\": 1}","body_args":{"id":1}}`, "{" + h + `,"body":"\"x\""}`}; !reflect.DeepEqual(values(records), want) {
		t.Errorf("%q", values(records))
	}
	if string(records[0].Key) != "1" || records[1].Key != nil || headersText(records[1].Headers) != "content-type=application/json;x=y;" {
		t.Errorf("%+v", records)
	}
}

func TestElementsGoToEachTopic(t *testing.T) {
	o := record.Options{Split: record.SplitArray, TopicsQueryArg: "t", AllowedTopics: []string{"a", "b"}}
	records, err := recordsOf(t, o, &request.Request{Body: []byte("[1,2]"), Query: []byte("t=a,b")})
	if err != nil || !reflect.DeepEqual(topicsOf(records), []string{"a", "b", "a", "b"}) {
		t.Errorf("%v, %v", topicsOf(records), err)
	}
	o = record.Options{Split: record.SplitArray, Topic: "{body.t}", AllowedTopics: []string{"a", "b"}}
	records, err = recordsOf(t, o, post(`[{"t":"b"},{"t":"a"}]`))
	if err != nil || !reflect.DeepEqual(topicsOf(records), []string{"b", "a"}) {
		t.Errorf("by their own bodies: %v, %v", topicsOf(records), err)
	}
	var many []string
	var query string
	for i := range 20 {
		many = append(many, fmt.Sprint("t", i))
		query += "," + many[i]
	}
	o = record.Options{Split: record.SplitArray, TopicsQueryArg: "t", AllowedTopics: many}
	if _, err := recordsOf(t, o, &request.Request{Body: []byte("[1" + long(",1", 999) + "]"), Query: []byte("t=" + query)}); err != record.ErrTooMany {
		t.Errorf("20000 records: %v", err)
	}
}

func TestElementsHaveTheTimeAndTheTraceOfTheirRequest(t *testing.T) {
	o := record.Options{Split: record.SplitArray, TraceHeaders: true, TimestampHeader: "date"}
	r := post("[1,2]")
	r.Headers = append(r.Headers, headers("date: 7")...)
	records, err := recordsOf(t, o, r)
	if err != nil || len(records) != 2 {
		t.Fatal(records, err)
	}
	if a, b := records[0], records[1]; a.Time.Unix() != 7 || !a.Time.Equal(b.Time) || headersText(a.Headers) != headersText(b.Headers) || len(a.Headers) != 1 {
		t.Errorf("%+v", records)
	}
}

func TestBodyThatCannotBeSplitIsRejected(t *testing.T) {
	for i, row := range []struct {
		split record.Split
		body  string
		want  string
	}{
		{record.SplitArray, "", "the body has no records"},
		{record.SplitArray, " \n", "the body has no records"},
		{record.SplitArray, "[ ]", "the body has no records"},
		{record.SplitArray, `{"a":1}`, "the body is not a json array"},
		{record.SplitArray, `"[1]"`, "the body is not a json array"},
		{record.SplitArray, `{"a":1`, "invalid json body"},
		{record.SplitArray, "[1,]", "invalid json body"},
		{record.SplitArray, "[1", "invalid json body"},
		{record.SplitArray, "[1] 2", "invalid json body"},
		{record.SplitArray, "[1\xff]", "json body is not utf-8"},
		{record.SplitArray, "[" + long("[", 1000), "json body is nested too deep"},
		{record.SplitNDJSON, "", "the body has no records"},
		{record.SplitNDJSON, "\r\n \n", "the body has no records"},
		{record.SplitNDJSON, "1\n\n{\"a\"\n2", "line 3: invalid json body"},
		{record.SplitNDJSON, "1 2", "line 1: invalid json body"},
		{record.SplitNDJSON, "[\n1]", "line 1: invalid json body"},
		{record.SplitNDJSON, "1\n" + long("[", 1000), "line 2: json body is nested too deep"},
	} {
		if _, err := recordsOf(t, record.Options{Split: row.split, BodyValue: true}, post(row.body)); reason(err) != row.want {
			t.Errorf("%d: %v, want %s", i, err, row.want)
		}
	}
	coded := post("[1]")
	coded.Headers = append(coded.Headers, headers("content-encoding: gzip")...)
	if _, err := recordsOf(t, record.Options{Split: record.SplitArray}, coded); reason(err) != "a body with a content encoding cannot be split" {
		t.Errorf("coded: %v", err)
	}
	k := keyParts(record.KeyPart{From: record.FromBody, Name: "/id"})
	k.Required = true
	if _, err := recordsOf(t, record.Options{Split: record.SplitArray, Key: k}, post(`[{"id":1},{}]`)); reason(err) != "record 2: the request lacks a part of its record key" {
		t.Errorf("a key is missing: %v", err)
	}
}

func TestSplitHasALimit(t *testing.T) {
	for split, separator := range map[record.Split]string{record.SplitArray: ",", record.SplitNDJSON: "\n"} {
		body := func(n int) *request.Request {
			text := "1" + long(separator+"1", n-1)
			if split == record.SplitArray {
				text = "[" + text + "]"
			}
			return post(text)
		}
		o := record.Options{Split: split, SplitLimit: 3, BodyValue: true}
		if records, err := recordsOf(t, o, body(3)); err != nil || len(records) != 3 {
			t.Errorf("%s: %v", split, err)
		}
		if _, err := recordsOf(t, o, body(4)); err != record.ErrTooMany {
			t.Errorf("%s, one more: %v", split, err)
		}
		o.MaxValue = 2 + len("content-typeapplication/json")
		if _, err := recordsOf(t, o, post("[1,\n123]")); err == nil {
			t.Errorf("%s: a value above the limit", split)
		}
	}
	o := record.Options{Split: record.SplitArray, BodyValue: true, MaxValue: 2 + len("content-typeapplication/json")}
	if records, err := recordsOf(t, o, post("[1,12,3,4]")); err != nil || len(records) != 4 {
		t.Errorf("a body above the limit of a record: %v", err)
	}
	if _, err := recordsOf(t, o, post("[1,123]")); err != request.ErrTooLarge {
		t.Errorf("an element above it: %v", err)
	}
}

// A small body may become many times its size: each of its records has all of the headers.
func TestAllThatABodyIsSplitIntoCountsAgainstTheMemoryLimit(t *testing.T) {
	o := record.Options{Topic: "t", Split: record.SplitArray, SplitLimit: 1000, MaxValue: 1 << 20, Forward: request.Fields{Headers: true, Body: true}}
	b, err := record.NewBuilder(o, jsonmsg.NewEncoder(o.Forward, nil))
	if err != nil {
		t.Fatal(err)
	}
	r := post("[1" + long(",1", 999) + "]")
	r.Headers = append(r.Headers, headers("x: "+long("x", 1000))...)
	l := &limit{size: 1 << 30}
	records, _, err := b.Append(nil, r, time.Time{}, l)
	total := int64(0)
	for i := range records {
		total += int64(len(records[i].Value))
	}
	if err != nil || total < 1000*1000 || l.taken < total {
		t.Errorf("%d of %d bytes are taken, %v", l.taken, total, err)
	}
	if _, _, err := b.Append(nil, r, time.Time{}, &limit{size: 100 << 10}); err != memory.ErrFull {
		t.Errorf("without memory: %v", err)
	}
}

func TestTransformsChangeEachElement(t *testing.T) {
	o := record.Options{Topic: "t", Split: record.SplitArray, SplitLimit: 10, MaxValue: 1 << 20, Forward: request.Fields{Body: true}}
	n := 0
	failed := &record.TransformError{Reason: "x"}
	b, err := record.NewBuilder(o, jsonmsg.NewEncoder(o.Forward, nil), func(d *record.Draft) error {
		n++
		d.Log = append(d.Log, record.LogLine{Level: "info", Text: string(d.Request.Body)})
		switch string(d.Request.Body) {
		case "1":
			d.Message, d.Final = []byte("one"), true
		case "2":
			d.Skip = true
		case "3":
			d.Message = append(d.Message, ' ')
			d.Headers = append(d.Headers, record.Header{Key: "h", Value: []byte("v")})
		case "4":
			return failed
		case "5":
			d.Message, d.Final = nil, true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	records, log, err := b.Append(nil, post("[1,2,3,5]"), at, &limit{size: 1 << 20})
	if err != nil || !reflect.DeepEqual(values(records), []string{"one", `{"body":"3"} `, ""}) || len(log) != 4 || log[3].Text != "5" {
		t.Errorf("%q, %v, %v", values(records), log, err)
	}
	if records[0].Headers != nil || headersText(records[1].Headers) != "h=v;" || records[2].Headers != nil || records[2].Value == nil {
		t.Errorf("%+v", records)
	}
	if records, log, err := b.Append(nil, post("[2]"), at, &limit{size: 1 << 20}); err != nil || len(records) != 0 || len(log) != 1 {
		t.Errorf("all are skipped: %v, %v, %v", records, log, err)
	}
	n = 0
	records, log, err = b.Append(nil, post("[1,4,3]"), at, &limit{size: 1 << 20})
	if !errors.Is(err, failed) || len(records) != 0 || len(log) != 2 || n != 2 {
		t.Errorf("one fails: %v, %v, %v after %d", records, log, err, n)
	}
}

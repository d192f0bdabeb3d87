package record_test

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/request"
)

const (
	structuredType = "application/cloudevents+json; charset=UTF-8"
	binaryLines    = "ce-specversion: 1.0\nce-id: 1\nce-source: /a\nce-type: t"
)

func eventRequest(body, lines string) *request.Request {
	return &request.Request{URI: []byte("/orders/a b?x=1"), Body: []byte(body), Headers: headers(strings.Split(lines, "\n")...)}
}

// eventHeaders returns the headers of a record by name; a name twice is an error.
func eventHeaders(t *testing.T, r record.Record) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, h := range r.Headers {
		if _, ok := all[h.Key]; ok {
			t.Errorf("%s twice", h.Key)
		}
		all[h.Key] = string(h.Value)
	}
	return all
}

// The same event, in either mode, becomes the same record.
func TestEventsBecomeBinaryRecords(t *testing.T) {
	o := record.Options{CloudEvents: record.CloudEventsBinary}
	base := map[string]string{"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/a", "ce_type": "t"}
	with := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for k, v := range base {
			m[k] = v
		}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	const attributes = `"specversion":"1.0","id":"1","source":"/a","type":"t"`
	for i, row := range []struct {
		r       *request.Request
		headers map[string]string
		value   string
		key     string
	}{
		{eventRequest(`{"x": 1}`, "content-type: application/json\n"+binaryLines+"\nce-subject: Euro%20%E2%82%ac%20%F0%9F%98%80\nce-ext1: \"a \\\"b\\\"%25\"\nx: y"),
			with("content-type", "application/json", "ce_subject", "Euro € 😀", "ce_ext1", `a "b"%`), `{"x": 1}`, none},
		{eventRequest("\xff\x00", binaryLines+"\nce-partitionkey: k%201\nce-time: 2018-04-05T17:31:00Z"),
			with("ce_partitionkey", "k 1", "ce_time", "2018-04-05T17:31:00Z"), "\xff\x00", "k 1"},
		{eventRequest("x", "content-type: text/plain\ncontent-encoding: gzip\n"+binaryLines), with("content-type", "text/plain", "content-encoding", "gzip"), "x", none},
		{eventRequest(`{`+attributes+`,"data" : {"x": [1] } }`, "content-type: "+structuredType), with("content-type", "application/json"), `{"x": [1] }`, none},
		{eventRequest(`{`+attributes+`,"datacontenttype":"text/xml","data":"<a b=\"\u00e9\"/>","ext":5,"flag":true,"unset":null,"partitionkey":"k"}`, "content-type: application/CloudEvents+JSON"),
			with("content-type", "text/xml", "ce_ext", "5", "ce_flag", "true", "ce_partitionkey", "k"), `<a b="é"/>`, "k"},
		{eventRequest(`{`+attributes+`,"data_base64":"AP8="}`, "content-type: "+structuredType), base, "\x00\xff", none},
		{eventRequest(`{`+attributes+`,"data_base64":"`+base64.StdEncoding.EncodeToString([]byte(long("0123456789", 9999)))+`"}`, "content-type: "+structuredType), base, long("0123456789", 9999), none},
		{eventRequest(`{`+attributes+`,"datacontenttype":"application/x+json","data":"text"}`, "content-type: "+structuredType), with("content-type", "application/x+json"), `"text"`, none},
		{eventRequest(`{`+attributes+`,"data":1,"data_base64":null}`, "content-type: "+structuredType), with("content-type", "application/json"), "1", none},
		{eventRequest(`{`+attributes+`,"data":null}`, "content-type: "+structuredType), with("content-type", "application/json"), "null", none},
		{eventRequest(`{`+attributes+`}`, "content-type: "+structuredType), base, "", none},
	} {
		records, err := recordsOf(t, o, row.r)
		if err != nil {
			t.Errorf("%d: %v", i, err)
			continue
		}
		got := records[0]
		key := none
		if got.Key != nil {
			key = string(got.Key)
		}
		if all := eventHeaders(t, got); !reflect.DeepEqual(all, row.headers) || string(got.Value) != row.value || got.Value == nil || key != row.key {
			t.Errorf("%d: %q, %q, %q", i, all, got.Value, got.Key)
		}
	}
	o.Tombstones = true
	for _, r := range []*request.Request{eventRequest(`{`+attributes+`}`, "content-type: "+structuredType), eventRequest("", binaryLines)} {
		if records, err := recordsOf(t, o, r); err != nil || records[0].Value != nil {
			t.Errorf("no data: %+v, %v", records, err)
		}
	}
}

func TestEventsBecomeStructuredRecords(t *testing.T) {
	o := record.Options{CloudEvents: record.CloudEventsStructured}
	const attributes = `"specversion":"1.0","id":"1","source":"/a","type":"t"`
	for i, row := range []struct {
		r    *request.Request
		want string
	}{
		{eventRequest(` { "x": 1 }`, "content-type: application/json\n"+binaryLines), `{` + attributes + `,"datacontenttype":"application/json","data":{ "x": 1 }}`},
		{eventRequest(`1`, "content-type: application/vnd.a+json\n"+binaryLines+"\nce-ext: %22"), `{` + attributes + `,"ext":"\"","datacontenttype":"application/vnd.a+json","data":1}`},
		{eventRequest("a\"\né", "content-type: text/plain\n"+binaryLines), `{` + attributes + `,"datacontenttype":"text/plain","data":"a\"\né"}`},
		{eventRequest("a\xff", "content-type: text/plain\n"+binaryLines), `{` + attributes + `,"datacontenttype":"text/plain","data_base64":"Yf8="}`},
		{eventRequest("text", binaryLines), `{` + attributes + `,"data_base64":"dGV4dA=="}`},
		{eventRequest("", "content-type: application/json\n"+binaryLines), `{` + attributes + `,"datacontenttype":"application/json"}`},
	} {
		records, err := recordsOf(t, o, row.r)
		if err != nil || string(records[0].Value) != row.want || headersText(records[0].Headers) != "content-type="+structuredType+";" {
			t.Errorf("%d: %+v, %v", i, records, err)
		}
	}
	whole := ` {` + attributes + `,"data_base64":"AP8=", "unset":null}`
	if records, err := recordsOf(t, o, eventRequest(whole, "content-type: application/cloudevents+json")); err != nil || string(records[0].Value) != whole {
		t.Errorf("as it came: %v, %v", records, err)
	}
}

func TestOtherRequestsBecomeEvents(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	o := record.Options{CloudEvents: record.CloudEventsBinary, TimestampHeader: "date"}
	r := eventRequest("x", "content-type: text/plain\ndate: 1700000000.25")
	records, err := recordsOf(t, o, r)
	if err != nil {
		t.Fatal(err)
	}
	got := eventHeaders(t, records[0])
	if !uuid.MatchString(got["ce_id"]) {
		t.Errorf("the id is %s", got["ce_id"])
	}
	delete(got, "ce_id")
	want := map[string]string{"content-type": "text/plain", "ce_specversion": "1.0", "ce_source": "/orders/a%20b", "ce_type": "http.request", "ce_time": "2023-11-14T22:13:20.250Z"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	o = record.Options{CloudEvents: record.CloudEventsStructured, CloudEventsSource: "urn:a", CloudEventsType: "com.example.b", Split: record.SplitArray}
	records, err = recordsOf(t, o, eventRequest("[1,2]", "content-type: text/plain"))
	if err != nil || len(records) != 2 {
		t.Fatal(records, err)
	}
	ids := map[any]bool{}
	for i, r := range records {
		var event map[string]any
		if err := json.Unmarshal(r.Value, &event); err != nil {
			t.Fatal(err)
		}
		ids[event["id"]] = true
		delete(event, "id")
		if want := map[string]any{"specversion": "1.0", "source": "urn:a", "type": "com.example.b", "time": "1970-01-01T00:00:01.000Z", "datacontenttype": "application/json", "data": float64(i + 1)}; !reflect.DeepEqual(event, want) {
			t.Errorf("%d: %v", i, event)
		}
	}
	if len(ids) != 2 {
		t.Errorf("ids %v", ids)
	}
}

func TestBatchedEventsAreSplit(t *testing.T) {
	const batch = "content-type: application/cloudevents-batch+json; charset=utf-8"
	body := `[{"specversion":"1.0","id":"1","source":"/a","type":"t","data":1}, {"specversion":"1.0","id":"2","source":"/a","type":"t","partitionkey":"k"}]`
	o := record.Options{CloudEvents: record.CloudEventsBinary, Split: record.SplitArray}
	records, err := recordsOf(t, o, eventRequest(body, batch))
	if err != nil || len(records) != 2 || eventHeaders(t, records[1])["ce_id"] != "2" || string(records[0].Value) != "1" || string(records[1].Key) != "k" {
		t.Errorf("%+v, %v", records, err)
	}
	if _, err := recordsOf(t, o, eventRequest(`[{"specversion":"1.0","id":"1","source":"/a","type":"t"},{"id":"2"}]`, batch)); reason(err) != "record 2: the cloudevent lacks id, source or type" {
		t.Errorf("one is not valid: %v", err)
	}
	for _, split := range []record.Split{record.SplitNone, record.SplitNDJSON} {
		o.Split = split
		if _, err := recordsOf(t, o, eventRequest(body, batch)); reason(err) != "batched cloudevents are not accepted" {
			t.Errorf("%s: %v", split, err)
		}
	}
	// One event is one record.
	o.Split = record.SplitArray
	if records, err := recordsOf(t, o, eventRequest("[1,2]", binaryLines)); err != nil || len(records) != 1 || string(records[0].Value) != "[1,2]" {
		t.Errorf("an event whose data is an array: %v, %v", records, err)
	}
}

func TestInvalidEventsAreRejected(t *testing.T) {
	structured := func(s string) *request.Request { return eventRequest(s, "content-type: application/cloudevents+json") }
	const attributes = `"specversion":"1.0","id":"1","source":"/a","type":"t"`
	for want, requests := range map[string][]*request.Request{
		"the cloudevent lacks id, source or type": {
			eventRequest("", "ce-specversion: 1.0"), eventRequest("", "ce-id: 1"), eventRequest("", "ce-source: 1"), eventRequest("", "ce-type: 1"),
			eventRequest("", "ce-specversion: 1.0\nce-id: \nce-source: /a\nce-type: t"), structured("{}"), structured(`{"specversion":"1.0","id":null,"source":"a","type":"t"}`)},
		"the specversion of the cloudevent is not 1.0": {
			eventRequest("", "ce-specversion: 0.3\nce-id: 1\nce-source: /a\nce-type: t"), structured(`{"specversion":"1.1"}`)},
		"the cloudevent has an attribute whose name is not valid": {
			eventRequest("", binaryLines+"\nce-a-b: 1"), eventRequest("", binaryLines+"\nce-: 1"), eventRequest("", binaryLines+"\nce-data: 1"), eventRequest("", binaryLines+"\nce-datacontenttype: a/b"),
			structured(`{` + attributes + `,"aB":"1"}`), structured(`{` + attributes + `,"":"1"}`), structured(`{` + attributes + `,"\u0061":"1"}`)},
		"the cloudevent has an attribute whose value is not valid": {
			eventRequest("", binaryLines+"\nce-x: %C0%A0"), eventRequest("", binaryLines+"\nce-x: a%0Ab"), eventRequest("", binaryLines+"\nce-x: %c2%80"), eventRequest("", binaryLines+"\nce-time: yesterday"),
			eventRequest("", binaryLines+"\nce-subject: "), eventRequest("", binaryLines+"\nce-partitionkey: "), eventRequest("", binaryLines+"\ncontent-type: a\xff"),
			structured(`{` + attributes + `,"x":{}}`), structured(`{` + attributes + `,"x":[]}`), structured(`{` + attributes + `,"x":1.5}`), structured(`{` + attributes + `,"x":2147483648}`),
			structured(`{"specversion":1.0,"id":"1","source":"/a","type":"t"}`), structured(`{` + attributes + `,"partitionkey":1}`), structured(`{` + attributes + `,"datacontenttype":1}`), structured(`{` + attributes + `,"datacontenttype":""}`)},
		"the cloudevent has too many attributes, or one of them twice": {
			eventRequest("", binaryLines+"\nce-id: 1"), structured(`{` + attributes + `,"x":"1","x":"2"}`), structured(`{` + attributes + `,"data":1,"data":2}`),
			eventRequest("", binaryLines+manyAttributes())},
		"the data of the cloudevent is not what its content type says": {
			structured(`{` + attributes + `,"data_base64":"*"}`), structured(`{` + attributes + `,"data_base64":1}`), structured(`{` + attributes + `,"datacontenttype":"text/plain","data":1}`)},
		"invalid cloudevent": {structured("[]"), structured("1"), structured(`{` + attributes + `,"data":1,"data_base64":"AA=="}`)},
		"invalid json body":  {structured(""), structured("{"), structured(`{` + attributes + `}x`)},
		"cloudevents are accepted in binary mode, or as json": {
			eventRequest("", "content-type: application/cloudevents+avro"), eventRequest("", "content-type: application/cloudevents"), eventRequest("", "content-type: application/cloudevents-batch+avro")},
		"a cloudevent with a content encoding is not accepted": {
			eventRequest("", "content-type: application/cloudevents+json\ncontent-encoding: gzip")},
	} {
		for i, r := range requests {
			for _, mode := range []record.CloudEvents{record.CloudEventsBinary, record.CloudEventsStructured} {
				if _, err := recordsOf(t, record.Options{CloudEvents: mode}, r); reason(err) != want {
					t.Errorf("%s, %d, %s: %v", want, i, mode, err)
				}
			}
		}
	}
	o := record.Options{CloudEvents: record.CloudEventsStructured}
	if _, err := recordsOf(t, o, eventRequest("{", "content-type: application/json\n"+binaryLines)); reason(err) != "invalid json body" {
		t.Errorf("data that is not JSON: %v", err)
	}
	if _, err := recordsOf(t, o, eventRequest("x", "content-encoding: gzip\n"+binaryLines)); reason(err) != "a cloudevent with a content encoding is not accepted" {
		t.Errorf("data with a coding: %v", err)
	}
}

func manyAttributes() (lines string) {
	for i := range 100 {
		lines += "\nce-x" + strings.Repeat("x", i) + ": 1"
	}
	return lines
}

func TestKeyOfTheConfigurationComesBeforeThePartitionKey(t *testing.T) {
	o := record.Options{CloudEvents: record.CloudEventsBinary, Key: keyParts(record.KeyPart{From: record.FromHeader, Name: "k"})}
	if records, err := recordsOf(t, o, eventRequest("", binaryLines+"\nce-partitionkey: p")); err != nil || records[0].Key != nil {
		t.Errorf("%v, %v", records, err)
	}
}

// FuzzEvents: whatever the request, a record in structured mode is an event in JSON with the
// attributes that it must have, and the same request has them as headers in binary mode.
func FuzzEvents(f *testing.F) {
	f.Add("1.0", "1", "%2Fa", "t", "ext", "\"a%20\\\"\"", "application/json", `{"a":1}`)
	f.Add("1.0", "1", "/a", "t", "time", "2018-04-05T17:31:00Z", "text/plain", "x")
	f.Add("", "", "", "", "", "", "application/cloudevents+json", `{"specversion":"1.0","id":"1","source":"/a","type":"t","data_base64":"AP8=","x":1}`)
	builders := map[record.CloudEvents]*record.Builder{}
	for _, mode := range []record.CloudEvents{record.CloudEventsBinary, record.CloudEventsStructured} {
		b, err := record.NewBuilder(record.Options{Topic: "t", CloudEvents: mode, MaxValue: 1 << 20}, jsonmsg.Encoder{})
		if err != nil {
			f.Fatal(err)
		}
		builders[mode] = b
	}
	f.Fuzz(func(t *testing.T, version, id, source, kind, name, value, mediaType, body string) {
		r := &request.Request{URI: []byte("/" + name), Body: []byte(body)}
		add := func(name, value string) {
			if value != "" {
				r.Headers = append(r.Headers, request.Header{Name: []byte(name), Value: []byte(value)})
			}
		}
		add("content-type", mediaType)
		add("ce-specversion", version)
		add("ce-id", id)
		add("ce-source", source)
		add("ce-type", kind)
		add("ce-"+name, value)
		structured, _, err := builders[record.CloudEventsStructured].Append(nil, r, time.Unix(1, 0), &limit{size: 1 << 30})
		if err != nil {
			return
		}
		var event map[string]any
		if err := json.Unmarshal(structured[0].Value, &event); err != nil {
			t.Fatalf("%q: %v", structured[0].Value, err)
		}
		binary, _, err := builders[record.CloudEventsBinary].Append(nil, r, time.Unix(1, 0), &limit{size: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		all := eventHeaders(t, binary[0])
		for _, name := range []string{"specversion", "id", "source", "type"} {
			text, _ := event[name].(string)
			if text == "" || name != "id" && all["ce_"+name] != text {
				t.Errorf("%s is %q in %s, and %q", name, text, structured[0].Value, all["ce_"+name])
			}
		}
	})
}

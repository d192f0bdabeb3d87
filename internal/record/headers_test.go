package record_test

import (
	"fmt"
	"strings"
	"testing"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
)

// headersText returns record headers as "name=value" in their order.
func headersText(h []record.Header) string {
	var b strings.Builder
	for _, h := range h {
		fmt.Fprintf(&b, "%s=%s;", h.Key, h.Value)
	}
	return b.String()
}

func TestRecordHeaders(t *testing.T) {
	r := &request.Request{Headers: headers("host: a", "x-tenant-id: t1", "x-request-id: r1", "x-request-id: r2", "x-request-id: ", "cookie: c", "x-consumer-username: alice")}
	names := map[string]string{"X-Request-ID": "trace-id", "x-tenant-id": "tenant", "cookie": "unasked"}
	for i, row := range []struct {
		o    record.HeaderOptions
		want string
	}{
		{record.HeaderOptions{}, ""},
		{record.HeaderOptions{Forward: true}, ""}, // as in Kong: an empty list
		{record.HeaderOptions{Include: []string{"host"}}, ""},
		{record.HeaderOptions{Forward: true, Include: []string{"X-Tenant-ID", "host", "absent"}, Exclude: []string{"host"}}, "host=a;x-tenant-id=t1;"},
		{record.HeaderOptions{Forward: true, Include: []string{"x-request-id"}}, "x-request-id=r1;x-request-id=r2;x-request-id=;"},
		{record.HeaderOptions{Forward: true, Include: []string{"x-request-id"}, Repeated: "retain_duplicates"}, "x-request-id=r1;x-request-id=r2;x-request-id=;"},
		{record.HeaderOptions{Forward: true, Include: []string{"x-request-id"}, Repeated: "concatenate_by_comma"}, "x-request-id=r1,r2,;"},
		{record.HeaderOptions{Forward: true, Include: []string{"x-request-id"}, Repeated: "take_first"}, "x-request-id=r1;"},
		{record.HeaderOptions{Forward: true, Include: []string{"x-request-id", "x-tenant-id"}, Names: names, Repeated: "take_first"}, "tenant=t1;trace-id=r1;"},
		{record.HeaderOptions{Forward: true, All: true, Include: []string{"host"}, Exclude: []string{"Cookie", "HOST"}, Names: names}, "tenant=t1;trace-id=r1;trace-id=r2;trace-id=;x-consumer-username=alice;"},
		{record.HeaderOptions{Forward: true, All: true, Repeated: "concatenate_by_comma"}, "host=a;x-tenant-id=t1;x-request-id=r1,r2,;cookie=c;x-consumer-username=alice;"},
	} {
		records, err := recordsOf(t, record.Options{Headers: row.o}, r)
		if err != nil || headersText(records[0].Headers) != row.want {
			t.Errorf("%d: %s, want %s, %v", i, headersText(records[0].Headers), row.want, err)
		}
	}
}

func TestHeadersThatTheBuilderSetsAreNotForwarded(t *testing.T) {
	r := &request.Request{Headers: headers("content-type: text/plain", "content-encoding: identity", "traceparent: bad", "tracestate: a=1", "baggage: b=1", "ce_id: forged", "ce-foo: x", "x: 1"), Body: []byte("b")}
	all := record.HeaderOptions{Forward: true, All: true, Names: map[string]string{"x": "content-type"}}
	for i, row := range []struct {
		o    record.Options
		want string
	}{
		{record.Options{BodyValue: true, Headers: all}, "traceparent=bad;tracestate=a=1;baggage=b=1;ce_id=forged;ce-foo=x;content-type=text/plain;"},
		{record.Options{CloudEvents: record.CloudEventsStructured, Headers: record.HeaderOptions{Forward: true, All: true}}, "traceparent=bad;tracestate=a=1;baggage=b=1;x=1;content-type=application/cloudevents+json; charset=UTF-8;"},
		{record.Options{CloudEvents: record.CloudEventsStructured, Headers: record.HeaderOptions{Forward: true, Include: []string{"x"}, Names: map[string]string{"x": "ce_id"}}}, "content-type=application/cloudevents+json; charset=UTF-8;"},
		{record.Options{Headers: record.HeaderOptions{Forward: true, Include: []string{"traceparent", "x"}}, TraceHeaders: true}, "x=1;traceparent=NEW;baggage=b=1;"},
	} {
		records, err := recordsOf(t, row.o, r)
		if err != nil {
			t.Fatal(err)
		}
		for k, h := range records[0].Headers {
			if h.Key == "traceparent" && len(h.Value) == 55 {
				records[0].Headers[k].Value = []byte("NEW")
			}
		}
		if got := headersText(records[0].Headers); got != row.want {
			t.Errorf("%d: %s, want %s", i, got, row.want)
		}
	}
}

func TestBodyIsTheValue(t *testing.T) {
	for i, row := range []struct {
		lines      []string
		body       []byte
		tombstones bool
		value      string
		null       bool
		headers    string
	}{
		{[]string{"content-type: application/json; charset=utf-8"}, []byte(" {\xff not json\x00"), false, " {\xff not json\x00", false, "content-type=application/json; charset=utf-8;"},
		{[]string{"content-type: a", "content-type: b", "content-encoding: gzip"}, []byte("x"), true, "x", false, "content-type=a;content-encoding=gzip;"},
		{nil, nil, false, "", false, ""},
		{nil, nil, true, "", true, ""},
		{[]string{"content-type: text/plain"}, []byte{}, true, "", true, "content-type=text/plain;"},
	} {
		r := &request.Request{Body: row.body, Headers: headers(row.lines...)}
		records, err := recordsOf(t, record.Options{BodyValue: true, Tombstones: row.tombstones}, r)
		if err != nil || len(records) != 1 {
			t.Fatal(records, err)
		}
		clear(row.body)
		got := records[0]
		if string(got.Value) != row.value || (got.Value == nil) != row.null || headersText(got.Headers) != row.headers {
			t.Errorf("%d: %q, null %v, %s", i, got.Value, got.Value == nil, headersText(got.Headers))
		}
	}
}

package record_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/request"
)

// FuzzAppend: whatever the options and the request, records have an allowed topic, a value
// within the limit, and memory of their own; errors are those that Append has.
func FuzzAppend(f *testing.F) {
	f.Add(uint32(0), "k=1&t=a,b", "content-type: application/json\nx: 1\nx: 2", `[{"id":1},{"id":"\u00fc"}]`)
	f.Add(uint32(0xffffffff), "t=a", "content-type: application/cloudevents-batch+json", `[{"specversion":"1.0","id":"1","source":"/a","type":"t","data_base64":"AP8="}]`)
	f.Add(uint32(0x0f0f), "", binaryLines+"\ncontent-type: multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=id\r\n\r\n1\r\n--b--")
	f.Fuzz(func(t *testing.T, bits uint32, query, lines, body string) {
		bit := func(n int) bool { return bits>>n&1 == 1 }
		pick := func(n int, of ...string) string { return of[int(bits>>n&3)%len(of)] }
		o := record.Options{Topic: "t", MaxValue: 200, SplitLimit: 3, BodyValue: bit(0), Tombstones: bit(1), TraceHeaders: bit(2),
			Forward:     request.Fields{Method: bit(3), URI: bit(4), Headers: bit(5), Body: true},
			Split:       record.Split(pick(6, "none", "json_array", "ndjson")),
			CloudEvents: record.CloudEvents(pick(8, "off", "binary", "structured", "off")),
			Headers:     record.HeaderOptions{Forward: bit(10), All: bit(11), Include: []string{"x"}, Names: map[string]string{"x": "y"}, Repeated: pick(12, "", "take_first", "concatenate_by_comma")},
		}
		if bit(14) {
			o.TopicsQueryArg, o.AllowedTopics = "t", []string{"a", "b"}
		}
		if bit(15) {
			o.Topic, o.AllowedTopics = "{query_arg.k}", []string{"1", "a", "b"}
		}
		if bit(16) {
			o.TimestampHeader = "date"
		}
		for i, part := range []record.KeyPart{{From: record.FromQuery, Name: "k"}, {From: record.FromHeader, Name: "x"}, {From: record.FromBody, Name: "id"}, {From: record.FromBody, Name: "/a/0"}} {
			if bit(17 + i) {
				o.Key.Parts = append(o.Key.Parts, part)
			}
		}
		o.Key.Required = bit(21)
		if bit(22) && (o.CloudEvents == "" || o.CloudEvents == record.CloudEventsOff) {
			o.ValueSerializer, o.KeySerializer = serializer{schema: "V"}, serializer{schema: "K"}
		}
		b, err := record.NewBuilder(o, jsonmsg.NewEncoder(o.Forward, nil))
		if err != nil {
			t.Fatal(err)
		}
		r := &request.Request{URI: []byte("/?" + query), Query: []byte(query), Body: []byte(body)}
		for line := range strings.SplitSeq(lines, "\n") {
			name, value, _ := strings.Cut(line, ": ")
			r.Headers = append(r.Headers, request.Header{Name: []byte(name), Value: []byte(value)})
		}
		records, _, err := b.Append(nil, r, at, &limit{size: 1 << 20})
		if err != nil {
			_, bad := errors.AsType[*record.BadRequest](err)
			_, topic := errors.AsType[*record.TopicError](err)
			if len(records) != 0 || !bad && !topic && err != request.ErrTooLarge && err != record.ErrTooMany && err != memory.ErrFull {
				t.Errorf("%d records, %v", len(records), err)
			}
			return
		}
		if len(records) == 0 || len(records) > 9 {
			t.Fatalf("%d records", len(records))
		}
		var copies []string
		for _, one := range records {
			plain := o.Key.Parts == nil && len(one.Headers) == 0 // the producer checks its size
			if len(one.Key)+len(one.Value) > o.MaxValue && !plain {
				t.Errorf("a value of %d bytes", len(one.Value))
			}
			if one.Value == nil && !o.Tombstones || o.Key.Required && o.Key.Parts != nil && one.Key == nil {
				t.Errorf("%+v", one)
			}
			found := false
			for _, topic := range b.Topics() {
				found = found || topic == one.Topic
			}
			if !found {
				t.Errorf("topic %q", one.Topic)
			}
			copies = append(copies, headersText(one.Headers)+string(one.Key)+string(one.Value))
		}
		for _, h := range r.Headers {
			copy(h.Name, bytes.Repeat([]byte("#"), len(h.Name)))
			copy(h.Value, bytes.Repeat([]byte("#"), len(h.Value)))
		}
		copy(r.Body, bytes.Repeat([]byte("#"), len(r.Body)))
		copy(r.Query, bytes.Repeat([]byte("#"), len(r.Query)))
		_, _, _ = b.Append(nil, r, at, &limit{size: 1 << 20}) // with the same scratch
		for i, one := range records {
			if headersText(one.Headers)+string(one.Key)+string(one.Value) != copies[i] {
				t.Errorf("record %d was %q and is %q", i, copies[i], one.Value)
			}
		}
	})
}

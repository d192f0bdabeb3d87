package record_test

import (
	"testing"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/request"
)

// unlimited is a memory limit without an end.
type unlimited struct{}

func (unlimited) Reserve(int64) bool { return true }

// usual is a request as a gateway sees it: ten headers, 1 KiB of JSON.
func usual() *request.Request {
	body := `{"order_id":"0b0f3f0e-3d53-4d4c-8f0e-8a7c3c7d2b11","customer":{"id":48213,"name":"Zoë"},"items":[`
	for len(body) < 950 {
		body += `{"sku":"A-1234","name":"a thing","count":2,"price":12.50},`
	}
	return &request.Request{
		Method: []byte("POST"), URI: []byte("/orders/v1?source=web&key=k-17"), Query: []byte("source=web&key=k-17"), Body: []byte(body + `{}]}`),
		Headers: headers("host: api.example.com", "user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "accept: */*",
			"accept-encoding: gzip, deflate, br", "content-type: application/json", "content-length: 1024", "x-forwarded-for: 203.0.113.7",
			"x-consumer-username: shop", "x-request-id: 0123456789abcdef0123456789abcdef", "traceparent: 00-"+trace+"-"+span+"-01"),
	}
}

func BenchmarkAppend(b *testing.B) {
	whole := request.Fields{Method: true, URI: true, Headers: true, Body: true}
	key := keyParts(record.KeyPart{From: record.FromQuery, Name: "key"})
	three := record.HeaderOptions{Forward: true, Include: []string{"x-request-id", "x-consumer-username", "host"}, Names: map[string]string{"x-request-id": "trace-id"}}
	array := usual()
	array.Body = []byte(`[` + long(`{"sku":"A-1234","name":"a thing","count":2},`, 99) + `1]`)
	event := usual()
	event.Headers = append(event.Headers, headers("ce-specversion: 1.0", "ce-id: 0b0f3f0e", "ce-source: /a", "ce-type: com.example.order", "ce-time: 2018-04-05T17:31:00Z")...)
	for _, row := range []struct {
		name string
		o    record.Options
		r    *request.Request
	}{
		{"Plain", record.Options{Forward: whole}, usual()},
		{"KeyAndThreeHeaders", record.Options{Forward: whole, Key: key, Headers: three}, usual()},
		{"Body", record.Options{BodyValue: true}, usual()},
		{"BodyKeyAndThreeHeaders", record.Options{BodyValue: true, Key: key, Headers: three}, usual()},
		{"BodyAllHeaders", record.Options{BodyValue: true, Headers: record.HeaderOptions{Forward: true, All: true, Exclude: []string{"cookie", "authorization"}}}, usual()},
		{"BodyKeyOfBody", record.Options{BodyValue: true, Key: keyParts(record.KeyPart{From: record.FromBody, Name: "/customer/id"})}, usual()},
		{"BodyTrace", record.Options{BodyValue: true, TraceHeaders: true}, usual()},
		{"BodyTopics", record.Options{BodyValue: true, TopicsQueryArg: "key", AllowedTopics: []string{"k-17"}}, usual()},
		{"EventBinary", record.Options{CloudEvents: record.CloudEventsBinary}, event},
		{"EventStructured", record.Options{CloudEvents: record.CloudEventsStructured}, event},
		{"EventMade", record.Options{CloudEvents: record.CloudEventsBinary}, usual()},
		{"Split100", record.Options{BodyValue: true, Split: record.SplitArray}, array},
		{"Split100Messages", record.Options{Forward: request.Fields{Body: true}, Split: record.SplitArray}, array},
	} {
		b.Run(row.name, func(b *testing.B) {
			row.o.Topic, row.o.MaxValue, row.o.SplitLimit = "orders", 1<<20, 1000
			builder, err := record.NewBuilder(row.o, jsonmsg.NewEncoder(row.o.Forward, nil))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				var one [1]record.Record
				if _, _, err := builder.Append(one[:0], row.r, at, unlimited{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

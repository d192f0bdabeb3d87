//go:build !race

package record_test

import (
	"testing"
	"time"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/request"
)

// A record costs one allocation, that of its value, and one more if it has headers; but not
// under the race detector, which has sync.Pool drop what it is given.
func TestRecordCostsOneAllocation(t *testing.T) {
	key := keyParts(record.KeyPart{From: record.FromQuery, Name: "key"}, record.KeyPart{From: record.FromBody, Name: "/customer/id"})
	three := record.HeaderOptions{Forward: true, Include: []string{"x-request-id", "x-consumer-username", "host"}}
	for name, row := range map[string]struct {
		o    record.Options
		want float64
	}{
		"nothing configured":    {record.Options{}, 1},
		"Kong's defaults":       {record.Options{Headers: record.HeaderOptions{Forward: true}, Split: record.SplitNone, CloudEvents: record.CloudEventsOff, SplitLimit: 1000}, 1},
		"a key":                 {record.Options{Key: key}, 1},
		"topics":                {record.Options{TopicsQueryArg: "key", AllowedTopics: []string{"k-17"}}, 1},
		"a topic by template":   {record.Options{Topic: "{query_arg.key}", AllowedTopics: []string{"k-17"}}, 1},
		"a time":                {record.Options{TimestampHeader: "date"}, 1},
		"a key and headers":     {record.Options{Key: key, Headers: three}, 2},
		"a trace":               {record.Options{TraceHeaders: true}, 2},
		"the body":              {record.Options{BodyValue: true}, 2}, // its content type
		"body, key and headers": {record.Options{BodyValue: true, Key: key, Headers: three}, 2},
	} {
		row.o.MaxValue, row.o.Forward = 1<<20, request.Fields{Method: true, URI: true, Headers: true, Body: true}
		if row.o.Topic == "" {
			row.o.Topic = "orders"
		}
		b, err := record.NewBuilder(row.o, jsonmsg.NewEncoder(row.o.Forward, nil))
		if err != nil {
			t.Fatal(err)
		}
		r, m := usual(), new(limit)
		var value []byte
		n := testing.AllocsPerRun(1000, func() {
			var one [1]record.Record
			records, _, err := b.Append(one[:0], r, time.Time{}, m)
			if err != nil {
				t.Fatal(err)
			}
			value = records[0].Value
		})
		if n != row.want || len(value) == 0 {
			t.Errorf("%s: %v allocations, want %v", name, n, row.want)
		}
	}
}

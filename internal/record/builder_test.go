package record_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/request"
)

// limit is a memory limit that knows what was taken of it.
type limit struct{ size, taken int64 }

func (l *limit) Reserve(n int64) bool {
	if l.taken+n > l.size {
		return false
	}
	l.taken += n
	return true
}

func post(body string) *request.Request {
	return &request.Request{Method: []byte("POST"), URI: []byte("/"), Body: []byte(body),
		Headers: []request.Header{{Name: []byte("content-type"), Value: []byte("application/json")}}}
}

func builder(transforms ...record.Transform) *record.Builder {
	return builderOf(record.Options{Topic: "orders", MaxValue: 1 << 20}, transforms...)
}

func builderOf(o record.Options, transforms ...record.Transform) *record.Builder {
	b, err := record.NewBuilder(o, jsonmsg.NewEncoder(request.Fields{Method: true, Body: true}, nil), transforms...)
	if err != nil {
		panic(err)
	}
	return b
}

func TestRecordIsTheMessageInMemoryOfItsOwn(t *testing.T) {
	at := time.Unix(1, 0)
	r := post(`{"a":1}`)
	records, _, err := builder().Append(nil, r, at, new(limit))
	clear(r.Body)
	want := record.Record{Topic: "orders", Time: at, Value: []byte(`{"method":"POST","body":"{\"a\":1}","body_args":{"a":1}}`)}
	if err != nil || !reflect.DeepEqual(records, []record.Record{want}) {
		t.Errorf("%+v, %v", records, err)
	}
	more, _, err := builder().Append(records, post("{}"), at, new(limit))
	if err != nil || len(more) != 2 {
		t.Errorf("%+v, %v", more, err)
	}
}

func TestTransformsChangeTheDraftInTheirOrder(t *testing.T) {
	transforms := []record.Transform{
		func(d *record.Draft) error {
			d.Message = []byte(strings.Replace(string(d.Message), `"POST"`, `"PUT"`, 1))
			d.Headers = append(d.Headers, record.Header{Key: "h", Value: d.Request.Method})
			return nil
		},
		func(d *record.Draft) error {
			d.Key = []byte("key")
			d.Message = append(d.Message, ' ')
			return nil
		},
	}
	b := builder(transforms...)
	for _, body := range []string{"{}", `{"a":"` + strings.Repeat("x", 100<<10) + `"}`} {
		records, _, err := b.Append(nil, post(body), time.Time{}, &limit{size: 1 << 20})
		if err != nil || len(records) != 1 {
			t.Fatal(records, err)
		}
		r := records[0]
		if r.Topic != "orders" || string(r.Key) != "key" || len(r.Headers) != 1 || !strings.HasPrefix(string(r.Value), `{"method":"PUT","body":"{`) || !strings.HasSuffix(string(r.Value), "} ") {
			t.Errorf("%.200q", r.Value)
		}
	}
	failed := errors.New("failed")
	b = builder(append(transforms, func(*record.Draft) error { return failed })...)
	if records, _, err := b.Append(nil, post("{}"), time.Time{}, new(limit)); err != failed || len(records) > 0 {
		t.Errorf("%v, %v", records, err)
	}
}

func TestLargeValuesCountAgainstTheLimit(t *testing.T) {
	large := `{"a":"` + strings.Repeat("x", 100<<10) + `"}`
	l := &limit{size: 1 << 20}
	records, _, err := builder().Append(nil, post(large), time.Time{}, l)
	if err != nil || l.taken < int64(len(records[0].Value)) {
		t.Errorf("%d bytes are taken, %v", l.taken, err)
	}
	if _, _, err := builder().Append(nil, post(large), time.Time{}, new(limit)); err != memory.ErrFull {
		t.Errorf("without memory: %v", err)
	}
	b := builderOf(record.Options{Topic: "orders", MaxValue: 50 << 10})
	l = &limit{size: 1 << 20}
	if _, _, err := b.Append(nil, post(large), time.Time{}, l); err != request.ErrTooLarge || l.taken != 0 {
		t.Errorf("above the limit: %v, %d bytes are taken", err, l.taken)
	}
	bad, ok := errors.AsType[*record.BadRequest](errOf(builder().Append(nil, post("{"), time.Time{}, new(limit))))
	if !ok || bad.Reason != "invalid json body" {
		t.Errorf("%v", bad)
	}
}

func errOf(_ []record.Record, _ []record.LogLine, err error) error { return err }

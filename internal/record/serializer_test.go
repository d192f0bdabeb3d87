package record_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/request"
)

// serializer is a stub: what fits has the name of the schema before it, as many times as it
// says, and what begins with ! does not fit.
type serializer struct {
	schema string
	times  int
}

func (z serializer) Append(dst, text []byte) ([]byte, error) {
	if strings.HasPrefix(string(text), "!") {
		return dst, &record.BadRequest{Reason: z.schema + " says no", Schema: true}
	}
	for range max(z.times, 1) {
		dst = append(append(append(dst, z.schema...), ':'), text...)
	}
	return dst, nil
}

func serializing(o record.Options, transforms ...record.Transform) *record.Builder {
	o.Topic = "t"
	if o.MaxValue == 0 {
		o.MaxValue = 1 << 20
	}
	b, err := record.NewBuilder(o, jsonmsg.NewEncoder(request.Fields{Body: true}, nil), transforms...)
	if err != nil {
		panic(err)
	}
	return b
}

// shown are the keys and values of records.
func shown(records []record.Record) (all []string) {
	text := func(b []byte) string {
		if b == nil {
			return "nil"
		}
		return string(b)
	}
	for _, r := range records {
		all = append(all, text(r.Key)+" "+text(r.Value))
	}
	return all
}

func TestValuesAndKeysAreSerializedAfterEverythingElse(t *testing.T) {
	v, k := serializer{schema: "V"}, serializer{schema: "K"}
	key := keyParts(record.KeyPart{From: record.FromQuery, Name: "key"})
	transform := func(final bool, message, key string) record.Transform {
		return func(d *record.Draft) error {
			d.Message, d.Final = []byte(message), final
			if key != "" {
				d.Key = []byte(key)
			}
			return nil
		}
	}
	for name, row := range map[string]struct {
		o          record.Options
		transforms []record.Transform
		target     string
		body       string
		want       []string
	}{
		"the message":                 {record.Options{ValueSerializer: v}, nil, "/", "1", []string{`nil V:{"body":"1"}`}},
		"its key alone":               {record.Options{KeySerializer: k, Key: key}, nil, "/?key=a", "1", []string{`K:a {"body":"1"}`}},
		"both":                        {record.Options{KeySerializer: k, Key: key, ValueSerializer: v, BodyValue: true}, nil, "/?key=a", "1", []string{"K:a V:1"}},
		"no key":                      {record.Options{KeySerializer: k, Key: key, ValueSerializer: v, BodyValue: true}, nil, "/", "1", []string{"nil V:1"}},
		"an empty key":                {record.Options{KeySerializer: k, Key: key, ValueSerializer: v, BodyValue: true}, nil, "/?key=", "1", []string{"K: V:1"}},
		"an empty body":               {record.Options{ValueSerializer: v, BodyValue: true}, nil, "/", "", []string{"nil V:"}},
		"a tombstone":                 {record.Options{ValueSerializer: v, KeySerializer: k, Key: key, BodyValue: true, Tombstones: true}, nil, "/?key=a", "", []string{"K:a nil"}},
		"a function's table":          {record.Options{ValueSerializer: v}, []record.Transform{transform(false, "[2]", "")}, "/", "1", []string{"nil V:[2]"}},
		"a function's text":           {record.Options{ValueSerializer: v}, []record.Transform{transform(true, "[2]", "")}, "/", "1", []string{"nil V:[2]"}},
		"a function's key":            {record.Options{ValueSerializer: v, KeySerializer: k}, []record.Transform{transform(true, "2", "key")}, "/", "1", []string{"K:key V:2"}},
		"each element of an array":    {record.Options{ValueSerializer: v, KeySerializer: k, Key: keyParts(record.KeyPart{From: record.FromBody, Name: "/k"}), BodyValue: true, Split: record.SplitArray, SplitLimit: 10}, nil, "/", `[{"k":1}, {"k":2},3]`, []string{`K:1 V:{"k":1}`, `K:2 V:{"k":2}`, "nil V:3"}},
		"the same for several topics": {record.Options{ValueSerializer: v, BodyValue: true, TopicsQueryArg: "key", AllowedTopics: []string{"a", "b"}}, nil, "/?key=a,b", "1", []string{"nil V:1", "nil V:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := post(row.body)
			_, query, _ := strings.Cut(row.target, "?")
			r.Query = []byte(query)
			records, _, err := serializing(row.o, row.transforms...).Append(nil, r, time.Time{}, &limit{size: 1 << 20})
			if err != nil || !reflect.DeepEqual(shown(records), row.want) {
				t.Errorf("%q, %v, want %q", shown(records), err, row.want)
			}
			clear(r.Body)
			clear(r.Query)
			if !reflect.DeepEqual(shown(records), row.want) {
				t.Errorf("they change with the request: %q", shown(records))
			}
		})
	}
}

func TestSerializedValuesHaveNoContentTypeOfTheirOwn(t *testing.T) {
	for want, o := range map[int]record.Options{0: {BodyValue: true, ValueSerializer: serializer{}}, 1: {BodyValue: true, KeySerializer: serializer{}}} {
		records, _, err := serializing(o).Append(nil, post("1"), time.Time{}, new(limit))
		if err != nil || len(records) != 1 || len(records[0].Headers) != want {
			t.Errorf("%+v, %v, want %d headers", records, err, want)
		}
	}
}

func TestMessageOrKeyThatDoesNotFitItsSchemaIsABadRequest(t *testing.T) {
	o := record.Options{ValueSerializer: serializer{schema: "V"}, KeySerializer: serializer{schema: "K"}, BodyValue: true, Key: keyParts(record.KeyPart{From: record.FromQuery, Name: "key"})}
	split := o
	split.Split, split.SplitLimit, split.ValueSerializer = record.SplitArray, 10, third{}
	for _, row := range []struct {
		o                    record.Options
		target, body, reason string
	}{
		{o, "/", "!", "V says no"},
		{o, "/?key=!", "1", "K says no"},
		{split, "/", "[1,2,3]", "record 3: no"},
	} {
		r := post(row.body)
		_, query, _ := strings.Cut(row.target, "?")
		r.Query = []byte(query)
		records, _, err := serializing(row.o).Append(nil, r, time.Time{}, &limit{size: 1 << 20})
		bad, ok := errors.AsType[*record.BadRequest](err)
		if !ok || bad.Reason != row.reason || !bad.Schema || len(records) != 0 {
			t.Errorf("%q %q: %v, %q", row.target, row.body, err, shown(records))
		}
	}
}

// third is a Serializer that a third element does not fit.
type third struct{}

func (third) Append(dst, text []byte) ([]byte, error) {
	if string(text) == "3" {
		return nil, &record.BadRequest{Reason: "no", Schema: true}
	}
	return append(dst, text...), nil
}

func TestLimitAppliesToTheSerializedValue(t *testing.T) {
	large := `"` + strings.Repeat("x", 100<<10) + `"`
	for _, row := range []struct {
		o    record.Options
		body string
		want error
	}{
		{record.Options{BodyValue: true, ValueSerializer: serializer{times: 2}, MaxValue: 150 << 10}, large, request.ErrTooLarge},
		{record.Options{BodyValue: true, ValueSerializer: serializer{times: 2}, MaxValue: 250 << 10}, large, nil},
		{record.Options{BodyValue: true, ValueSerializer: serializer{times: 20}, MaxValue: 100}, "12345678", request.ErrTooLarge},
		{record.Options{ValueSerializer: short{}, MaxValue: 50 << 10}, large, nil}, // though the message is larger
		{record.Options{BodyValue: true, KeySerializer: serializer{times: 20}, MaxValue: 100, Key: keyParts(record.KeyPart{From: record.FromBody, Name: ""})}, "12345678", request.ErrTooLarge},
	} {
		records, _, err := serializing(row.o).Append(nil, post(row.body), time.Time{}, &limit{size: 1 << 20})
		if err != row.want || err == nil && cap(records[0].Value) > len(records[0].Value)*9/8 {
			t.Errorf("%v, %v, want %v", len(records), err, row.want)
		}
	}
}

// short is a Serializer whose values are short.
type short struct{}

func (short) Append(dst, _ []byte) ([]byte, error) { return append(dst, 1), nil }

// A Serializer may make much more of a value than it is.
func TestLargeSerializedValuesCountAgainstTheLimit(t *testing.T) {
	for _, size := range []int{20 << 10, 100 << 10} {
		body := `"` + strings.Repeat("x", size) + `"`
		b := serializing(record.Options{BodyValue: true, ValueSerializer: serializer{times: 2}})
		l := &limit{size: 1 << 20}
		records, _, err := b.Append(nil, post(body), time.Time{}, l)
		if err != nil || l.taken < int64(len(records[0].Value)) {
			t.Errorf("%d bytes are taken for %d, %v", l.taken, len(records[0].Value), err)
		}
		for _, size := range []int64{0, l.taken - 1} {
			if _, _, err := b.Append(nil, post(body), time.Time{}, &limit{size: size}); err != memory.ErrFull {
				t.Errorf("with %d bytes: %v", size, err)
			}
		}
	}
}

// Other requests may be waiting.
func TestSerializationOfALargeValueWillBlock(t *testing.T) {
	for size, want := range map[int]bool{100: false, 20 << 10: true} {
		m := &blocking{limit: limit{size: 1 << 20}}
		_, _, err := serializing(record.Options{BodyValue: true, ValueSerializer: serializer{}}).Append(nil, post(strings.Repeat("x", size)), time.Time{}, m)
		if err != nil || m.will != want {
			t.Errorf("%d bytes: %v, %v", size, m.will, err)
		}
	}
}

type blocking struct {
	limit
	will bool
}

func (b *blocking) WillBlock() { b.will = true }

func TestCloudEventsAreNotSerialized(t *testing.T) {
	for i, o := range []record.Options{{ValueSerializer: serializer{}}, {KeySerializer: serializer{}}} {
		o.Topic, o.CloudEvents = "t", record.CloudEventsBinary
		if _, err := record.NewBuilder(o, nil); err == nil || !strings.Contains(fmt.Sprint(err), "schema_registry") {
			t.Errorf("%d: %v", i, err)
		}
	}
}

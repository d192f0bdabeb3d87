package record_test

import (
	"testing"
	"time"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
)

var at = time.Unix(1, 0)

func TestTimestampIsThatOfTheHeader(t *testing.T) {
	o := record.Options{TimestampHeader: "X-Time"}
	for text, want := range map[string]time.Time{
		"1":                             time.Unix(1, 0),
		"0.001":                         time.UnixMilli(1),
		"1700000000":                    time.Unix(1700000000, 0),
		"9214646399":                    time.Unix(9214646399, 0),
		"100000000000":                  time.UnixMilli(100000000000),
		"1700000000123":                 time.UnixMilli(1700000000123),
		"9214646399999":                 time.UnixMilli(9214646399999),
		"1700000000.5":                  time.UnixMilli(1700000000500),
		"1700000000.1234567891":         time.Unix(1700000000, 123456789),
		"9214646399.999":                time.UnixMilli(9214646399999),
		" 1700000000 ":                  time.Unix(1700000000, 0),
		"2023-11-14T22:13:20Z":          time.Unix(1700000000, 0),
		"2023-11-14t22:13:20.25z":       time.UnixMilli(1700000000250),
		"2023-11-14T23:13:20.250+01:00": time.UnixMilli(1700000000250),
		"2261-12-31T23:59:59.999Z":      time.UnixMilli(9214646399999),
		"1970-01-01T00:00:00.001Z":      time.UnixMilli(1),
	} {
		records, err := recordsOf(t, o, &request.Request{Headers: headers("x-time: "+text, "x-time: x")})
		if err != nil || !records[0].Time.Equal(want) {
			t.Errorf("%s: %v, %v", text, records, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "+1", "1e9", "0x10", "1.", ".5", "1.x", "0", "0.0", "0.0009", "9214646400", "9214646400000", "9214646400.0", "99999999999", "253402300800000", "999999999999999", long("9", 30),
		"1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "2262-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "10000-01-01T00:00:00Z", "9999-12-31T23:59:59-00:01", "2023-11-14", "2023-11-14T22:13:20", "2023-11-14 22:13:20Z", "2023-02-30T00:00:00Z",
		"2023-11-14T2:13:20.5Z", "2023-11-14T22:13:20,5Z", "2023-11-14T22:13:20+24:00", "2023-11-14T22:13:20+00:60", "2023-11-14T22:13:20Z+00:00", long("2", 100), "1,5"} {
		if _, err := recordsOf(t, o, &request.Request{Headers: headers("x-time: " + text)}); reason(err) != "the timestamp header is not valid" {
			t.Errorf("%q: %v", text, err)
		}
	}
	if records, err := recordsOf(t, o, &request.Request{}); err != nil || !records[0].Time.Equal(at) {
		t.Errorf("without the header: %v, %v", records, err)
	}
}

func FuzzTimestamp(f *testing.F) {
	f.Add("1700000000.5")
	f.Add("2023-11-14T23:13:20.250+01:00")
	b, err := record.NewBuilder(record.Options{TimestampHeader: "t", BodyValue: true, MaxValue: 100}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		records, _, err := b.Append(nil, &request.Request{Headers: []request.Header{{Name: []byte("t"), Value: []byte(text)}}}, at, new(limit))
		if err == nil && (records[0].Time.UnixMilli() <= 0 || records[0].Time.UTC().Year() > 2261) {
			t.Errorf("%q is %v", text, records[0].Time)
		}
	})
}

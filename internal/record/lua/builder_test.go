package lua

import (
	"errors"
	"strings"
	"testing"
	"time"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/request"
)

// noLimit is a memory limit that is never reached.
type noLimit struct{}

func (noLimit) Reserve(int64) bool { return true }

func messages() record.Encoder {
	return jsonmsg.NewEncoder(request.Fields{Method: true, URI: true, Headers: true, Body: true}, nil)
}

// records are what a Builder makes of r with functions.
func records(t *testing.T, o record.Options, r *request.Request, chunks ...string) ([]record.Record, []record.LogLine, error) {
	t.Helper()
	o.Topic, o.MaxValue = "orders", 1<<20
	f := compile(t, chunks...)
	b, err := record.NewBuilder(o, messages(), f.Transform)
	if err != nil {
		t.Fatal(err)
	}
	return b.Append(nil, r, time.Now(), noLimit{})
}

func TestValuesOfRecordsAreWhatFunctionsReturn(t *testing.T) {
	for chunk, want := range map[string]string{
		`return function(m) return m.body end`:                                                  exampleBody,
		`return function(m) return m.body_args.items[2] end`:                                    `{"sku":"b2","n":2}`,
		`return function(m) return "" end`:                                                      "",
		`return function(m) return ngx.null end`:                                                "null",
		`return function(m) m.headers, m.body_args, m.uri_args = nil m.body = "b" return m end`: `{"body":"b","method":"POST","uri":"/orders?a=1"}`,
	} {
		got, _, err := records(t, record.Options{}, exampleRequest(), chunk)
		if err != nil || len(got) != 1 || got[0].Value == nil || string(got[0].Value) != want {
			t.Errorf("%s: %+v, %v", chunk, got, err)
		}
	}
	large := exampleRequest()
	large.Body = []byte(`{"a":"` + strings.Repeat("x", 200<<10) + `","b":1.10}`)
	got, _, err := records(t, record.Options{}, large, `return function(m) m.body_args.c = 1 return m.body_args end`)
	if err != nil || len(got) != 1 || string(got[0].Value) != strings.TrimSuffix(string(large.Body), "}")+`,"c":1}` {
		t.Errorf("%d records, %v", len(got), err)
	}
}

func TestFunctionsCanSkipRecords(t *testing.T) {
	got, log, err := records(t, record.Options{}, exampleRequest(), `return function(m) kong.log.info("skipped") return kafka.skip end`)
	if err != nil || len(got) != 0 || len(log) != 1 {
		t.Errorf("%+v, %v, %v", got, log, err)
	}
	r := exampleRequest()
	r.Body = []byte(`[{"n":1},{"n":2},{"n":3}]`)
	got, _, err = records(t, record.Options{Split: record.SplitArray, SplitLimit: 10}, r,
		`return function(m) if m.body_args.n == 2 then return kafka.skip end return m.body_args end`)
	if err != nil || len(got) != 2 || string(got[0].Value) != `{"n":1}` || string(got[1].Value) != `{"n":3}` {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestFunctionThatFailsMakesNoRecord(t *testing.T) {
	got, log, err := records(t, record.Options{}, exampleRequest(), `return function(m) kong.log.err("before") error(m.body) end`)
	var e *record.TransformError
	if len(got) != 0 || len(log) != 1 || !errors.As(err, &e) || !strings.HasPrefix(e.Reason, "function 1, line 1: {") {
		t.Errorf("%+v, %v, %v", got, log, err)
	}
}

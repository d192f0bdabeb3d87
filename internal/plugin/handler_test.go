package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/registry"
	"kafka-upstream/internal/request"
	"kafka-upstream/internal/security"
	"kafka-upstream/internal/security/sasl"
)

// Every row of the table of answers in docs/answers.md, by the errors that lead to it.
func TestOutcomes(t *testing.T) {
	const (
		notSentBody = `{"message":"Bad Gateway","error":"could not send message to topic"}`
		unavailable = `{"message":"Service Unavailable","error":"could not send message to topic"}`
		tooLarge    = `{"message":"Request body too large","error":"the message would be larger than 1000 bytes"}`
		unexpected  = `{"message":"An unexpected error occurred"}`
	)
	for name, row := range map[string]struct {
		err    error
		reason Reason
		status int
		body   string
		log    string // "" for nothing there
	}{
		"accepted, or acknowledged":     {nil, Sent, 200, `{"message":"message sent"}`, ""},
		"body that is not JSON":         {&record.BadRequest{Reason: "invalid json body"}, BadRequest, 400, `{"message":"Bad Request","error":"invalid json body"}`, ""},
		"filtered":                      {errFiltered, Filtered, 200, `{"message":"message filtered"}`, ""},
		"topic that is not allowed":     {&record.TopicError{Topics: []string{"a", "b"}}, TopicNotAllowed, 502, `{"message":"Bad Gateway","error":"one or more target topics are not in the allowed topics list"}`, "sending message to the following topics is not allowed: (a, b)"},
		"function that failed":          {&record.TransformError{Reason: "function 1, line 2: attempt to index a nil value"}, FunctionFailed, 500, `{"message":"Internal Server Error","error":"message function failed"}`, "message function failed: function 1, line 2: attempt to index a nil value"},
		"too many records":              {record.ErrTooMany, TooLarge, 413, `{"message":"Request body too large","error":"the request has more records than split_limit allows, or more than 10000 over all of its topics"}`, ""},
		"unhealthy":                     {producer.ErrUnhealthy, Unhealthy, 503, unavailable, ""},
		"body above the limit":          {request.ErrTooLarge, TooLarge, 413, tooLarge, ""},
		"record above the limit":        {&producer.TooLargeError{Size: 2, Limit: 1}, TooLarge, 413, tooLarge, ""},
		"given up":                      {&undeliveredError{NotDelivered, "t", "Down", "broker b:1: down", time.Second, errors.New("down")}, NotDelivered, 502, notSentBody, "could not send a record to topic t: broker b:1: down (after 1s)"},
		"out of time":                   {&undeliveredError{TimedOut, "t", "", "", time.Second, errSyncTimeout}, TimedOut, 502, notSentBody, "could not send a record to topic t: no acknowledgement within 1s"},
		"certificate":                   {fmt.Errorf("x: %w", &security.CertificateError{ID: "1", Err: errors.New("gone")}), NoCertificate, 502, `{"message":"Bad Gateway","error":"could not load certificate"}`, "x: "},
		"message without its schema":    {&record.BadRequest{Reason: "message does not fit schema s version 1: x", Schema: true}, Mismatch, 400, `{"message":"Bad Request","error":"message does not fit schema s version 1: x"}`, ""},
		"schema that is not to be had":  {&registry.UnavailableError{Subject: "s", Version: "latest", Registry: "http://r", Err: &security.CertificateError{ID: "1", Err: errors.New("gone")}}, NoSchema, 502, `{"message":"Bad Gateway","error":"could not get schema"}`, `could not get schema "s", version latest, from http://r: could not load`},
		"schema that cannot be used":    {&registry.SchemaError{Subject: "s", Version: 1, Registry: "http://r", Err: errors.New("no type")}, BadConfig, 500, `{"message":"Internal Server Error","error":"invalid plugin configuration"}`, `schema "s", version 1, of http://r: no type`},
		"no token":                      {undeliveredAs(fmt.Errorf("x: %w", sasl.NewTokenError(errors.New("away"))), told{"could not get token from u: away", ""}, "t", time.Second), NoToken, 502, `{"message":"Bad Gateway","error":"could not get token"}`, "could not send a record to topic t: could not get token from u: away (after 1s)"},
		"buffer full":                   {producer.ErrFull, BufferFull, 503, unavailable, ""},
		"memory full":                   {fmt.Errorf("headers: %w", memory.ErrFull), MemoryFull, 503, unavailable, ""},
		"spool full":                    {fmt.Errorf("%w: x", producer.ErrSpoolFull), SpoolFull, 503, unavailable, ""},
		"spool failed":                  {fmt.Errorf("%w: x", producer.ErrSpoolFailed), SpoolFailed, 503, unavailable, ""},
		"shutting down":                 {producer.ErrClosed, ShuttingDown, 503, unavailable, "a record to topic t was rejected: the server is shutting down"},
		"configuration":                 {fmt.Errorf("%w: no topic", errConfig), BadConfig, 500, `{"message":"Internal Server Error","error":"invalid plugin configuration"}`, "invalid plugin configuration: no topic"},
		"body that cannot be read":      {&request.BodyError{Reason: "its file is gone"}, BodyUnreadable, 500, `{"message":"Internal Server Error","error":"could not read request body"}`, "its file is gone"},
		"what a door cannot understand": {errors.New("headers: junk"), Unexpected, 500, unexpected, "headers: junk"},
	} {
		t.Run(name, func(t *testing.T) {
			a := outcome(row.err, "t", 1000)
			if a.Reason != row.reason || a.Status != row.status || a.Body != row.body {
				t.Errorf("%s: %d %s", a.Reason, a.Status, a.Body)
			}
			if log := strings.Join(a.Log, "\n"); !strings.HasPrefix(log, row.log) || (log == "") != (row.log == "") {
				t.Errorf("the log is %q", log)
			}
		})
	}
}

func TestResponsesAreJSONAndSayWhenToTryAgain(t *testing.T) {
	if a := Panic.Response(); a.Status != 500 || a.Body != `{"message":"An unexpected error occurred"}` || a.Reason != Panic {
		t.Errorf("a panic is answered %+v", a)
	}
	for r := range Reasons() {
		a := r.Response()
		retry := ""
		for _, h := range a.Headers[1:] {
			retry += h.Name + " " + h.Value
		}
		if !json.Valid([]byte(a.Body)) || a.Headers[0] != (Header{"Content-Type", "application/json; charset=utf-8"}) ||
			(retry == "Retry-After 1") != (a.Status == 503) || a.Status != r.Status() || a.Reason != r {
			t.Errorf("%s: %+v", r, a)
		}
	}
}

func TestReasonThatIsForgottenIsNoSuccess(t *testing.T) {
	for _, r := range []Reason{0, 255} {
		if r.Status() != 500 || r.String() != "unexpected" || r.Response().Status != 500 {
			t.Errorf("%d is %d %s", r, r.Status(), r)
		}
	}
}

func TestDocumentationHasAllReasons(t *testing.T) {
	b, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("\n\\| `[a-z_]+` \\| \\d{3} \\| ").FindAllString(string(b), -1)
	if len(rows) != int(reasons) {
		t.Errorf("%d rows, want %d", len(rows), reasons)
	}
	for r := range Reasons() {
		if row := fmt.Sprintf("\n| `%s` | %d | ", r, r.Status()); strings.Count(string(b), row) != 1 {
			t.Errorf("no row %s", row)
		}
	}
}

// door is an Exchange that lends what the test says.
type door struct {
	limit              *memory.Limit
	reserved           int64
	blocking, released bool
	deferred           chan Response // the answer, once it is deferred
}

// Defer implements Exchange.
func (d *door) Defer() Deferred {
	d.deferred = make(chan Response, 1)
	return answering(d.deferred)
}

type answering chan Response

func (c answering) Answer(a Response) { c <- a }

func (d *door) Began() time.Time { return time.Now() }
func (d *door) WillBlock()       { d.blocking = true }

func (d *door) Reserve(n int64) bool {
	ok := d.limit.Take(n)
	if ok {
		d.reserved += n
	}
	return ok
}

func (d *door) Release() {
	d.limit.Return(d.reserved)
	d.reserved, d.released = 0, true
}

// started returns a plugin whose producers never reach a broker, and its handler of the
// configuration. access is the error of getting at the brokers.
func started(t *testing.T, settings string, access error) (*Plugin, Handler) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	pool := producer.NewPool(producer.PoolOptions{Log: log, Security: func(context.Context, producer.Options) (producer.Access, error) { return producer.Access{}, access }})
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		pool.Close(ctx)
	})
	schemas := registry.NewPool(registry.Env{Log: log})
	t.Cleanup(schemas.Close)
	p := New(Options{Pool: pool, Schemas: schemas, Log: log})
	h := p.Start([]byte(`{"topic":"t","bootstrap_servers":[{"host":"127.0.0.1","port":1}],` + settings + `}`))
	t.Cleanup(h.Close)
	return p, h
}

func TestRequestsOfAHandler(t *testing.T) {
	const all = `"forward_method":true,"forward_uri":true,"forward_headers":true,"forward_body":true`
	large := []byte(`{"a":"` + strings.Repeat("x", 100<<10) + `"}`)
	for name, row := range map[string]struct {
		config string
		access error
		memory int64
		before int // requests
		body   []byte
		refuse error
		want   Reason
	}{
		"accepted":           {all, nil, 1 << 20, 0, []byte(`{}`), nil, Sent},
		"a large one":        {all, nil, 1 << 20, 0, large, nil, Sent},
		"no memory":          {all, nil, 1000, 0, large, nil, MemoryFull},
		"too large":          {all + `,"producer_request_limits_bytes_per_request":1024`, nil, 1 << 20, 0, large, nil, TooLarge},
		"not JSON":           {all, nil, 1 << 20, 0, []byte(`{`), nil, BadRequest},
		"buffer full":        {all + `,"producer_async_buffering_limits_messages_in_memory":1`, nil, 1 << 20, 1, nil, nil, BufferFull},
		"certificate":        {all, &security.CertificateError{ID: "1", Err: errors.New("gone")}, 1 << 20, 0, nil, nil, NoCertificate},
		"no access":          {all, errors.New("no such mechanism"), 1 << 20, 0, nil, nil, BadConfig},
		"no field forwarded": {`"forward_body":false`, nil, 1 << 20, 0, nil, nil, BadConfig},
		"no body":            {all, nil, 1 << 20, 0, nil, &request.BodyError{Reason: "gone"}, BodyUnreadable},
		"junk of a door":     {all, nil, 1 << 20, 0, nil, errors.New("junk"), Unexpected},
		"refused by a configuration that is invalid": {`"forward_body":false`, nil, 1 << 20, 0, nil, errors.New("junk"), BadConfig},
	} {
		t.Run(name, func(t *testing.T) {
			_, h := started(t, row.config, row.access)
			r := &request.Request{Method: []byte("POST"), URI: []byte("/"), Body: row.body,
				Headers: []request.Header{{Name: []byte("content-type"), Value: []byte("application/json")}}}
			for range row.before {
				if a := h.Handle(t.Context(), new(door), r); a.Reason != Sent {
					t.Fatalf("before: %+v", a)
				}
			}
			d := &door{limit: memory.NewLimit(row.memory)}
			var a Response
			if row.refuse != nil {
				a = h.Refuse(row.refuse)
			} else {
				a = h.Handle(t.Context(), d, r)
			}
			if a.Reason != row.want {
				t.Errorf("%+v, want %s", a, row.want)
			}
			if d.limit.Used() != 0 {
				t.Errorf("%d bytes are taken", d.limit.Used())
			}
		})
	}
}

// Other requests would wait for it. The first request of a handler always may take long.
func TestOnlyWhatMayTakeLongWillBlock(t *testing.T) {
	for settings, want := range map[string]bool{
		`"forward_body":true`: false, `"split":"none"`: false, `"split":"json_array"`: true, `"split":"ndjson"`: true,
		`"message_by_lua_functions":["return function(m) return m end"]`:                                                            false,
		`"message_by_lua_functions":["return function(m) m.x = 1 return m end"]`:                                                    false,
		`"message_by_lua_functions":["return function(m) for i = 1, 10000 do end return m end"]`:                                    true,
		`"message_by_lua_functions":["return function(m) return pcall(function() for i = 1, 10000 do end return m end) and m end"]`: true,
	} {
		_, h := started(t, settings, nil)
		blocked, n := 0, 50
		for range n {
			d := &door{limit: memory.NewLimit(1 << 20)}
			if a := h.Handle(t.Context(), d, &request.Request{Body: []byte("[1]")}); a.Reason != Sent {
				t.Errorf("%s: %+v", settings, a)
			}
			if d.blocking {
				blocked++
			}
		}
		// A Lua machine that has to be made takes long, too; with -race, a pool loses some.
		if want && blocked < n || !want && blocked > n*3/4 {
			t.Errorf("%s: %d of %d will block", settings, blocked, n)
		}
	}
}

// Neither Kong nor the pool would tell of it.
func TestRequestWithoutMemoryIsLogged(t *testing.T) {
	large := &request.Request{Body: []byte(strings.Repeat("x", 100<<10))}
	for name, refuse := range map[string]func(h Handler) Response{
		"for the request": func(h Handler) Response { return h.Refuse(fmt.Errorf("headers: %w", memory.ErrFull)) },
		"for its value":   func(h Handler) Response { return h.Handle(t.Context(), &door{limit: memory.NewLimit(1)}, large) },
	} {
		_, h := started(t, `"forward_body":true`, nil)
		var log strings.Builder
		h.(*instance).log = slog.New(slog.NewTextHandler(&log, nil))
		if a := refuse(h); a.Reason != MemoryFull || strings.Count(log.String(), memory.ErrFull.Error()) != 1 {
			t.Errorf("%s: %s, and the log is %q", name, a.Reason, log.String())
		}
	}
}

func TestHandlerNeedsWhatItForwards(t *testing.T) {
	_, h := started(t, `"forward_headers":true,"producer_request_limits_bytes_per_request":5000`, nil)
	if got, want := h.Needs(), (request.Fields{Headers: true, Body: true, MaxBody: 5000 - producer.Overhead}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestAnswersAreCountedByReasonAndDuration(t *testing.T) {
	var c Counters
	for _, took := range []time.Duration{0, 100 * time.Microsecond, 101 * time.Microsecond, time.Minute, time.Hour} {
		c.Answered(Sent, took)
	}
	c.Answered(Reason(200), time.Second)
	var names []string
	for n := range c.Counts() {
		names = append(names, n.Reason)
		switch n.Reason {
		case "sent":
			if n.Status != 200 || n.Count != 5 || n.Seconds != 3660.000201 ||
				n.Buckets[0.0001] != 2 || n.Buckets[0.00025] != 3 || n.Buckets[30] != 3 || n.Buckets[60] != 4 || len(n.Buckets) != len(bounds) {
				t.Errorf("%+v", n)
			}
		case "unexpected":
			if n.Count != 1 || n.Seconds != 1 {
				t.Errorf("%+v", n)
			}
		default:
			if n.Count != 0 {
				t.Errorf("%+v", n)
			}
		}
	}
	if len(names) != int(reasons) {
		t.Errorf("there are %q", names)
	}
	if n := testing.AllocsPerRun(100, func() { c.Answered(Sent, time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

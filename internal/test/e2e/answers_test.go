package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
)

// answerRow is a row of the table of answers in docs/answers.md.
type answerRow struct {
	name    string
	config  []byte
	kong    *rig.Kong
	before  int // requests that are sent before, for what they leave behind
	status  int
	body    string
	headers map[string]string
	log     string // in Kong's error log; "" for nothing there

	protocol bool // only the plugin protocol can come to this
}

// answerRows returns every row of the table, but for health gating and several records, which
// have tests of their own. Nothing listens at the address away.
func answerRows(t *testing.T, f *kafkatest.Fake, away []string) []answerRow {
	t.Helper()
	sparse := filepath.Join(t.TempDir(), "sparse")
	if err := os.WriteFile(sparse, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(sparse, 1<<40); err != nil {
		t.Fatal(err)
	}
	const tooLarge = `{"message":"Request body too large","error":"the message would be larger than 1048492 bytes"}`
	schemas := startRegistry(t)
	functions := func(chunk string) map[string]any {
		return map[string]any{"message_by_lua_functions": []string{chunk}, "producer_async": false}
	}
	return []answerRow{
		{name: "async: accepted into the buffer", config: rig.Settings(t, f.Addrs(), nil),
			status: 200, body: `{"message":"message sent"}`},
		{name: "async: accepted while the broker is away", config: rig.Settings(t, away, nil),
			status: 200, body: `{"message":"message sent"}`},
		{name: "sync: acknowledged", config: rig.Settings(t, f.Addrs(), map[string]any{"producer_async": false, "producer_request_acks": -1}),
			status: 200, body: `{"message":"message sent"}`},
		{name: "body that is not JSON", config: rig.Settings(t, f.Addrs(), nil), kong: &rig.Kong{Body: rig.Inline(`{"a":`)},
			status: 400, body: `{"message":"Bad Request","error":"invalid json body"}`},
		{name: "request that lacks its key", config: rig.Settings(t, f.Addrs(), map[string]any{
			"record_key": map[string]any{"required": true, "parts": []any{part("query_arg", "k")}}}),
			status: 400, body: bad("the request lacks a part of its record key")},
		{name: "topic that is not allowed", config: rig.Settings(t, f.Addrs(), map[string]any{"topics_query_arg": "to", "allowed_topics": []string{"a"}}),
			kong:   &rig.Kong{Replies: map[string][]byte{"kong.request.get_raw_query": append([]byte{0x0a, 9}, "to=a,t,b,"...)}},
			status: 502, body: notAllowed, log: "sending message to the following topics is not allowed: (b)"},
		{name: "more records than split_limit", config: rig.Settings(t, f.Addrs(), map[string]any{"split": "json_array", "split_limit": 2}),
			kong:   &rig.Kong{Body: rig.Inline(`[1,2,3]`)},
			status: 413, body: `{"message":"Request body too large","error":"the request has more records than split_limit allows, or more than 10000 over all of its topics"}`},
		{name: "function that sends nothing", config: rig.Settings(t, f.Addrs(), functions("return function() return kafka.skip end")),
			status: 200, body: `{"message":"message filtered"}`},
		{name: "function that fails", config: rig.Settings(t, f.Addrs(), functions("return function(m)\n  error('no ' .. m.body)\nend")),
			status: 500, body: `{"message":"Internal Server Error","error":"message function failed"}`, log: "function 1, line 2"},
		{name: "function without an end", config: rig.Settings(t, f.Addrs(), functions("return function() while true do end end")),
			status: 500, body: `{"message":"Internal Server Error","error":"message function failed"}`, log: "function 1, line 1"},
		{name: "function that returns nil", config: rig.Settings(t, f.Addrs(), functions("return function() end")),
			status: 500, body: `{"message":"Internal Server Error","error":"message function failed"}`, log: "kafka.skip"},
		{name: "function that does not compile", config: rig.Settings(t, f.Addrs(), functions("return function(")),
			status: 500, body: `{"message":"Internal Server Error","error":"invalid plugin configuration"}`, log: "function 1"},
		{name: "record above the limit, its body inline", config: rig.Settings(t, f.Addrs(), nil), kong: &rig.Kong{Body: rig.Inline(`"` + strings.Repeat("x", 1048576) + `"`)},
			status: 413, body: tooLarge},
		{name: "record above the limit, its body just below", config: rig.Settings(t, f.Addrs(), nil), kong: &rig.Kong{Body: rig.Inline(`{"a":"` + strings.Repeat("x", 600000) + `"}`)},
			status: 413, body: tooLarge},
		{name: "record above the limit, its body in a file of 1 TiB", config: rig.Settings(t, f.Addrs(), nil), kong: &rig.Kong{Body: rig.InFile(sparse)},
			status: 413, body: tooLarge},
		{name: "sync: not delivered", config: rig.Settings(t, away, map[string]any{"producer_async": false, "producer_request_retries_max_attempts": 1}),
			status: 502, body: `{"message":"Bad Gateway","error":"could not send message to topic"}`, log: "cannot reach broker " + away[0]},
		{name: "async: buffer full", before: 1, config: rig.Settings(t, away, map[string]any{"producer_async_buffering_limits_messages_in_memory": 1}),
			status: 503, body: notSent, headers: map[string]string{"Retry-After": "1"}, log: "rejected"},
		{name: "async: buffer full by bytes", config: rig.Settings(t, away, map[string]any{"producer_async_buffering_limits_bytes_in_memory": 1024}),
			kong: &rig.Kong{Body: rig.Inline(`["` + strings.Repeat("x", 300) + `"]`)}, before: 1,
			status: 503, body: notSent, headers: map[string]string{"Retry-After": "1"}, log: "the buffer is full"},
		{name: "certificate that cannot be loaded", config: rig.Settings(t, f.Addrs(), map[string]any{
			"security": map[string]any{"ssl": true, "certificate_id": "7c8b3ba3-9d3c-4b3f-8b6d-0f3c6a5f1c11"}}),
			status: 502, body: `{"message":"Bad Gateway","error":"could not load certificate"}`, log: "7c8b3ba3-9d3c-4b3f-8b6d-0f3c6a5f1c11"},
		{name: "registry that is away", config: rig.Settings(t, f.Addrs(), schemas.config("user", map[string]any{"url": "http://" + away[0]})),
			status: 502, body: `{"message":"Bad Gateway","error":"could not get schema"}`, log: `could not get schema "user", version latest, from http://` + away[0]},
		{name: "subject that the registry does not have", config: rig.Settings(t, f.Addrs(), schemas.config("unknown", nil)),
			status: 502, body: `{"message":"Bad Gateway","error":"could not get schema"}`, log: "error code 40401"},
		{name: "schema that cannot be used", config: rig.Settings(t, f.Addrs(), schemas.config("broken", nil)),
			status: 500, body: `{"message":"Internal Server Error","error":"invalid plugin configuration"}`, log: `schema "broken", version 1`},
		{name: "configuration with no forward_* flag", config: rig.Settings(t, f.Addrs(), map[string]any{"forward_body": false}),
			status: 500, body: `{"message":"Internal Server Error","error":"invalid plugin configuration"}`, log: "at least one of forward_method"},
		{name: "configuration with SASL and no user", config: rig.Settings(t, f.Addrs(), map[string]any{"authentication": map[string]any{"strategy": "sasl", "mechanism": "PLAIN"}}),
			status: 500, body: `{"message":"Internal Server Error","error":"invalid plugin configuration"}`, log: "authentication.user is empty"},
		{name: "configuration that is no JSON", config: []byte("{"), protocol: true,
			status: 500, body: `{"message":"Internal Server Error","error":"invalid plugin configuration"}`, log: "not JSON"},
		{name: "body in a file that cannot be read", config: rig.Settings(t, f.Addrs(), nil), kong: &rig.Kong{Body: rig.InFile("/nowhere/0000000001")},
			status: 500, body: `{"message":"Internal Server Error","error":"could not read request body"}`, log: "nginx_http_client_body_buffer_size"},
		{name: "body that Kong cannot read", config: rig.Settings(t, f.Addrs(), nil), kong: &rig.Kong{Body: &pb.RawBodyResult{Kind: &pb.RawBodyResult_Error{Error: "its reason"}}},
			status: 500, body: `{"message":"Internal Server Error","error":"could not read request body"}`, log: "its reason"},
		{name: "reply that cannot be understood", protocol: true, config: rig.Settings(t, f.Addrs(), nil), kong: &rig.Kong{Replies: map[string][]byte{"kong.request.get_headers": {0xff}}},
			status: 500, body: `{"message":"An unexpected error occurred"}`, log: "unexpected reply from Kong"},
		{name: "panic", config: rig.Settings(t, f.Addrs(), map[string]any{"topic": "fault-panic"}),
			status: 500, body: `{"message":"An unexpected error occurred"}`},
	}
}

// log is what Kong's error log has of the request.
func (row *answerRow) check(t *testing.T, status int, body []byte, header func(string) string, log string) {
	t.Helper()
	if status != row.status || string(body) != row.body {
		t.Errorf("got  %d %s\nwant %d %s", status, body, row.status, row.body)
	}
	if got := header("Content-Type"); got != "application/json; charset=utf-8" {
		t.Errorf("content type is %q", got)
	}
	if !json.Valid(body) {
		t.Error("the body is not JSON")
	}
	for name, want := range row.headers {
		if got := header(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if !strings.Contains(log, row.log) || (row.log == "") != (log == "") {
		t.Errorf("Kong's error log has %q, want %q", log, row.log)
	}
}

func TestAnswers(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	away := []string{rig.ClosedPort(t)}
	rows := answerRows(t, f, away)
	s := rig.Start(t, "-admin-url", "http://"+away[0], "-drain-timeout", "500ms")
	w := s.Worker()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if row.kong == nil {
				row.kong = new(rig.Kong)
			}
			p := rig.NewPlugin(row.config)
			for range row.before {
				if exit, err := w.HandleEvent(t.Context(), p, row.kong); err != nil || exit.Status != 200 {
					t.Fatalf("before: %v, %v", exit, err)
				}
			}
			exit, err := w.HandleEvent(t.Context(), p, row.kong)
			if err != nil {
				t.Fatal(err)
			}
			row.check(t, exit.Status, exit.Body, exit.Header, row.kong.Log())
		})
	}
	if n := w.Stats().Retries; n != 0 {
		t.Errorf("Kong had to send %d events again", n)
	}
	rig.Eventually(t, "the panic's stack is on stderr", func() bool {
		return strings.Contains(s.Log.String(), "a fault was injected") && strings.Contains(s.Log.String(), "faults.go")
	})
}

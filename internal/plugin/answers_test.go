package plugin

import (
	"errors"
	"testing"
	"time"

	"kafka-upstream/internal/config"
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/registry"
)

func answersOf(t *testing.T, settings string) answers {
	t.Helper()
	cfg, err := config.Parse([]byte(`{"topic":"t","bootstrap_servers":[{"host":"127.0.0.1","port":1}],` + settings + `}`))
	if err == nil {
		err = cfg.Validate()
	}
	if err != nil {
		t.Fatal(err)
	}
	return newAnswers(cfg)
}

func TestStatusOfSuccessIsConfigured(t *testing.T) {
	for settings, want := range map[string]int{`"topic":"t"`: 200, `"response":{"status":202}`: 202, `"response":{"status":204}`: 204, `"response":null`: 200} {
		s := answersOf(t, settings)
		if a := s.of(nil); a.Status != want || a.Reason != Sent || a.Body != `{"message":"message sent"}` {
			t.Errorf("%s: %+v", settings, a)
		}
		if a := s.of(errFiltered); a.Status != 200 {
			t.Errorf("%s: filtered is answered %d", settings, a.Status)
		}
	}
}

func TestUnhealthyClientMayTryAgainAfterTheNextProbe(t *testing.T) {
	for settings, want := range map[string]string{
		`"producer_async_health_gating":true`:                                                "5",
		`"producer_async_health_gating":true,"producer_async_health_probe_interval":100`:     "1",
		`"producer_async_health_gating":true,"producer_async_health_probe_interval":2001`:    "3",
		`"error_handling":{"return_error_message":true},"producer_async_health_gating":true`: "5",
	} {
		s := answersOf(t, settings)
		if a := s.of(producer.ErrUnhealthy); a.Status != 503 || a.Headers[1] != (Header{"Retry-After", want}) {
			t.Errorf("%s: %+v", settings, a)
		}
	}
}

// Not before the configuration says so, and never where the table's text is what Kong's
// own plugin answers, or says it all.
func TestClientReadsTheCauseOnlyIfConfigured(t *testing.T) {
	secretive, open := answersOf(t, `"topic":"t"`), answersOf(t, `"error_handling":{"return_error_message":true}`)
	late := &undeliveredError{NotDelivered, "t", "broker b:1, partition 0: TopicAuthorizationFailed: not authorized", "broker b:1, partition 0: [29] x, says the broker", time.Second, errors.New("x")}
	for _, row := range []struct {
		err        error
		body, open string
	}{
		{late, `{"message":"Bad Gateway","error":"could not send message to topic"}`,
			`{"message":"Bad Gateway","error":"broker b:1, partition 0: TopicAuthorizationFailed: not authorized"}`},
		{producer.ErrFull, `{"message":"Service Unavailable","error":"could not send message to topic"}`, `{"message":"Service Unavailable","error":"the buffer is full"}`},
		{&record.TransformError{Reason: "function 1, line 2: x"}, `{"message":"Internal Server Error","error":"message function failed"}`,
			`{"message":"Internal Server Error","error":"message function failed: function 1, line 2: x"}`},
		{&registry.UnavailableError{Subject: "s", Version: "3", Registry: "http://r", Err: errors.New("refused")}, `{"message":"Bad Gateway","error":"could not get schema"}`,
			`{"message":"Bad Gateway","error":"could not get schema \"s\", version 3, from http://r: refused"}`},
		{&record.TopicError{Topics: []string{"secret"}}, `{"message":"Bad Gateway","error":"one or more target topics are not in the allowed topics list"}`, ""},
		{errors.New("headers: junk"), `{"message":"An unexpected error occurred"}`, ""},
		{&record.BadRequest{Reason: "invalid json body"}, `{"message":"Bad Request","error":"invalid json body"}`, ""},
		{nil, `{"message":"message sent"}`, ""},
	} {
		want := row.open
		if want == "" {
			want = row.body
		}
		if a := secretive.of(row.err); a.Body != row.body {
			t.Errorf("%v: %s", row.err, a.Body)
		}
		if a := open.of(row.err); a.Body != want || len(a.Log) != len(secretive.of(row.err).Log) {
			t.Errorf("%v: with return_error_message %s", row.err, a.Body)
		}
	}
}

func TestResponseSaysWhatBecameOfEachRecord(t *testing.T) {
	records := []record.Record{{Topic: "a"}, {Topic: "b"}, {Topic: "a"}}
	failed := &undeliveredError{NotDelivered, "b", "broker b:1: Down", "broker b:1: down", time.Second, errors.New("x")}
	results := []producer.Result{{Partition: 3, Offset: 0}, {Err: failed}, {Partition: 0, Offset: -1}}
	for settings, want := range map[string]string{
		`"topic":"t"`: `{"message":"Bad Gateway","error":"could not send message to topic","records":[{"topic":"a","partition":3,"offset":0},{"topic":"b","error":"could not send message to topic"},{"topic":"a","partition":0}]}`,
		`"error_handling":{"return_error_message":true}`: `{"message":"Bad Gateway","error":"broker b:1: Down","records":[{"topic":"a","partition":3,"offset":0},{"topic":"b","error":"broker b:1: Down"},{"topic":"a","partition":0}]}`,
	} {
		s := answersOf(t, settings)
		a := s.of(failed)
		s.addRecords(&a, records, results)
		if a.Body != want || a.Status != 502 {
			t.Errorf("%s: %d %s", settings, a.Status, a.Body)
		}
	}
}

package plugin

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"kafka-upstream/internal/config"
	"kafka-upstream/internal/foreign"
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/record"
)

// answers makes the responses of one configuration: those of the table, with what the
// configuration changes in them. It is read-only.
type answers struct {
	topic  string // for the log
	limit  int    // of a message, in bytes
	causes bool   // the client may read why a request failed

	success        Response
	unhealthyRetry []Header
}

func newAnswers(cfg *config.Config) answers {
	s := answers{
		topic: cfg.Topic, limit: cfg.Record().MaxValue, causes: cfg.ErrorHandling.ReturnErrorMessage,
		success:        Sent.Response(),
		unhealthyRetry: headersRetryAfter(max(1, (cfg.HealthProbe.Duration()+time.Second-1)/time.Second)),
	}
	s.success.Status = cmp.Or(cfg.Response.Status, s.success.Status)
	return s
}

// of returns the response to a request that ended with err.
func (s *answers) of(err error) Response {
	a := outcome(err, s.topic, s.limit)
	if a.Reason == Sent {
		return s.success
	}
	if s.causes && a.Reason.hasCause() {
		log := a.Log
		a = response(a.Reason, cause(err))
		a.Log = log
	}
	if a.Reason == Unhealthy {
		a.Headers = s.unhealthyRetry
	}
	return a
}

// cause returns why a request failed, for a client that may know it: without texts of brokers.
func cause(err error) string {
	if e, ok := errors.AsType[*undeliveredError](err); ok {
		return e.cause
	}
	return foreign.Line(err.Error())
}

// delivered is what a response says of a record.
type delivered struct {
	Topic     string `json:"topic"`
	Partition *int32 `json:"partition,omitempty"`
	Offset    *int64 `json:"offset,omitempty"` // absent with producer_request_acks 0
	Error     string `json:"error,omitempty"`
}

// addRecords adds to a response what became of each record, in their order.
func (s *answers) addRecords(a *Response, records []record.Record, results []producer.Result) {
	var body struct {
		Message string      `json:"message"`
		Error   string      `json:"error,omitempty"`
		Records []delivered `json:"records"`
	}
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil {
		panic(fmt.Sprintf("a body of the table of responses: %v", err))
	}
	for i := range results {
		d := delivered{Topic: records[i].Topic}
		switch r := &results[i]; {
		case r.Err != nil && s.causes:
			d.Error = cause(r.Err)
		case r.Err != nil:
			d.Error = msgNotSent
		default:
			d.Partition = &r.Partition
			if r.Offset >= 0 {
				d.Offset = &r.Offset
			}
		}
		body.Records = append(body.Records, d)
	}
	b, err := json.Marshal(&body)
	if err != nil {
		panic(err) // strings and numbers
	}
	a.Body = string(b)
}

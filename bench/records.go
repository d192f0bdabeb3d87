//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"strings"
)

// The goals for what a configuration may cost beside the default message.
const (
	goalBody       = 0.8  // of value_format body: times the CPU of the message, at most
	goalKey        = 1.0  // of a key and three headers: µs more than the same message without, at most
	goalRedacting  = 12.0 // of the function that redacts a header: as goalKey
	goalAvro       = 3.0  // of a body in Avro: µs more than the message, at most
	goalJSONSchema = 10.0 // of a body that is valid by a JSON Schema: as Avro
)

// form is a way to make records of requests, and the form that it is compared with.
type form struct {
	name     string
	settings map[string]any
	schema   string       // the subject of the value's schema; none if ""
	request  *httpRequest // the baseline request if nil
	records  int          // of each request, 1 if zero
	beside   int          // the index of another form
}

// scenario returns that of the form, with a schema registry at that URL.
func (f *form) scenario(registry string) scenario {
	s := scenario{settings: f.settings, request: f.request, records: f.records}
	if f.schema != "" {
		s.settings = withSchema(f.settings, registry, f.schema)
	}
	return s
}

// The forms that others are compared with, and those with a goal.
const (
	defaultForm = iota // the default configuration
	wholeForm          // all that a message can have
	bodyForm
	keyForm
	redactingForm
)

var forms = []form{
	defaultForm: {name: "message, the body alone (default)", settings: bodyAlone(nil)},
	wholeForm:   {name: "message, all of `forward_*`", beside: wholeForm},
	bodyForm:    {name: "`value_format: body`", settings: bodyAlone(map[string]any{"value_format": "body"})},
	keyForm: {name: "key and three headers", beside: wholeForm, settings: map[string]any{
		"key_query_arg": "source", "headers": map[string]any{
			"forward_http_headers_as_record_headers": true, "include_headers": []string{"x-request-id", "x-forwarded-for", "traceparent"}}}},
	redactingForm: {name: "function that redacts a header", beside: wholeForm, settings: map[string]any{"message_by_lua_functions": []string{
		`return function(message)
			if message.headers.authorization then message.headers.authorization = "[REDACTED]" end
			return message
		end`}}},
	{name: "`split: ndjson`, ten records", settings: bodyAlone(map[string]any{"split": "ndjson"}), request: ndjsonRequest(10), records: 10},
	{name: "function that returns the body", settings: bodyAlone(map[string]any{"message_by_lua_functions": []string{"return function(message) return message.body end"}})},
	{name: "body in Avro", settings: bodyAlone(map[string]any{"value_format": "body"}), schema: "AVRO"},
	{name: "body with a JSON Schema", settings: bodyAlone(map[string]any{"value_format": "body"}), schema: "JSON"},
	{name: "body in Protobuf", settings: bodyAlone(map[string]any{"value_format": "body"}), schema: "PROTOBUF"},
	{name: "`compression_type: lz4`", settings: bodyAlone(map[string]any{"compression_type": "lz4"})},
	{name: "`compression_type: zstd`", settings: bodyAlone(map[string]any{"compression_type": "zstd"})},
}

// bodyAlone returns settings with those of the default that the baseline has otherwise.
func bodyAlone(more map[string]any) map[string]any {
	return merged(map[string]any{"forward_method": false, "forward_uri": false, "forward_headers": false}, more)
}

// merged returns settings with more of them.
func merged(settings, more map[string]any) map[string]any {
	m := maps.Clone(settings)
	maps.Copy(m, more)
	return m
}

// ndjsonRequest is the baseline request with a body of n lines, about as large.
func ndjsonRequest(n int) *httpRequest {
	r := baselineRequest()
	r.Body = bytes.Repeat([]byte(`{"sku":"p-00001","count":7,"text":"`+strings.Repeat("x", 64)+"\"}\n"), n)
	for i, h := range r.Headers {
		switch h[0] {
		case "content-type":
			r.Headers[i][1] = "application/x-ndjson"
		case "content-length":
			r.Headers[i][1] = fmt.Sprint(len(r.Body))
		}
	}
	return r
}

// records measures the forms side by side.
func records(ctx context.Context, o *options, all []candidate, r *report) error {
	registry := startRegistry()
	defer registry.Close()
	found := make([][]*sample, len(forms))
	for round := range o.rounds {
		var entrants []entrant
		for _, f := range forms {
			s := f.scenario(registry.URL())
			s.connections, s.measure, s.profiles = goalConnections, o.measure, o.profiles
			entrants = append(entrants, entrant{all[0], s})
		}
		samples, err := sideBySide(ctx, entrants)
		if err != nil {
			return err
		}
		for i, s := range samples {
			found[i] = append(found[i], s)
			r.progress("round %d %-40s %6.0f/s  CPU %5.1f µs (user %4.1f)", round+1, forms[i].name, s.rate(), s.cpu(), s.userCPU())
		}
	}
	t := table{head: []string{"records", "CPU µs/request", "user", "beside", "CPU ÷ beside", "µs more"}}
	for i, f := range forms {
		beside := found[f.beside]
		more := make([]float64, len(found[i]))
		for round, s := range found[i] {
			more[round] = s.cpu() - beside[round].cpu()
		}
		ratio := ratios(found[i], beside, (*sample).cpu)
		t.add(f.name, summary("%.1f", each(found[i], (*sample).cpu)), summary("%.1f", each(found[i], (*sample).userCPU)),
			forms[f.beside].name, summary("%.2f", ratio), summary("%.1f", more))
		switch {
		case f.schema == "AVRO":
			r.atMost("CPU of a "+f.name+" beside the default message, µs", median(more), goalAvro)
		case f.schema == "JSON":
			r.atMost("CPU of a "+f.name+" beside the default message, µs", median(more), goalJSONSchema)
		case i == bodyForm:
			r.atMost("CPU per request: "+f.name+" ÷ the default message", median(ratio), goalBody)
		case i == keyForm:
			r.atMost("CPU of a "+f.name+", µs", median(more), goalKey)
		case i == redactingForm:
			r.atMost("CPU of a "+f.name+", µs", median(more), goalRedacting)
		}
	}
	r.section("records", t)
	return nil
}

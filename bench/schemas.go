//go:build linux

package main

import (
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
)

// The schemas of the baseline request's body.
const (
	orderAvro = `{"type":"record","name":"Order","namespace":"shop","fields":[
		{"name":"order","type":"string"},{"name":"placed","type":"string"},{"name":"total","type":"double"},
		{"name":"currency","type":["null","string"],"default":null},
		{"name":"customer","type":["null",{"type":"record","name":"Customer","fields":[{"name":"id","type":"long"},{"name":"name","type":"string"},
			{"name":"street","type":"string"},{"name":"city","type":"string"},{"name":"vip","type":"boolean"}]}],"default":null},
		{"name":"items","type":{"type":"array","items":{"type":"record","name":"Item","fields":[{"name":"sku","type":"string"},
			{"name":"count","type":"int"},{"name":"price","type":"double"},{"name":"description","type":"string"}]}}},
		{"name":"note","type":"string"}]}`
	orderJSON = `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","required":["order","placed","items"],"properties":{
		"order":{"type":"string","minLength":1},"placed":{"type":"string"},"total":{"type":"number","minimum":0},"currency":{"type":"string","pattern":"^[A-Z]{3}$"},
		"customer":{"type":"object","required":["id","name"],"properties":{"id":{"type":"integer"},"name":{"type":"string"},"street":{"type":"string"},"city":{"type":"string"},"vip":{"type":"boolean"}}},
		"items":{"type":"array","items":{"type":"object","required":["sku","count"],"additionalProperties":false,"properties":{"sku":{"type":"string"},
			"count":{"type":"integer","minimum":1},"price":{"type":"number"},"description":{"type":"string"}}}},"note":{"type":"string"}}}`
	orderProto = `syntax = "proto3"; package shop;
		message Order { string order = 1; string placed = 2; double total = 3; string currency = 4; Customer customer = 5; repeated Item items = 6; string note = 7; }
		message Customer { int64 id = 1; string name = 2; string street = 3; string city = 4; bool vip = 5; }
		message Item { string sku = 1; int32 count = 2; double price = 3; string description = 4; }`
)

// startRegistry starts a schema registry with these schemas, each under the name of its kind.
func startRegistry() *srfake.Registry {
	registry := srfake.New()
	for i, s := range []sr.Schema{{Type: sr.TypeAvro, Schema: orderAvro}, {Type: sr.TypeJSON, Schema: orderJSON}, {Type: sr.TypeProtobuf, Schema: orderProto}} {
		registry.SeedSchema(s.Type.String(), 1, i+1, s)
	}
	return registry
}

// withSchema returns settings with a value schema of the registry at that URL.
func withSchema(settings map[string]any, url, subject string) map[string]any {
	return merged(settings, map[string]any{"schema_registry": map[string]any{
		"confluent": map[string]any{"url": url, "value_schema": map[string]any{"subject_name": subject}}}})
}

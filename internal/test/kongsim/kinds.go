package kongsim

import "fmt"

func mustSchema(raw string) *fieldSchema {
	s, err := parseSchema([]byte(raw))
	if err != nil {
		panic(err)
	}
	return s
}

// The fields of Kong's own entities that this stand-in knows, with Kong's
// defaults.
var (
	serviceSchema = mustSchema(`{"name":"services","fields":[
		{"id":{"type":"string","uuid":true,"auto":true}},
		{"created_at":{"type":"integer","auto":true}},
		{"updated_at":{"type":"integer","auto":true}},
		{"name":{"type":"string"}},
		{"retries":{"type":"integer","default":5,"between":[0,32767]}},
		{"protocol":{"type":"string","required":true,"default":"http","one_of":["grpc","grpcs","http","https","tcp","tls","tls_passthrough","udp","ws","wss"]}},
		{"host":{"type":"string","required":true}},
		{"port":{"type":"integer","required":true,"default":80,"between":[0,65535]}},
		{"path":{"type":"string","starts_with":"/"}},
		{"connect_timeout":{"type":"integer","default":60000,"between":[1,2147483646]}},
		{"write_timeout":{"type":"integer","default":60000,"between":[1,2147483646]}},
		{"read_timeout":{"type":"integer","default":60000,"between":[1,2147483646]}},
		{"enabled":{"type":"boolean","required":true,"default":true}},
		{"tags":{"type":"set","elements":{"type":"string"}}}]}`)
	routeSchema = mustSchema(`{"name":"routes","fields":[
		{"id":{"type":"string","uuid":true,"auto":true}},
		{"created_at":{"type":"integer","auto":true}},
		{"updated_at":{"type":"integer","auto":true}},
		{"name":{"type":"string"}},
		{"protocols":{"type":"set","required":true,"len_min":1,"default":["http","https"],"elements":{"type":"string","one_of":["grpc","grpcs","http","https"]}}},
		{"https_redirect_status_code":{"type":"integer","required":true,"default":426,"one_of":[426,301,302,307,308]}},
		{"strip_path":{"type":"boolean","required":true,"default":true}},
		{"preserve_host":{"type":"boolean","required":true,"default":false}},
		{"request_buffering":{"type":"boolean","required":true,"default":true}},
		{"response_buffering":{"type":"boolean","required":true,"default":true}},
		{"path_handling":{"type":"string","default":"v0","one_of":["v0","v1"]}},
		{"regex_priority":{"type":"integer","default":0}},
		{"methods":{"type":"set","elements":{"type":"string","match":"^%u+$","err":"invalid value: a method is written in capitals"}}},
		{"hosts":{"type":"array","elements":{"type":"string","match_none":[{"pattern":"[^%w%.%-_:*]","err":"invalid hostname"}]}}},
		{"paths":{"type":"array","elements":{"type":"string","match_any":[{"pattern":"^/","err":"should start with: / (fixed path) or ~/ (regexed path)"},{"pattern":"^~/"}]}}},
		{"tags":{"type":"set","elements":{"type":"string"}}},
		{"service":{"type":"foreign","reference":"services"}}]}`)
	certificateSchema = mustSchema(`{"name":"certificates","fields":[
		{"id":{"type":"string","uuid":true,"auto":true}},
		{"created_at":{"type":"integer","auto":true}},
		{"updated_at":{"type":"integer","auto":true}},
		{"cert":{"type":"string","required":true,"referenceable":true}},
		{"key":{"type":"string","required":true,"referenceable":true}},
		{"cert_alt":{"type":"string","referenceable":true}},
		{"key_alt":{"type":"string","referenceable":true}},
		{"tags":{"type":"set","elements":{"type":"string"}}}]}`)
)

const pluginFields = `{"name":"plugins","fields":[
	{"id":{"type":"string","uuid":true,"auto":true}},
	{"created_at":{"type":"integer","auto":true}},
	{"updated_at":{"type":"integer","auto":true}},
	{"name":{"type":"string","required":true}},
	{"instance_name":{"type":"string"}},
	{"enabled":{"type":"boolean","required":true,"default":true}},
	{"tags":{"type":"set","elements":{"type":"string"}}},
	{"route":{"type":"foreign","reference":"routes"}},
	{"service":{"type":"foreign","reference":"services"}}]}`

// pluginSchema returns the schema of a plugin entity: Kong's own fields and
// those that the plugin's dump adds.
func pluginSchema(dump *fieldSchema) (*fieldSchema, error) {
	s := mustSchema(pluginFields)
	for _, f := range dump.fields {
		if s.field(f.name) == nil {
			s.fields = append(s.fields, f)
		}
	}
	config := s.field("config")
	if config == nil || config.kind != "record" {
		return nil, fmt.Errorf("the plugin's schema has no record named config")
	}
	return s, nil
}

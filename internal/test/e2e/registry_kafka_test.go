//go:build kafka

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bufbuild/protocompile"
	"github.com/linkedin/goavro/v2"
	"github.com/twmb/franz-go/pkg/sr"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"kafka-upstream/internal/test/apicurio"
	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/idp"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/testcert"
)

// A genuine registry, and a genuine Kafka. What the records hold is read by franz-go's sr, as
// Confluent's deserializers do, and by other libraries for the formats than the program's, where
// there are such.

const (
	avroUser = `{"type":"record","name":"User","namespace":"shop","fields":[{"name":"name","type":"string"},{"name":"age","type":["null","int"],"default":null}]}`
	avroAddr = `{"type":"record","name":"Address","namespace":"shop","fields":[{"name":"city","type":"string"}]}`
	avroSent = `{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"long"},{"name":"to","type":"shop.Address"}]}`
	avroOurs = `{"type":"record","name":"Message","fields":[{"name":"method","type":"string"},{"name":"body","type":"string"}]}`
	jsonUser = `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"name":{"type":"string","minLength":3},"age":{"type":"integer","minimum":0}},"required":["name","age"]}`
	jsonAddr = `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"city":{"type":"string"}},"required":["city"]}`
	jsonSent = `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"id":{"type":"integer"},"to":{"$ref":"address.json"}},"required":["id","to"]}`
	protoUsr = `syntax = "proto3"; package shop; message User { string name = 1; int32 age = 2; }`
	protoAdr = `syntax = "proto3"; package shop; message Address { string city = 1; }`
	protoSnt = `syntax = "proto3"; package shop; import "address.proto"; message Order { int64 id = 1; Address to = 2; }`
)

// readAvro returns what reads Avro's binary form as JSON, with the types of the schemas.
func readAvro(schema string) func([]byte) (string, error) {
	return func(b []byte) (string, error) {
		codec, err := goavro.NewCodec(schema)
		if err != nil {
			return "", err
		}
		v, rest, err := codec.NativeFromBinary(b)
		if err == nil && len(rest) > 0 {
			err = fmt.Errorf("%d bytes are left", len(rest))
		}
		if err != nil {
			return "", err
		}
		text, err := codec.TextualFromNative(nil, v)
		if err == nil {
			err = json.Unmarshal(text, &v)
		}
		if err == nil {
			text, err = json.Marshal(v) // members in one order
		}
		return string(text), err
	}
}

func readJSON(b []byte) (string, error) { return string(b), nil }

// readProtobuf returns what reads the first message of a file.
func readProtobuf(text string) func([]byte) (string, error) {
	return func(b []byte) (string, error) {
		files := map[string]string{"schema": text, "address.proto": protoAdr}
		c := protocompile.Compiler{Resolver: &protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(files)}}
		compiled, err := c.Compile(context.Background(), "schema")
		if err != nil {
			return "", err
		}
		var first protoreflect.MessageDescriptor = compiled[0].Messages().Get(0)
		m := dynamicpb.NewMessage(first)
		if err := proto.Unmarshal(b, m); err != nil {
			return "", err
		}
		text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
		var compact bytes.Buffer
		if err == nil {
			err = json.Compact(&compact, text)
		}
		return compact.String(), err
	}
}

// confluent is the field schema_registry of a configuration.
func confluent(url string, more map[string]any) map[string]any {
	return map[string]any{"confluent": with(map[string]any{"url": url}, more)}
}

// unique is a name that no other run of the test has.
func unique(name string) string { return name + "-" + strconv.FormatInt(time.Now().UnixNano(), 36) }

func TestRecordsAreReadByTheSchemasOfARealRegistry(t *testing.T) {
	registry, kafka := apicurio.Shared(t), kafkatest.Shared(t, kafkatest.Versions[0])
	serde := new(sr.Serde)
	register := func(subject string, s apicurio.Schema, read func([]byte) (string, error), index ...int) {
		t.Helper()
		options := []sr.EncodingOpt{sr.DecodeFn(func(b []byte, v any) (err error) {
			*v.(*string), err = read(b)
			return err
		})}
		if len(index) > 0 {
			options = append(options, sr.Index(index...))
		}
		serde.Register(registry.Register(t, subject, s), "", options...)
	}
	avro, jsonSchema, protobuf := "", "JSON", "PROTOBUF"
	register("avro-user", apicurio.Schema{Type: avro, Text: avroUser}, readAvro(avroUser))
	register("avro-address", apicurio.Schema{Type: avro, Text: avroAddr}, readAvro(avroAddr))
	register("avro-order", apicurio.Schema{Type: avro, Text: avroSent, References: []apicurio.Reference{{Name: "shop.Address", Subject: "avro-address", Version: 1}}},
		readAvro(strings.Replace(avroSent, `"shop.Address"`, avroAddr, 1)))
	register("avro-message", apicurio.Schema{Type: avro, Text: avroOurs}, readAvro(avroOurs))
	register("avro-long", apicurio.Schema{Type: avro, Text: `"long"`}, readAvro(`"long"`))
	register("avro-text", apicurio.Schema{Type: avro, Text: `"string"`}, readAvro(`"string"`))
	register("json-user", apicurio.Schema{Type: jsonSchema, Text: jsonUser}, readJSON)
	register("json-address", apicurio.Schema{Type: jsonSchema, Text: jsonAddr}, readJSON)
	register("json-order", apicurio.Schema{Type: jsonSchema, Text: jsonSent, References: []apicurio.Reference{{Name: "address.json", Subject: "json-address", Version: 1}}}, readJSON)
	register("proto-user", apicurio.Schema{Type: protobuf, Text: protoUsr}, readProtobuf(protoUsr), 0)
	register("proto-address", apicurio.Schema{Type: protobuf, Text: protoAdr}, readProtobuf(protoAdr), 0)
	register("proto-order", apicurio.Schema{Type: protobuf, Text: protoSnt, References: []apicurio.Reference{{Name: "address.proto", Subject: "proto-address", Version: 1}}}, readProtobuf(protoSnt), 0)

	const anna, order = `{"name":"Anna","age":30}`, `{"id":4711,"to":{"city":"Zürich"}}`
	body := map[string]any{"value_format": "body"}
	function := func(text string) map[string]any { return map[string]any{"message_by_lua_functions": []string{text}} }
	type misfit struct{ body, path string }
	for _, c := range []struct {
		name       string
		value, key string // subjects
		config     map[string]any
		sent       sent
		want       string // key and value as they are read
		misfits    []misfit
	}{
		{"avro.body", "avro-user", "", body, sent{target: "/", body: anna}, `null {"age":{"int":30},"name":"Anna"}`,
			[]misfit{{`{"name":"Secretive","age":"thirty"}`, "/age"}, {`{"age":1}`, `lacks the field \"name\"`}, {`not json`, ""}}},
		{"avro.tagged", "avro-user", "", body, sent{target: "/", body: `{"name":"Anna","age":{"int":30}}`}, `null {"age":{"int":30},"name":"Anna"}`, nil},
		{"avro.references", "avro-order", "", body, sent{target: "/", body: order}, `null {"id":4711,"to":{"city":"Zürich"}}`, []misfit{{`{"id":1,"to":{"city":7}}`, "/to/city"}}},
		{"avro.message", "avro-message", "", map[string]any{"forward_method": true}, sent{target: "/", headers: []string{"content-type: text/plain"}, body: "hello"}, `null {"body":"hello","method":"POST"}`, nil},
		{"avro.function", "avro-user", "", function("return function(m) return {name = m.body_args.who, age = 30} end"), sent{target: "/", headers: []string{"content-type: application/json"}, body: `{"who":"Anna"}`}, `null {"age":{"int":30},"name":"Anna"}`, nil},
		{"avro.text", "avro-user", "", function("return function(m) return m.body end"), sent{target: "/", headers: []string{"content-type: text/plain"}, body: anna}, `null {"age":{"int":30},"name":"Anna"}`, nil},
		{"avro.key", "avro-user", "avro-long", with(body, map[string]any{"key_query_arg": "k"}), sent{target: "/?k=42", body: anna}, `42 {"age":{"int":30},"name":"Anna"}`, nil},
		{"text.key", "json-user", "avro-text", with(body, map[string]any{"key_query_arg": "k"}), sent{target: "/?k=a%20b", body: anna}, `"a b" ` + anna, nil},
		{"json.body", "json-user", "", body, sent{target: "/", body: ` {"name": "Anna", "age":30} `}, `null  {"name": "Anna", "age":30} `, []misfit{{`{"name":"Secretive","age":-5}`, "/age"}, {`{"name":"ab","age":5}`, "/name"}}},
		{"json.references", "json-order", "", body, sent{target: "/", body: order}, `null ` + order, []misfit{{`{"id":1,"to":{}}`, "/to"}}},
		{"protobuf.body", "proto-user", "", body, sent{target: "/", body: anna}, `null {"name":"Anna","age":30}`, []misfit{{`{"name":"Secretive","age":"thirty"}`, "/age"}}},
		{"protobuf.references", "proto-order", "", body, sent{target: "/", body: order}, `null {"id":"4711","to":{"city":"Zürich"}}`, []misfit{{`{"id":1,"to":{"city":7}}`, "/to/city"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			topic := kafka.CreateTopic(t, unique(c.name), 1, 1, nil)
			schemas := map[string]any{"value_schema": subject(c.value)}
			if c.key != "" {
				schemas["key_schema"] = subject(c.key)
			}
			sim := gateway(t, hosts(map[string][]byte{c.name: rig.Settings(t, kafka.Addrs(kafkatest.Plaintext),
				with(map[string]any{"topic": topic, "producer_async": false, "schema_registry": confluent(registry.URL(), schemas)}, c.config))}))
			if c.sent.check(t, sim.URL(), c.name); t.Failed() {
				return
			}
			for _, m := range c.misfits {
				status, _, answer := sent{target: "/", body: m.body}.send(t, sim.URL(), c.name)
				want := `{"message":"Bad Request","error":"message does not fit schema ` + c.value + ` version 1: ` + m.path
				if status != 400 || !strings.HasPrefix(answer, want) || strings.Contains(answer, "Secretive") || strings.Contains(answer, "thirty") {
					t.Errorf("%s is answered %d %s\nwant 400 %s…", m.body, status, answer, want)
				}
			}
			var got []string
			for _, r := range kafka.Records(t, topic, 1) {
				read := func(b []byte) string {
					text := "null"
					if b != nil {
						if err := serde.Decode(b, &text); err != nil {
							t.Errorf("%q: %v", b, err)
						}
					}
					return text
				}
				got = append(got, read(r.Key)+" "+read(r.Value))
			}
			if want := []string{c.want}; !slices.Equal(got, want) {
				t.Errorf("the records are %q, want %q", got, want)
			}
		})
	}
}

// Each way to authenticate, to the genuine registry behind a server that demands it.
func TestRealRegistryBehindEachAuthentication(t *testing.T) {
	registry, kafka := apicurio.Shared(t), kafkatest.Shared(t, kafkatest.Versions[0])
	registry.Register(t, "guarded", apicurio.Schema{Text: avroUser})
	topic := kafka.CreateTopic(t, unique("guarded"), 1, 1, nil)
	ca := testcert.New("of the registry")
	const secret, password = "s3cret of the registry's client", "p4ssw0rd of the registry, ü"
	provider := idp.Start(t, idp.Config{CA: ca, Clients: map[string]string{"kong": rig.Secret(secret)}, Users: map[string]string{"anna": rig.Secret(password)}})
	header := rig.Secret("t0ken-header-of-the-provider")
	dir := t.TempDir()
	if err := rig.SecretKey(ca.Client("kong")).Write(dir, certID); err != nil {
		t.Fatal(err)
	}
	auth := func(mode string, more map[string]any) map[string]any {
		return map[string]any{"authentication": with(map[string]any{"mode": mode}, more)}
	}
	oauth2 := func(more, client map[string]any) map[string]any {
		return auth("oauth2", map[string]any{"logical_cluster_id": "lsrc-1", "identity_pool_id": "pool-2", "oauth2_client": client,
			"oauth2": with(map[string]any{"token_endpoint": provider.TokenURL, "client_id": "kong", "client_secret": secret}, more)})
	}
	for _, c := range []struct {
		name   string
		door   *door
		config map[string]any
		reason string // in the log; "" if the schema is had
	}{
		{"TLS", &door{}, nil, ""},
		{"basic", &door{user: "kong", password: password}, auth("basic", map[string]any{"basic": map[string]any{"username": "kong", "password": password}}), ""},
		{"basic, wrong password", &door{user: "kong", password: password}, auth("basic", map[string]any{"basic": map[string]any{"username": "kong", "password": rig.Secret("wr0ng-password-of-kong")}}), "401"},
		{"none where there must be some", &door{user: "kong", password: password}, nil, "401"},
		{"mTLS", &door{mutual: true}, map[string]any{"certificate_id": certID}, ""},
		{"mTLS without a certificate", &door{mutual: true}, nil, "certificate"},
		{"oauth2", &door{tokens: provider}, oauth2(map[string]any{"token_headers": map[string]string{"x-secret": header}}, nil), ""},
		{"oauth2 by basic", &door{tokens: provider}, oauth2(nil, map[string]any{"auth_method": "client_secret_basic"}), ""},
		{"oauth2 by assertion", &door{tokens: provider}, oauth2(nil, map[string]any{"auth_method": "client_secret_jwt"}), ""},
		{"oauth2 with a user", &door{tokens: provider}, oauth2(map[string]any{"grant_type": "password", "username": "anna", "password": password}, nil), ""},
		{"oauth2, wrong secret", &door{tokens: provider}, oauth2(map[string]any{"client_secret": rig.Secret("wr0ng-secret-of-kong")}, nil), "invalid_client"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := c.door
			d.start(t, registry, ca)
			before := len(provider.Requests())
			s := secured(t, kongYAML(t, rig.Settings(t, kafka.Addrs(kafkatest.Plaintext), with(synced, map[string]any{"topic": topic, "value_format": "body",
				"schema_registry": confluent(d.url(), with(map[string]any{"value_schema": subject("guarded")}, c.config))}))),
				append(caFlag(t, ca), "-certificates", dir, "-log-level", "debug")...)
			status, answer := s.send(host, `{"name":"Anna","age":30}`)
			if c.reason == "" {
				if status != 200 {
					t.Errorf("answered %d %s", status, answer)
				}
			} else {
				if status != 502 || answer != `{"message":"Bad Gateway","error":"could not get schema"}` {
					t.Errorf("answered %d %s", status, answer)
				}
				s.wantError("", c.reason)
			}
			if c.door.tokens == nil || c.reason != "" {
				return
			}
			seen := d.seen()
			if len(seen) == 0 || seen[0].Get("target-sr-cluster") != "lsrc-1" || seen[0].Get("Confluent-Identity-Pool-Id") != "pool-2" {
				t.Errorf("the registry was sent %v", seen)
			}
			if c.name == "oauth2" && !slices.ContainsFunc(provider.Requests()[before:], func(r idp.Request) bool { return r.Header.Get("x-secret") == header }) {
				t.Error("the provider was not sent token_headers")
			}
		})
	}
}

// The registry is killed: what was fetched stays in use, and what was not is not to be had.
// It comes back: all goes on, with the newest version.
func TestRealRegistryIsKilledAndComesBack(t *testing.T) {
	registry, kafka := apicurio.Shared(t), kafkatest.Shared(t, kafkatest.Versions[0])
	mortal := unique("mortal")
	first := registry.Register(t, mortal, apicurio.Schema{Text: avroUser})
	registry.Register(t, "unknown", apicurio.Schema{Text: `"string"`})
	topic := kafka.CreateTopic(t, unique("mortal"), 1, 1, nil)
	metrics := rig.ClosedPort(t)
	config := func(name string) []byte {
		return rig.Settings(t, kafka.Addrs(kafkatest.Plaintext), with(synced, map[string]any{"topic": topic, "value_format": "body",
			"schema_registry": confluent(registry.URL(), map[string]any{"ttl": 1, "value_schema": subject(name)})}))
	}
	s := secured(t, hosts(map[string][]byte{"known": config(mortal), "unknown": config("unknown")}), "-metrics", metrics)
	records := 0
	send := func() {
		t.Helper()
		if status, answer := s.send("known", `{"name":"Anna"}`); status != 200 {
			t.Fatalf("answered %d %s", status, answer)
		}
		records++
	}
	send()
	registry.Kill()
	rig.Eventually(t, "the schema is stale", func() bool {
		send()
		<-time.After(20 * time.Millisecond)
		return s.count("schema cannot be fetched again: the last one stays in use") > 0
	})
	if status, answer := s.send("unknown", `"x"`); status != 502 || answer != `{"message":"Bad Gateway","error":"could not get schema"}` {
		t.Errorf("a schema that was never fetched: %d %s", status, answer)
	}
	s.wantError("", "connection refused")
	if _, exposition := get(t, "http://"+metrics+"/metrics"); !strings.Contains(exposition, `state="stale"} 1`) {
		t.Error("the metrics do not tell of a stale schema")
	}
	for range 20 {
		send()
	}
	registry.Restart(t)
	next := registry.Register(t, mortal, apicurio.Schema{Text: strings.Replace(avroUser, `]}`, `,{"name":"rank","type":"int","default":1}]}`, 1)})
	// The attempts to fetch it are up to 30 s apart by now.
	for deadline := time.Now().Add(time.Minute); s.count(fmt.Sprintf("subject=%s schema_version=latest id=%d ", mortal, next)) == 0; <-time.After(50 * time.Millisecond) {
		if send(); time.Now().After(deadline) {
			t.Fatal("the next version is not used within a minute")
		}
	}
	send()
	ids := make(map[int]int)
	for _, r := range kafka.Records(t, topic, records) {
		id, _, err := new(sr.ConfluentHeader).DecodeID(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		ids[id]++
	}
	if ids[first]+ids[next] != records || ids[next] == 0 {
		t.Errorf("records by id: %v; want %d by %d and then %d", ids, records, first, next)
	}
}

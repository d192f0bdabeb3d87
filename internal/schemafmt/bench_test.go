package schemafmt

import (
	"fmt"
	"strings"
	"testing"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/request"
)

// Bodies of about 1 KiB, with their schemas.
var bodies = []struct{ name, body, avro, json, proto string }{
	{"order", orderBody, orderAvro, orderJSON, orderProto},
	{"readings", readingsBody, readingsAvro, readingsJSON, readingsProto},
	{"texts", textsBody, textsAvro, textsJSON, textsProto},
}

const (
	orderBody = `{"id":"8f14e45f-ceea-467f-a0e6-9b3f2f1c7a55","placed_at":1764385619123,"currency":"EUR","total_cents":15437,` +
		`"customer":{"id":4711,"name":"Jürgen Müller","email":"juergen.mueller@example.com","vip":false,` +
		`"address":{"street":"Hauptstraße 12","zip":"80331","city":"München","country":"DE"}},` +
		`"lines":[` +
		`{"sku":"TEA-0001","name":"Assam, second flush","quantity":2,"unit_cents":1290,"discount":0.1},` +
		`{"sku":"TEA-0017","name":"Darjeeling, first flush","quantity":1,"unit_cents":2490,"discount":0.0},` +
		`{"sku":"POT-0300","name":"Tea pot \"Berlin\", 1.2 l","quantity":1,"unit_cents":5990,"discount":0.05},` +
		`{"sku":"CUP-0042","name":"Cup with saucer","quantity":4,"unit_cents":890,"discount":0.0},` +
		`{"sku":"SPO-0007","name":"Spoon, silver plated","quantity":4,"unit_cents":349,"discount":0.0},` +
		`{"sku":"SUG-0003","name":"Rock sugar, brown","quantity":1,"unit_cents":420,"discount":0.0}],` +
		`"note":"Please ring twice.","tags":["web","first-order","newsletter"]}`
	orderAvro = `{"type":"record","name":"Order","namespace":"shop","fields":[
		{"name":"id","type":"string"},{"name":"placed_at","type":"long"},{"name":"currency","type":"string"},{"name":"total_cents","type":"long"},
		{"name":"customer","type":{"type":"record","name":"Customer","fields":[{"name":"id","type":"long"},{"name":"name","type":"string"},
			{"name":"email","type":["null","string"],"default":null},{"name":"vip","type":"boolean"},
			{"name":"address","type":{"type":"record","name":"Address","fields":[{"name":"street","type":"string"},{"name":"zip","type":"string"},{"name":"city","type":"string"},{"name":"country","type":"string"}]}}]}},
		{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[{"name":"sku","type":"string"},{"name":"name","type":"string"},
			{"name":"quantity","type":"int"},{"name":"unit_cents","type":"int"},{"name":"discount","type":"double"}]}}},
		{"name":"note","type":["null","string"],"default":null},{"name":"tags","type":{"type":"array","items":"string"}}]}`
	orderJSON = `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","required":["id","placed_at","currency","total_cents","customer","lines"],"properties":{
		"id":{"type":"string"},"placed_at":{"type":"integer"},"currency":{"type":"string","pattern":"^[A-Z]{3}$"},"total_cents":{"type":"integer","minimum":0},
		"customer":{"type":"object","required":["id","name","address"],"properties":{"id":{"type":"integer"},"name":{"type":"string","minLength":1},"email":{"type":"string"},"vip":{"type":"boolean"},
			"address":{"type":"object","required":["street","city"],"properties":{"street":{"type":"string"},"zip":{"type":"string"},"city":{"type":"string"},"country":{"type":"string","enum":["DE","AT","CH"]}}}}},
		"lines":{"type":"array","minItems":1,"items":{"type":"object","required":["sku","quantity"],"additionalProperties":false,"properties":{"sku":{"type":"string"},"name":{"type":"string"},
			"quantity":{"type":"integer","minimum":1},"unit_cents":{"type":"integer","minimum":0},"discount":{"type":"number"}}}},
		"note":{"type":"string"},"tags":{"type":"array","items":{"type":"string"}}}}`
	orderProto = `syntax = "proto3"; package shop;
		message Order { string id = 1; int64 placed_at = 2; string currency = 3; int64 total_cents = 4; Customer customer = 5; repeated Line lines = 6; string note = 7; repeated string tags = 8; }
		message Customer { int64 id = 1; string name = 2; string email = 3; bool vip = 4; Address address = 5; }
		message Address { string street = 1; string zip = 2; string city = 3; string country = 4; }
		message Line { string sku = 1; string name = 2; int32 quantity = 3; int32 unit_cents = 4; double discount = 5; }`

	readingsAvro = `{"type":"record","name":"Readings","fields":[{"name":"device","type":"string"},{"name":"seq","type":"long"},{"name":"readings","type":{"type":"array","items":
		{"type":"record","name":"Reading","fields":[{"name":"t","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"temperature","type":"double"},{"name":"humidity","type":"float"},{"name":"pressure","type":["null","double"],"default":null},{"name":"ok","type":"boolean"}]}}}]}`
	readingsJSON = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","required":["device","readings"],"properties":{"device":{"type":"string"},"seq":{"type":"integer"},
		"readings":{"type":"array","items":{"type":"object","required":["t","temperature"],"properties":{"t":{"type":"integer"},"temperature":{"type":"number","minimum":-90,"maximum":90},"humidity":{"type":"number","minimum":0,"maximum":100},"pressure":{"type":["number","null"]},"ok":{"type":"boolean"}}}}}}`
	readingsProto = `syntax = "proto3"; message Readings { string device = 1; int64 seq = 2; repeated Reading readings = 3; message Reading { int64 t = 1; double temperature = 2; float humidity = 3; double pressure = 4; bool ok = 5; } }`

	textsAvro  = `{"type":"record","name":"Ticket","fields":[{"name":"subject","type":"string"},{"name":"text","type":"string"},{"name":"language","type":["null","string"],"default":null}]}`
	textsJSON  = `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","required":["subject","text"],"properties":{"subject":{"type":"string","maxLength":200},"text":{"type":"string","maxLength":5000},"language":{"type":"string"}}}`
	textsProto = `syntax = "proto3"; message Ticket { string subject = 1; string text = 2; string language = 3; }`
)

var (
	readingsBody = func() string {
		var b strings.Builder
		b.WriteString(`{"device":"sensor-0815","seq":123456,"readings":[`)
		for i := range 12 {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"t":%d,"temperature":%.2f,"humidity":%.1f,"pressure":%.2f,"ok":true}`, 1764385619000+i*1000, 21.37+float64(i)/7, 48.5+float64(i)/3, 1013.25-float64(i)/9)
		}
		b.WriteString(`]}`)
		return b.String()
	}()
	textsBody = `{"subject":"My order has not arrived","text":"` + strings.Repeat(`It was promised for Tuesday, and \"nobody\" called.\nGrüße. `, 15) + `","language":"en"}`
)

// A body's encoders, beside the encoder of the default message on the same body.
func BenchmarkEncode(b *testing.B) {
	for _, body := range bodies {
		doc := []byte(body.body)
		b.Run(body.name+"/message", func(b *testing.B) {
			fields := request.Fields{Method: true, URI: true, Headers: true, Body: true}
			e := jsonmsg.NewEncoder(fields, nil)
			d := &record.Draft{Request: &request.Request{
				Method: []byte("POST"), URI: []byte("/"), Body: doc,
				Headers: []request.Header{{Name: []byte("content-type"), Value: []byte("application/json")}},
			}}
			b.ReportAllocs()
			b.SetBytes(int64(len(doc)))
			var dst []byte
			var err error
			for b.Loop() {
				if dst, err = e.Append(dst[:0], d); err != nil {
					b.Fatal(err)
				}
			}
		})
		for _, s := range []struct {
			kind Kind
			text string
		}{{Avro, body.avro}, {JSONSchema, body.json}, {Protobuf, body.proto}} {
			e, err := Compile(s.kind, s.text, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("%s/%s", body.name, s.kind), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(doc)))
				var dst []byte
				for b.Loop() {
					if dst, err = e.AppendJSON(dst[:0], doc); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

package lua

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
)

// recording is what a genuine Kong answered to the calls of one request.
type recording struct {
	Request        []byte `json:"request"`
	BodyInTempFile bool   `json:"body_in_temp_file"`
	Calls          []struct {
		Method string `json:"method"`
		Args   []byte `json:"args"`
		Reply  []byte `json:"reply"`
	} `json:"calls"`
}

func (r *recording) reply(t testing.TB, method, args string) []byte {
	t.Helper()
	for _, c := range r.Calls {
		if c.Method == method && string(c.Args) == args {
			return c.Reply
		}
	}
	t.Fatalf("there is no reply to %s(%q)", method, args)
	return nil
}

// scalar is the value of a reply of one field: text, a number, or nil.
func scalar(t testing.TB, b []byte) any {
	t.Helper()
	if len(b) == 0 {
		return nil
	}
	_, typ, n := protowire.ConsumeTag(b)
	switch b = b[max(n, 0):]; typ {
	case protowire.BytesType:
		v, _ := protowire.ConsumeBytes(b)
		return string(v)
	case protowire.VarintType:
		v, _ := protowire.ConsumeVarint(b)
		return float64(v)
	case protowire.Fixed64Type:
		v, _ := protowire.ConsumeFixed64(b)
		return math.Float64frombits(v)
	}
	t.Fatalf("reply %x", b)
	return nil
}

// textFields returns the values of a message's fields with that number.
func textFields(b []byte, number protowire.Number) (values [][]byte) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		size := protowire.ConsumeFieldValue(num, typ, b[n:])
		if num == number && typ == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b[n:])
			values = append(values, v)
		}
		b = b[n+size:]
	}
	return values
}

// structure is the value of a reply that is a google.protobuf.Struct.
func structure(b []byte) map[string]any {
	out := map[string]any{}
	for _, entry := range textFields(b, 1) {
		name, v := textFields(entry, 1), textFields(entry, 2)
		out[string(name[0])] = structValue(v[0])
	}
	return out
}

func structValue(b []byte) any {
	if all := textFields(b, 3); len(all) > 0 {
		return string(all[0])
	}
	if all := textFields(b, 6); len(all) > 0 {
		values := []any{}
		for _, e := range textFields(all[0], 1) {
			values = append(values, structValue(e))
		}
		return values
	}
	var v structpb.Value
	if proto.Unmarshal(b, &v) == nil {
		return v.AsInterface()
	}
	return nil
}

// scalars are calls without arguments whose replies are one text or number, and others that
// return the same.
var scalars = map[string]string{
	"kong.request.get_method()":           "kong.request.get_method",
	"kong.request.get_path_with_query()":  "kong.request.get_path_with_query",
	"kong.request.get_path()":             "kong.request.get_path",
	"kong.request.get_raw_query()":        "kong.request.get_raw_query",
	"kong.request.get_scheme()":           "kong.request.get_scheme",
	"kong.request.get_host()":             "kong.request.get_host",
	"kong.request.get_port()":             "kong.request.get_port",
	"kong.request.get_http_version()":     "kong.request.get_http_version",
	"kong.request.get_forwarded_scheme()": "kong.request.get_forwarded_scheme",
	"kong.request.get_forwarded_host()":   "kong.request.get_forwarded_host",
	"kong.request.get_forwarded_port()":   "kong.request.get_forwarded_port",
	"kong.client.get_ip()":                "kong.client.get_ip",
	"kong.client.get_forwarded_ip()":      "kong.client.get_forwarded_ip",
	"kong.client.get_port()":              "kong.client.get_port",
	"kong.client.get_consumer()":          "kong.client.get_consumer",
	"kong.client.get_credential()":        "kong.client.get_credential",
	"kong.router.get_service()":           "kong.router.get_service",
	"kong.node.get_id()":                  "kong.node.get_id",
	"kong.nginx.get_subsystem()":          "kong.nginx.get_subsystem",
	"ngx.req.start_time()":                "kong.nginx.req_start_time",
	"ngx.req.get_method()":                "kong.request.get_method",
	"ngx.req.http_version()":              "kong.request.get_http_version",

	`kong.request.get_header("content-type")`: "kong.request.get_header content-type",
	`kong.request.get_header("Content_Type")`: "kong.request.get_header content-type",
	`kong.request.get_header("HOST")`:         "kong.request.get_header host",
	`kong.request.get_header("x-absent")`:     "kong.request.get_header x-absent",

	"kong.request.get_id()":                "kong.nginx.get_var kong_request_id",
	`kong.nginx.get_var("request_id")`:     "kong.nginx.get_var request_id",
	"ngx.var.remote_addr":                  "kong.nginx.get_var remote_addr",
	`ngx.var["request"]`:                   "kong.nginx.get_var request",
	"ngx.var.args":                         "kong.nginx.get_var args",
	`kong.request.get_query_arg("absent")`: "kong.request.get_query_arg absent",
}

// lossy is s as the result of a function has it.
func lossy(v any) any {
	switch v := v.(type) {
	case string:
		var out any
		e := encoder{utf8: true}
		if err := json.Unmarshal(e.text(nil, v), &out); err != nil {
			panic(err)
		}
		return out
	case []any:
		out := []any{}
		for _, e := range v {
			out = append(out, lossy(e))
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[lossy(k).(string)] = lossy(e)
		}
		return out
	}
	return v
}

func TestCallsReturnWhatKongReplied(t *testing.T) {
	files, err := filepath.Glob("../../../testdata/replies/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no recordings", err)
	}
	source := "return function() local t = {}\n"
	for expression := range scalars {
		source += "t[ [==[" + expression + "]==] ] = " + expression + "\n"
	}
	source += `t.query = kong.request.get_query(); t.query1000 = kong.request.get_query(1000); t.uri_args = ngx.req.get_uri_args(1000)
		t.headers = kong.request.get_headers(); t.headers1000 = kong.request.get_headers(1000); t.ngx_headers = ngx.req.get_headers(1000)
		t.raw_body = kong.request.get_raw_body(); t.body_data = ngx.req.get_body_data(); t.start = kong.request.get_start_time()
		t.raw_path = kong.request.get_raw_path(); t.route = kong.router.get_route()
		return t end`
	f := compile(t, source)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var rec recording
			if err := json.Unmarshal(text, &rec); err != nil {
				t.Fatal(err)
			}
			r := rec.request(t, f.Needs())
			d := &record.Draft{Request: r, Message: []byte("{}")}
			if err := f.Transform(d); err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			if err := json.Unmarshal(d.Message, &got); err != nil {
				t.Fatalf("%v in %s", err, d.Message)
			}
			want := map[string]any{}
			for expression, call := range scalars {
				if v := rec.fact(t, call); v != nil {
					want[expression] = v
				}
			}
			for _, name := range []string{"get_query", "get_headers"} {
				v := structure(rec.reply(t, "kong.request."+name, "\x08d"))
				all := structure(rec.reply(t, "kong.request."+name, "\x08\xe8\x07"))
				want[name[4:]], want[name[4:]+"1000"] = v, all
				if name == "get_query" {
					want["uri_args"] = all
				} else {
					want["ngx_headers"] = all
				}
			}
			want["raw_body"] = string(r.Body)
			if len(r.Body) > 0 {
				want["body_data"] = string(r.Body)
			}
			path, _, _ := bytes.Cut(r.URI, []byte{'?'})
			want["raw_path"] = string(path)
			want["start"] = math.Round(scalar(t, rec.reply(t, "kong.nginx.req_start_time", "")).(float64) * 1000)
			want["route"] = map[string]any{"id": "0c526b08-ede8-5178-bef7-1e59d3503ae8"}
			// A number that tostring does not give back is written with 16 digits.
			const seconds = "ngx.req.start_time()"
			if math.Abs(got[seconds].(float64)-want[seconds].(float64)) > 1e-6 {
				t.Errorf("%s is %v, want %v", seconds, got[seconds], want[seconds])
			}
			delete(got, seconds)
			delete(want, seconds)
			for k, v := range want {
				if w := lossy(v); !reflect.DeepEqual(got[k], w) {
					t.Errorf("%s is %v, want %v", k, got[k], w)
				}
			}
			for k := range got {
				if _, ok := want[k]; !ok {
					t.Errorf("%s is %v, which Kong did not reply", k, got[k])
				}
			}
		})
	}
}

// fact is Kong's reply to a call, whose argument is after a space.
func (r *recording) fact(t testing.TB, call string) any {
	t.Helper()
	f := value(call, nil).Fact
	args := ""
	if f.Name != "" {
		args = string(protowire.AppendString([]byte{0x0a}, f.Name))
	}
	switch v := scalar(t, r.reply(t, f.Call, args)); {
	case v == nil && f.Call == "kong.request.get_raw_query":
		return ""
	case v == "" && f.Call == request.CallVariable:
		return nil
	default:
		return v
	}
}

// request is the request that the replies tell of, with the facts that are wanted. What is
// an entity is its id alone.
func (rec *recording) request(t testing.TB, needs request.Fields) *request.Request {
	t.Helper()
	r := &request.Request{
		Method: []byte(rec.fact(t, "kong.request.get_method").(string)),
		URI:    []byte(rec.fact(t, "kong.request.get_path_with_query").(string)),
		Query:  []byte(rec.fact(t, "kong.request.get_raw_query").(string)),
	}
	if rec.BodyInTempFile {
		_, r.Body, _ = bytes.Cut(rec.Request, []byte("\r\n\r\n"))
	} else if b := textFields(rec.reply(t, "kong.request.get_raw_body", ""), 1); len(b) > 0 {
		r.Body = b[0]
	}
	for _, entry := range textFields(rec.reply(t, "kong.request.get_headers", "\x08\xe8\x07"), 1) {
		name := textFields(entry, 1)[0]
		switch v := structValue(textFields(entry, 2)[0]).(type) {
		case string:
			r.Headers = append(r.Headers, request.Header{Name: name, Value: []byte(v)})
		case []any:
			for _, e := range v {
				r.Headers = append(r.Headers, request.Header{Name: name, Value: []byte(e.(string))})
			}
		}
	}
	for _, f := range needs.Facts {
		v := request.FactValue{Fact: f}
		if f.Call == "kong.router.get_route" {
			var route pb.Route
			if err := proto.Unmarshal(rec.reply(t, f.Call, ""), &route); err != nil {
				t.Fatal(err)
			}
			v.Value = map[string]any{"id": route.Id}
		} else {
			call := f.Call
			if f.Name != "" {
				call += " " + f.Name
			}
			v.Value = rec.fact(t, call)
		}
		r.Facts = append(r.Facts, v)
	}
	return r
}

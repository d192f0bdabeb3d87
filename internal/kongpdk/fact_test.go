package kongpdk

import (
	"bytes"
	"encoding/hex"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/request"
	"kafka-upstream/internal/test/kongsim"
)

type (
	array = []any
	table = map[string]any
)

func builder() *factBuilder { return &factBuilder{reserve: func(int64) bool { return true }} }

func TestEachKnownCallHasAReader(t *testing.T) {
	known := 0
	for call := range request.KnownCalls() {
		if known++; factReaders[call] == nil {
			t.Errorf("%s has none", call)
		}
	}
	if known != len(factReaders) {
		t.Errorf("%d calls are known, and %d have readers", known, len(factReaders))
	}
}

// bytesField returns a field with bytes.
func bytesField(num protowire.Number, v string) string {
	return string(protowire.AppendString(protowire.AppendTag(nil, num, protowire.BytesType), v))
}

func varint(num protowire.Number, v uint64) string {
	return string(protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v))
}

// What Kong 3.9.1 replies, and the value of the fact. Kong, unlike protobuf, encodes a boolean
// that is false, and null as 1.
func TestValuesOfFacts(t *testing.T) {
	value := func(v any) string {
		p, err := structpb.NewValue(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(marshal(p))
	}
	const shared = "kong.ctx.shared.get"
	for name, c := range map[string]struct {
		call  string
		reply string
		want  any
	}{
		"text":                    {"kong.client.get_ip", "\x0a\x091.2.3.4.5", "1.2.3.4.5"},
		"no text":                 {"kong.request.get_host", "", ""},
		"text that is not UTF-8":  {"kong.request.get_path", "\x0a\x03/\xff\x00", "/\xff\x00"},
		"a variable":              {"kong.nginx.get_var", "\x0a\x02ok", "ok"},
		"a variable that is not":  {"kong.nginx.get_var", "", nil},
		"protocol":                {"kong.client.get_protocol", "\x0a\x05https", "https"},
		"protocol, without route": {"kong.client.get_protocol", "", nil},
		"port":                    {"kong.client.get_port", "\x08\xa0\x3f", 8096.0},
		"port 0":                  {"kong.request.get_port", "", 0.0},
		"trusted":                 {"kong.ip.is_trusted", "\x08\x01", true},
		"not trusted":             {"kong.ip.is_trusted", "", false},
		"a negative Int":          {"kong.request.get_port", string(marshal(&pb.Int{V: -5})), -5.0},
		"HTTP version":            {"kong.request.get_http_version", "\x09\x9a\x99\x99\x99\x99\x99\xf1?", 1.1},
		"start":                   {"kong.nginx.req_start_time", string(marshal(&pb.Number{V: 1732278562.859})), 1732278562.859},

		"no consumer": {"kong.client.get_consumer", "", nil},
		"a consumer": {"kong.client.get_consumer", string(marshal(&pb.Consumer{Id: "i", CreatedAt: 1 << 40, Username: "u", CustomId: "c", Tags: []string{"a", "b"}})),
			table{"id": "i", "created_at": float64(1 << 40), "username": "u", "custom_id": "c", "tags": array{"a", "b"}}},
		"a consumer with little":       {"kong.client.get_consumer", "\x0a\x01i", table{"id": "i"}},
		"a consumer that is not UTF-8": {"kong.client.get_consumer", "\x1a\x02u\xff", table{"username": "u\xff"}},
		"a consumer of the future":     {"kong.client.get_consumer", "\x0a\x01i\x32\x01x\x38\x05\x7d\x00\x00\x00\x00", table{"id": "i"}},
		"no credential":                {"kong.client.get_credential", "", nil},
		"a credential":                 {"kong.client.get_credential", string(marshal(&pb.AuthenticatedCredential{Id: "i", ConsumerId: "c"})), table{"id": "i", "consumer_id": "c"}},
		"no service":                   {"kong.router.get_service", "", nil},
		"a service": {"kong.router.get_service", string(marshal(&pb.Service{Id: "i", CreatedAt: 1, UpdatedAt: 2, Name: "n", Retries: 3, Protocol: "http", Host: "h", Port: 80, Path: "/",
			ConnectTimeout: 4, WriteTimeout: 5, ReadTimeout: 6, Tags: []string{"t"}, ClientCertificate: &pb.CertificateKey{Id: "cert"}})),
			table{"id": "i", "created_at": 1.0, "updated_at": 2.0, "name": "n", "retries": 3.0, "protocol": "http", "host": "h", "port": 80.0, "path": "/",
				"connect_timeout": 4.0, "write_timeout": 5.0, "read_timeout": 6.0, "tags": array{"t"}, "client_certificate": table{"id": "cert"}}},
		"a route": {"kong.router.get_route", string(marshal(&pb.Route{Id: "i", CreatedAt: 1, UpdatedAt: 2, Name: "n", Protocols: []string{"http", "https"}, Methods: []string{"GET"},
			Hosts: []string{"h"}, Paths: []string{"/a"}, Headers: []string{"x"}, HttpsRedirectStatusCode: 426, RegexPriority: -1, StripPath: true, Snis: []string{"s"},
			Sources: []string{"1"}, Destinations: []string{"2"}, Tags: []string{"t"}, Service: &pb.ServiceKey{Id: "s"}})) + "\x68\x00",
			table{"id": "i", "created_at": 1.0, "updated_at": 2.0, "name": "n", "protocols": array{"http", "https"}, "methods": array{"GET"}, "hosts": array{"h"}, "paths": array{"/a"}, "headers": array{"x"},
				"https_redirect_status_code": 426.0, "regex_priority": -1.0, "strip_path": true, "preserve_host": false, "snis": array{"s"}, "sources": array{"1"}, "destinations": array{"2"},
				"tags": array{"t"}, "service": table{"id": "s"}}},

		"no captures": {"kong.request.get_uri_captures", "", table{"named": table{}, "unnamed": array{}}},
		"captures": {"kong.request.get_uri_captures", bytesField(2, "\x0a\x06region\x12\x02eu") + "\x0a\x02eu\x0a\x00\x0a\x02\xff\x00" + bytesField(2, "\x0a\x05empty") + bytesField(2, ""),
			table{"named": table{"region": "eu", "empty": "", "": ""}, "unnamed": array{"eu", "", "\xff\x00"}}},

		"nothing":           {shared, "", nil},
		"nil":               {shared, varint(1, 1), nil},
		"null":              {shared, value(nil), nil},
		"false":             {shared, varint(4, 0), false},
		"true":              {"kong.nginx.get_ctx", varint(4, 1), true},
		"zero":              {shared, value(0), 0.0},
		"a number":          {shared, value(-1.5), -1.5},
		"an infinite one":   {shared, value(math.Inf(1)), math.Inf(1)},
		"a string":          {shared, "\x1a\x02\xffa", "\xffa"},
		"an empty table":    {shared, "\x2a\x00", table{}},
		"an empty list":     {shared, "\x32\x00", array{}},
		"lists and tables":  {shared, value(table{"a": array{1, "x", nil, array{}, table{"b": true}}, "": ""}), table{"a": array{1.0, "x", nil, array{}, table{"b": true}}, "": ""}},
		"the last one of a": {shared, varint(4, 1) + "\x1a\x01x", "x"},
		"nested 100 deep":   {shared, value(deep(100)), deep(100)},
	} {
		got, err := factReaders[c.call](builder(), []byte(c.reply))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %#v, %v, want %#v", name, got, err, c.want)
		}
	}
}

// What the encoder of Kong 3.9.1 (pb_rpc.lua, over lua-protobuf 0.5.2, in LuaJIT) made of these
// Lua values. Its fields are in no order.
func TestFactsAsLuaEncodesThem(t *testing.T) {
	const shared = "kong.ctx.shared.get"
	for lua, c := range map[string]struct {
		call, reply string
		want        any
	}{
		`{id="1",created_at=1795350560,username="anna",custom_id="\255",tags={"a","b"},type="x"}`: {request.CallConsumer, "2201ff2a01612a01620a013110a0c08bd8061a04616e6e61",
			table{"id": "1", "created_at": 1795350560.0, "username": "anna", "custom_id": "\xff", "tags": array{"a", "b"}}},
		`{id="2",key="k",consumer={id="1"},consumer_id="3"}`: {"kong.client.get_credential", "0a0132120133", table{"id": "2", "consumer_id": "3"}},
		`{[0]="/eu/17",[1]="eu",[2]="17",region="eu"}`:       {request.CallURICaptures, "0a0265750a023137120c0a06726567696f6e12026575", table{"unnamed": array{"eu", "17"}, "named": table{"region": "eu"}}},
		`{[0]="/eu/17",[1]="eu",[3]="17"}`:                   {request.CallURICaptures, "0a026575", table{"unnamed": array{"eu"}, "named": table{}}},
		`{[0]="/",[1]="",region=""}`:                         {request.CallURICaptures, "0a0012080a06726567696f6e", table{"unnamed": array{""}, "named": table{"region": ""}}},
		`{id="1",strip_path=true,preserve_host=false,regex_priority=0,https_redirect_status_code=426,protocols={"http"},headers={["x-a"]={"1"}},service={id="s"},expression="…"}`: {"kong.router.get_route",
			"50aa032a04687474709201030a01730a013160016800", table{"id": "1", "strip_path": true, "preserve_host": false, "https_redirect_status_code": 426.0, "protocols": array{"http"}, "service": table{"id": "s"}}},
		`{id="1",retries=0,port=80,client_certificate={id="c"},tags={}}`: {"kong.router.get_service", "72030a01630a01314050", table{"id": "1", "port": 80.0, "client_certificate": table{"id": "c"}}},
		`nil`:               {shared, "0801", nil},
		`false`:             {shared, "2000", false},
		`true`:              {shared, "2001", true},
		`0`:                 {shared, "110000000000000000", 0.0},
		`""`:                {shared, "1a00", ""},
		`1/0`:               {shared, "11000000000000f07f", math.Inf(1)},
		`{1,"x",true,{}}`:   {shared, "32180a0911000000000000f03f0a031a01780a0220010a022a00", array{1.0, "x", true, table{}}},
		`{1,nil,3}`:         {shared, "320b0a0911000000000000f03f", array{1.0}},
		`{}`:                {shared, "2a00", table{}},
		`{a={b=false}}`:     {shared, "2a120a100a0161120b2a090a070a016212022000", table{"a": table{"b": false}}},
		`{"x",a=1}`:         {shared, "32050a031a0178", array{"x"}},
		`print, newproxy()`: {shared, "", nil},
		`{print}`:           {shared, "32020a00", array{nil}},
	} {
		reply, err := hex.DecodeString(c.reply)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := factReaders[c.call](builder(), reply); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %#v, %v, want %#v", lua, got, err, c.want)
		}
	}
}

// deep is that many lists, one in another.
func deep(n int) any {
	if n == 0 {
		return "x"
	}
	return array{deep(n - 1)}
}

func deepReply(n int) []byte {
	v := []byte("\x1a\x01x")
	for range n {
		v = []byte(bytesField(6, bytesField(1, string(v))))
	}
	return v
}

func TestRepliesThatAreNoFacts(t *testing.T) {
	for name, c := range map[string]struct {
		call  string
		reply []byte
		err   error
	}{
		"junk text":      {"kong.client.get_ip", []byte("\x0a\x05x"), errReply},
		"junk number":    {"kong.nginx.req_start_time", []byte("\x09\x00"), errReply},
		"junk Int":       {"kong.client.get_port", []byte("\x08\xff"), errReply},
		"junk consumer":  {"kong.client.get_consumer", []byte("\x0a\xff\xff\xff\xff\x0f"), errReply},
		"junk key":       {"kong.router.get_route", []byte("\x92\x01\x01\xff"), errReply},
		"junk captures":  {"kong.request.get_uri_captures", []byte("\x12\x01\xff"), errReply},
		"junk value":     {"kong.ctx.shared.get", []byte("\x2a\x02\x0a\x05"), errReply},
		"an end group":   {"kong.ctx.shared.get", []byte("\x0c"), errReply},
		"101 deep":       {"kong.ctx.shared.get", deepReply(101), errDepth},
		"very deep":      {"kong.ctx.shared.get", deepReply(2000), errDepth},
		"field number 0": {"kong.client.get_consumer", []byte("\x02\x00"), errReply},
	} {
		if v, err := factReaders[c.call](builder(), c.reply); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v, want %v", name, v, err, c.err)
		}
	}
}

// Values of another type than the field has are skipped, not taken for it.
func TestFieldsOfAnotherTypeAreSkipped(t *testing.T) {
	for _, call := range []string{"kong.client.get_ip", "kong.client.get_port", "kong.request.get_http_version", "kong.router.get_route", "kong.request.get_uri_captures", "kong.ctx.shared.get"} {
		want, err := factReaders[call](builder(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if call == "kong.router.get_route" {
			want = table{}
		}
		var fixed32 []byte
		for num := range protowire.Number(20) {
			fixed32 = protowire.AppendFixed32(protowire.AppendTag(fixed32, num+1, protowire.Fixed32Type), 7)
		}
		if got, err := factReaders[call](builder(), fixed32); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v", call, got, err)
		}
	}
}

// What a genuine Kong replied is what the facts say.
func TestFactsOfRecordedReplies(t *testing.T) {
	paths, err := filepath.Glob("../../testdata/replies/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	calls := map[string]bool{}
	for _, path := range paths {
		rec, err := kongsim.LoadRecording(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range rec.Calls {
			read := factReaders[call.Method]
			if read == nil {
				continue
			}
			calls[call.Method] = true
			got, err := read(builder(), call.Reply)
			if err != nil {
				t.Fatalf("%s: %s: %v", rec.Case, call.Method, err)
			}
			var want any
			switch call.Method {
			case "kong.client.get_ip", "kong.client.get_forwarded_ip":
				want = "127.0.0.1"
			case "kong.request.get_scheme", "kong.request.get_forwarded_scheme", "kong.nginx.get_subsystem":
				want = "http"
			case "kong.request.get_host", "kong.request.get_forwarded_host":
				want = "kafka-upstream.dev"
			case "kong.request.get_port", "kong.request.get_forwarded_port":
				want = 8000.0
			case "kong.request.get_http_version":
				want = 1.1
			case "kong.node.get_id":
				want = "036a6707-2915-4aa8-810a-fb00738a3d0e"
			case "kong.router.get_route":
				want = table{"id": "0c526b08-ede8-5178-bef7-1e59d3503ae8", "name": "kafka-upstream", "created_at": 1795350560.0, "updated_at": 1795350560.0,
					"hosts": array{"kafka-upstream.dev"}, "protocols": array{"http", "https"}, "https_redirect_status_code": 426.0, "strip_path": true, "preserve_host": false}
			case "kong.request.get_path", "kong.nginx.get_var":
				if s, _ := got.(string); !strings.HasSuffix(string(call.Reply), s) {
					t.Errorf("%s: %s is %q", rec.Case, call.Method, s)
				}
				continue
			case "kong.client.get_port":
				if n, _ := got.(float64); n < 1024 || n > 65535 {
					t.Errorf("%s: the client's port is %v", rec.Case, got)
				}
				continue
			case "kong.nginx.req_start_time":
				if n, _ := got.(float64); n < 1795000000 || n > 1796000000 {
					t.Errorf("%s: the request began at %v", rec.Case, got)
				}
				continue
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s is %#v, want %#v", rec.Case, call.Method, got, want)
			}
		}
	}
	if len(calls) != 19 {
		t.Errorf("%d calls are recorded", len(calls))
	}
}

func TestMemoryOfFactsIsReservedBeforeItIsTaken(t *testing.T) {
	tables := []byte(bytesField(6, strings.Repeat("\x0a\x06\x2a\x04\x0a\x02\x0a\x00", 1000))) // 8 kB for 1000 tables
	var reserved int64
	m := &factBuilder{reserve: func(n int64) bool { reserved += n; return true }}
	if _, err := m.value(tables); err != nil || reserved < 300_000 || reserved > 1<<20 {
		t.Errorf("%d bytes were reserved, %v", reserved, err)
	}
	m = &factBuilder{free: factsFree, reserve: func(int64) bool { return false }}
	if _, err := m.value(tables); !errors.Is(err, memory.ErrFull) {
		t.Errorf("without memory: %v", err)
	}
	if _, err := (&factBuilder{free: factsFree, reserve: m.reserve}).value([]byte("\x1a\x01x")); err != nil {
		t.Errorf("a short one: %v", err)
	}
}

// withFacts serves one event of h, whose calls get these replies, and returns what the
// session sends. Its replies come only after the calls of the first write.
func withFacts(t *testing.T, server *Server, id int32, replies ...[]byte) (first, all []string) {
	t.Helper()
	d := &aDriver{s: &session{server: server, in: buffer{buf: getBuffer(), memory: server.Memory}}}
	d.s.driver = d
	d.put(frames(eventCall(7, id, "access")), 1<<20)
	first = d.frames(t)
	d.put(frames(replies...), 1<<20)
	return first, d.frames(t)
}

func factServer() *Server {
	return NewServer(&Plugin{Name: "test", Answered: func(plugin.Reason, time.Duration) {}}, slog.New(slog.DiscardHandler), Options{})
}

func TestFactsAreAskedForInTheFirstWrite(t *testing.T) {
	facts := []request.Fact{{Call: request.CallConsumer}, {Call: "kong.ctx.shared.get", Name: "a\xff"}, {Call: "kong.plugin.get_id"}, {Call: request.CallURICaptures}}
	server := factServer()
	var got *request.Request
	var values []request.FactValue
	h := &handler{response: plugin.Sent.Response(), needs: request.Fields{Query: true, Headers: true, Facts: facts},
		handle: func(_ plugin.Exchange, r *request.Request) { got, values = r, slices.Clone(r.Facts) }}
	id, _ := server.instances.add(server.openInstance(h), 0)
	for range 2 { // the second time into used memory
		first, all := withFacts(t, server, id, []byte("\x0a\x03a=b"), nil, []byte("\x1a\x04anna"), varintTrue, []byte("\x0a\x01x"))
		calls := []string{"kong.request.get_raw_query", "", "kong.request.get_headers", "\x08\xe8\x07", request.CallConsumer, "", "kong.ctx.shared.get", "\x0a\x02a\xff", request.CallURICaptures, ""}
		if !slices.Equal(first, calls) || len(all) != len(first)+2 {
			t.Fatalf("sent are %q, and %q in all", first, all)
		}
		want := []request.FactValue{{Fact: facts[0], Value: table{"username": "anna"}}, {Fact: facts[1], Value: true}, {Fact: facts[2]}, {Fact: facts[3], Value: table{"unnamed": array{"x"}, "named": table{}}}}
		if !reflect.DeepEqual(values, want) {
			t.Errorf("the facts are %v", values)
		}
		if len(got.Facts) != 0 || got.Facts[:1][0].Value != nil {
			t.Error("they are held on to")
		}
	}
}

var varintTrue = []byte("\x20\x01")

// A reply that cannot be used costs only its fact, and one log line for all of an instance's.
func TestReplyThatIsNoFactIsNilAndLoggedOnce(t *testing.T) {
	for name, c := range map[string]struct {
		reply []byte
		log   string
	}{
		"junk":      {[]byte{0xff}, "Kong's reply is not the expected protobuf message"},
		"deep":      {deepReply(200), "nested too deep"},
		"too large": {make([]byte, maxFact+1), "it is larger than 1048576 bytes"},
	} {
		server := factServer()
		var values []request.FactValue
		h := &handler{response: plugin.Sent.Response(), needs: request.Fields{Facts: []request.Fact{{Call: "kong.ctx.shared.get", Name: "x"}, {Call: "kong.client.get_ip"}}},
			handle: func(_ plugin.Exchange, r *request.Request) { values = slices.Clone(r.Facts) }}
		id, _ := server.instances.add(server.openInstance(h), 0)
		for i, calls := range [][]string{{"kong.log.err", "kong.response.exit"}, {"kong.response.exit"}} {
			_, all := withFacts(t, server, id, c.reply, []byte("\x0a\x011"))
			if len(all) != 4+2*len(calls) || values[0].Value != nil || values[1].Value != "1" {
				t.Fatalf("%s: sent are %q, the facts are %v", name, all, values)
			}
			for j, call := range calls {
				if all[4+2*j] != call {
					t.Errorf("%s, time %d: sent are %q", name, i+1, all[4:])
				}
			}
			if i == 0 && !strings.Contains(all[5], c.log) {
				t.Errorf("%s: logged is %q", name, all[5])
			}
		}
	}
}

func TestFactsBeyondTheMemoryLimitRefuseTheRequest(t *testing.T) {
	server := factServer()
	server.Memory = memory.NewLimit(64 << 10)
	var refused error
	h := &handler{response: plugin.MemoryFull.Response(), needs: request.Fields{Facts: []request.Fact{{Call: "kong.ctx.shared.get", Name: "x"}}}, refused: func(err error) { refused = err }}
	id, _ := server.instances.add(server.openInstance(h), 0)
	withFacts(t, server, id, []byte(bytesField(6, strings.Repeat("\x0a\x02\x2a\x00", 1000))))
	if !errors.Is(refused, memory.ErrFull) {
		t.Errorf("refused for %v", refused)
	}
	if used := server.Memory.Used(); used != 0 {
		t.Errorf("%d bytes are still taken", used)
	}
}

// With a variable the query costs no call of its own, and facts follow at once.
func TestQueryAndFactsWithAVariable(t *testing.T) {
	for value, next := range map[string]bool{"GET /a?b=c HTTP/1.1": false, "GET http://h/a?b=c HTTP/1.1": true} {
		server := factServer()
		server.RequestVariable = "request"
		var query, uri string
		var ip any
		h := &handler{response: plugin.Sent.Response(), needs: request.Fields{Query: true, Facts: []request.Fact{{Call: "kong.client.get_ip"}}},
			handle: func(_ plugin.Exchange, r *request.Request) {
				query, uri, ip = string(r.Query), string(r.URI), r.Fact(request.Fact{Call: "kong.client.get_ip"})
			}}
		id, _ := server.instances.add(server.openInstance(h), 0)
		replies := [][]byte{[]byte(bytesField(1, value)), []byte("\x0a\x011")}
		want := []string{"kong.nginx.get_var", "\x0a\x07request", "kong.client.get_ip", ""}
		if next {
			replies = append(replies, []byte("\x0a\x03b=c"))
			want = append(want, "kong.request.get_raw_query", "")
		}
		_, all := withFacts(t, server, id, replies...)
		if query != "b=c" || uri != "" || ip != "1" || !slices.Equal(all[:len(all)-2], want) {
			t.Errorf("%s: %q, %q, %v, sent are %q", value, query, uri, ip, all)
		}
	}
}

// Whatever Kong's reply is, reading it is an error at worst, and what go-pdk's own decoder
// makes of a value, ours does too.
func FuzzFacts(f *testing.F) {
	f.Add([]byte("\x10\xa0\xc0\x8b\xd8\x06\x0a\x01i\x68\x00\x22\x01n\x60\x01\x2a\x04http\x2a\x05https\x50\xaa\x03\x92\x01\x03\x0a\x01s"))
	f.Add([]byte("\x12\x0c\x0a\x06region\x12\x02eu\x0a\x02eu"))
	f.Add([]byte("\x2a\x0b\x0a\x09\x0a\x01a\x12\x04\x32\x02\x0a\x00"))
	f.Add([]byte("\x09\x9a\x99\x99\x99\x99\x99\xf1?"))
	f.Add(deepReply(5))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.Clone(b)
		for call, read := range factReaders {
			v, err := read(builder(), b)
			if err == nil && !isFact(v) {
				t.Errorf("%s: the value is %#v", call, v)
			}
			if !bytes.Equal(in, b) {
				t.Fatalf("%s: the reply was changed", call)
			}
		}
		p := new(structpb.Value)
		if proto.Unmarshal(b, p) != nil {
			return
		}
		once, err := proto.Marshal(p) // protobuf merges what comes twice; Kong sends it once
		if err != nil {
			t.Fatal(err)
		}
		got, err := builder().value(once)
		if errors.Is(err, errDepth) {
			return
		}
		if want := p.AsInterface(); err != nil || !equalFacts(got, want) {
			t.Errorf("got %#v, %v, want %#v", got, err, want)
		}
	})
}

// isFact reports whether v is what a FactValue may hold.
func isFact(v any) bool {
	switch v := v.(type) {
	case nil, bool, float64, string:
		return true
	case array:
		return !slices.ContainsFunc(v, func(e any) bool { return !isFact(e) })
	case table:
		for _, e := range v {
			if !isFact(e) {
				return false
			}
		}
		return true
	}
	return false
}

// equalFacts compares as reflect.DeepEqual does, but for NaN and infinite numbers, which
// AsInterface makes strings.
func equalFacts(got, want any) bool {
	switch g := got.(type) {
	case float64:
		if s, ok := want.(string); ok {
			return s == "NaN" && math.IsNaN(g) || s == "Infinity" && math.IsInf(g, 1) || s == "-Infinity" && math.IsInf(g, -1)
		}
	case array:
		w, ok := want.(array)
		return ok && slices.EqualFunc(g, w, equalFacts)
	case table:
		w, ok := want.(table)
		if !ok || len(g) != len(w) {
			return false
		}
		for k := range g {
			if !equalFacts(g[k], w[k]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(got, want)
}

// All facts of one request, through the protocol.
func TestAllFactsOfARequestToAStandIn(t *testing.T) {
	eachWay(t, func(t *testing.T) {
		f := newFixture(t)
		var facts []request.Fact
		for call, named := range request.KnownCalls() {
			fact := request.Fact{Call: call}
			if named {
				fact.Name = "x"
			}
			facts = append(facts, fact)
		}
		got := make(chan map[string]any, 1)
		f.plugin.Start = func([]byte) plugin.Handler {
			return &handler{response: plugin.Sent.Response(), needs: request.Fields{Query: true, Facts: facts}, handle: func(_ plugin.Exchange, r *request.Request) {
				all := table{"query": string(r.Query)}
				for _, v := range r.Facts {
					all[v.Call] = v.Value
				}
				got <- all
			}}
		}
		f.plugin.Version, f.plugin.Priority, f.plugin.Schema = "1.0.0", 1, []byte(`{"name":"test","fields":[{"config":{"type":"record","required":true,"fields":[]}}]}`)
		dump, err := f.plugin.Dump(f.path)
		if err != nil {
			t.Fatal(err)
		}
		sim, err := kongsim.Start(t.Context(), kongsim.Options{Socket: f.path, Dump: dump, Config: []byte(`
_format_version: "3.0"
services: [{name: s, url: "http://h:81/p", routes: [{name: r, paths: ['~/(?<region>\w+)/(\d+)'], plugins: [{name: test}]}]}]`),
			Facts: func(*http.Request) kongsim.Facts {
				return kongsim.Facts{Consumer: &pb.Consumer{Id: "1", Username: "anna"}, Credential: &pb.AuthenticatedCredential{Id: "2"},
					Shared: table{"x": array{"a"}}, Context: table{"x": table{"n": 1.0}}, Variables: map[string]string{"x": "variable"}}
			}})
		if err != nil {
			t.Fatal(err)
		}
		defer sim.Close()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Get(sim.URL() + "/eu//17?a=b")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		all := <-got
		if res.StatusCode != 200 {
			t.Errorf("answered %s", res.Status)
		}
		for call, want := range map[string]any{
			"query": "a=b", request.CallConsumer: table{"id": "1", "username": "anna"}, "kong.client.get_credential": table{"id": "2"},
			"kong.ctx.shared.get": array{"a"}, "kong.nginx.get_ctx": table{"n": 1.0}, request.CallVariable: "variable",
			request.CallURICaptures: table{"named": table{"region": "eu"}, "unnamed": array{"eu", "17"}},
			"kong.request.get_path": "/eu/17", "kong.client.get_protocol": "http", "kong.request.get_http_version": 1.1, "kong.client.get_ip": "127.0.0.1",
		} {
			if !reflect.DeepEqual(all[call], want) {
				t.Errorf("%s is %#v, want %#v", call, all[call], want)
			}
		}
		route, service := all["kong.router.get_route"].(table), all["kong.router.get_service"].(table)
		if route["name"] != "r" || !reflect.DeepEqual(route["service"], table{"id": service["id"]}) || service["port"] != 81.0 || service["path"] != "/p" {
			t.Errorf("the route is %v, the service %v", route, service)
		}
		for call, v := range all {
			if v == nil {
				t.Errorf("%s is nil", call)
			}
		}
	})
}

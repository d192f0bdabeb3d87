package kongsim

import (
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

func TestFactsAreThoseThatATestSays(t *testing.T) {
	name := func(s string) []byte { return stringField(1, s) }
	calls := []Call{
		{Method: "kong.client.get_consumer"}, {Method: "kong.client.get_credential"},
		{Method: "kong.ctx.shared.get", Args: name("a")}, {Method: "kong.ctx.shared.get", Args: name("absent")}, {Method: "kong.nginx.get_ctx", Args: name("b")},
		{Method: "kong.nginx.get_var", Args: name("ssl_protocol")}, {Method: "kong.nginx.get_var", Args: name("args")}, {Method: "kong.nginx.get_var", Args: name("absent")},
	}
	var got [][]byte
	p := startFake(t, func(c *fakeConn) { got = c.askAll(calls...); ok(c) })
	s := startSim(t, Options{Socket: p.socket, Config: []byte(recordedConfig), Facts: func(r *http.Request) Facts {
		if r.Header.Get("Authorization") == "" {
			return Facts{}
		}
		return Facts{
			Consumer:   &pb.Consumer{Id: "1", Username: "anna"},
			Credential: &pb.AuthenticatedCredential{Id: "2"},
			Shared:     map[string]any{"a": map[string]any{"n": 1.5, "list": []any{"x", true, nil, "y"}, "none": []any{}}},
			Context:    map[string]any{"b": false},
			Variables:  map[string]string{"ssl_protocol": "TLSv1.3", "args": "changed"},
		}
	}})
	const request = "GET /?a=b HTTP/1.1\r\nHost: kafka-upstream.dev\r\nConnection: close\r\n"

	send(t, s, []byte(request+"\r\n"))
	want := [][]byte{nil, nil, []byte("\x08\x01"), []byte("\x08\x01"), []byte("\x08\x01"), nil, []byte("\x0a\x03a=b"), nil}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("without credentials: %q", got)
	}

	send(t, s, []byte(request+"Authorization: Basic YQ==\r\n\r\n"))
	var shared structpb.Value
	if err := proto.Unmarshal(got[2], &shared); err != nil {
		t.Fatal(err)
	}
	if a := shared.GetStructValue().AsMap(); a["n"] != 1.5 || len(a["list"].([]any)) != 2 || len(a["none"].(map[string]any)) != 0 {
		t.Errorf("shared is %v", a)
	}
	got[2] = nil
	want = [][]byte{[]byte("\x0a\x011\x1a\x04anna"), []byte("\x0a\x012"), nil, []byte("\x08\x01"), []byte("\x20\x00"), []byte("\x0a\x07TLSv1.3"), []byte("\x0a\x07changed"), nil}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("with credentials: %q", got)
	}
}

func TestCapturesRouteAndService(t *testing.T) {
	var got [][]byte
	p := startFake(t, func(c *fakeConn) {
		got = c.askAll(Call{Method: "kong.request.get_uri_captures"}, Call{Method: "kong.router.get_route"}, Call{Method: "kong.router.get_service"}, Call{Method: "kong.client.get_protocol"})
		ok(c)
	})
	s := startSim(t, Options{Socket: p.socket, Config: []byte(`
_format_version: "3.0"
services:
- name: orders
  url: https://orders.internal/v1
  routes:
  - name: r
    protocols: [https]
    paths: ['~/(?<region>\w+)/(x)?(\d+)', /plain]
    plugins: [{name: kafka-upstream, config: {topic: t}}]
`)})
	ask := func(target string) (named map[string]string, unnamed []string, route *pb.Route, service *pb.Service) {
		send(t, s, []byte("GET "+target+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
		named, route, service = map[string]string{}, new(pb.Route), new(pb.Service)
		eachField(got[0], func(n protowire.Number, f field) error {
			if n == 1 {
				unnamed = append(unnamed, string(f.bytes))
				return nil
			}
			var entry [3]string
			eachField(f.bytes, func(n protowire.Number, f field) error { entry[n] = string(f.bytes); return nil })
			named[entry[1]] = entry[2]
			return nil
		})
		if err := proto.Unmarshal(got[1], route); err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(got[2], service); err != nil {
			t.Fatal(err)
		}
		if string(got[3]) != "\x0a\x05https" {
			t.Errorf("the protocol is %q", got[3])
		}
		return named, unnamed, route, service
	}
	for target, want := range map[string][]string{
		"/eu/x17?a":        {"eu", "x", "17"},
		"//%65u/./x17/b":   {"eu", "x", "17"},
		"/eu/17":           {"eu"}, // a list in Lua ends before its first nil
		"/plain/anything/": nil,
	} {
		named, unnamed, route, service := ask(target)
		wantNamed := map[string]string{}
		if want != nil {
			wantNamed["region"] = "eu"
		}
		if !maps.Equal(named, wantNamed) || !slices.Equal(unnamed, want) {
			t.Errorf("%s: captured are %q and %q", target, named, unnamed)
		}
		if route.Name != "r" || route.Service.GetId() != service.Id || !slices.Equal(route.Protocols, []string{"https"}) || len(route.Paths) != 2 {
			t.Errorf("the route is %v", route)
		}
		if service.Name != "orders" || service.Protocol != "https" || service.Host != "orders.internal" || service.Port != 443 || service.Path != "/v1" || service.Retries != 5 || service.ReadTimeout != 60000 {
			t.Errorf("the service is %v", service)
		}
	}
}

// What the encoder of Kong 3.9.1 made of these values, but for the order of a route's fields (see
// TestFactsAsLuaEncodesThem of kongpdk).
func TestRepliesAreEncodedAsKongDoes(t *testing.T) {
	for want, got := range map[string][]byte{
		"0801":               appendValue(nil, nil),
		"2000":               appendValue(nil, false),
		"2001":               appendValue(nil, true),
		"110000000000000000": appendValue(nil, 0.0),
		"1a00":               appendValue(nil, ""),
		"32180a0911000000000000f03f0a031a01780a0220010a022a00": appendValue(nil, []any{1.0, "x", true, []any{}}),
		"320b0a0911000000000000f03f":                           appendValue(nil, []any{1.0, nil, 3.0}),
		"2a120a100a0161120b2a090a070a016212022000":             appendValue(nil, map[string]any{"a": map[string]any{"b": false}}),
		"0a0265750a023137120c0a06726567696f6e12026575":         capturesReply(map[string]string{"region": "eu"}, []string{"eu", "17"}),
		"0a0012080a06726567696f6e":                             capturesReply(map[string]string{"region": ""}, []string{""}),
		"0a013150aa03600168009201030a0173": entityReply(&pb.Route{}, entity{"id": "1", "strip_path": true, "preserve_host": false, "regex_priority": 0.0, "https_redirect_status_code": 426.0,
			"service": map[string]any{"id": "s"}, "tags": []any{}, "methods": nil, "expression": "x"}),
		"": entityReply(&pb.Service{}, nil),
	} {
		if hex.EncodeToString(got) != want {
			t.Errorf("encoded is %x, Kong's is %s", got, want)
		}
	}
}

func TestPathsAreNormalizedAsKongDoes(t *testing.T) {
	for path, want := range map[string][2]string{ // Kong's path, and nginx's $uri
		"/":               {"/", "/"},
		"*":               {"*", "*"},
		"/a%2fb%20c/%7Eu": {"/a%2Fb c/~u", "/a/b c/~u"},
		"/a//b///":        {"/a/b/", "/a/b/"},
		"/a/./b/../c":     {"/a/c", "/a/c"},
		"/a/..":           {"/", "/"},
		"/../../a/.":      {"/a/", "/a/"},
		"/%2e%2e/a%":      {"/a%", "/a%"},
		"/p\xff%zz%2":     {"/p\xff%zz%2", "/p\xff%zz%2"},
	} {
		if got := [2]string{normalizePath(path), nginxURI(path)}; got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestNoContentIsSentWithoutContent(t *testing.T) {
	p := startFake(t, func(c *fakeConn) { c.exit(204, []byte("x"), Header{"Content-Type", "text/plain"}) })
	s := startSim(t, Options{Socket: p.socket, Config: []byte(recordedConfig)})
	response := send(t, s, []byte("GET / HTTP/1.1\r\nHost: kafka-upstream.dev\r\nConnection: close\r\n\r\n"))
	if !strings.HasPrefix(response, "HTTP/1.1 204 ") || !strings.HasSuffix(response, "\r\n\r\n") || strings.Contains(response, "Content-") {
		t.Errorf("the response is %q", response)
	}
}

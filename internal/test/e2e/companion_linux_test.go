//go:build nginx

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongnginx"
	"kafka-upstream/schema"
)

// companionFiles has the program write the handler's files, and returns the directory.
func companionFiles(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command(rig.Binary, "-companion", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// startCompanion starts a server, and nginx with the handler in front of it.
func startCompanion(t testing.TB, o kongnginx.Options, args ...string) (*rig.Server, *kongnginx.Nginx) {
	t.Helper()
	s := rig.Start(t, args...)
	o.Files, o.Socket = companionFiles(t), s.Socket
	return s, kongnginx.Start(t, o)
}

// sendRaw sends a request as it is, and returns the response.
func sendRaw(t testing.TB, socket string, raw []byte) (*http.Response, []byte) {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(90 * time.Second))
	if _, err := c.Write(raw); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(string(raw), " ")
	from := bufio.NewReader(c)
	r, err := http.ReadResponse(from, &http.Request{Method: method})
	if err == nil && r.StatusCode == http.StatusContinue {
		r, err = http.ReadResponse(from, &http.Request{Method: method})
	}
	if err != nil {
		t.Fatalf("%v: %.200q", err, raw)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, body
}

// The rows of TestRecordedRequestsBecomeTheExpectedMessages, from the bytes that the clients
// sent.
func TestRecordedRequestsBecomeTheExpectedMessagesThroughTheCompanion(t *testing.T) {
	b, err := os.ReadFile("../../../testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Case    string          `json:"case"`
		Flags   string          `json:"flags"`
		Status  int             `json:"status"`
		Message json.RawMessage `json:"message"`
	}
	if err := json.Unmarshal(b, &rows); err != nil {
		t.Fatal(err)
	}
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	sync := map[string]any{"producer_async": false}
	_, n := startCompanion(t, kongnginx.Options{Configs: map[string][]byte{
		"all":     rig.Settings(t, f.Addrs(), all(sync)),
		"default": rig.Settings(t, f.Addrs(), sync),
	}})
	type expected struct{ name, message string }
	var want []expected
	for _, row := range rows {
		name := row.Case + "/" + row.Flags
		b, err := os.ReadFile(filepath.Join("../../../testdata/replies", row.Case+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var recording struct{ Request []byte }
		if err := json.Unmarshal(b, &recording); err != nil {
			t.Fatal(err)
		}
		r, body := sendRaw(t, n.SocketOf(row.Flags, 1), recording.Request)
		if r.StatusCode != row.Status {
			t.Errorf("%s: status %d, want %d: %s", name, r.StatusCode, row.Status, body)
		}
		if r.StatusCode == 200 {
			if !bytes.Equal(body, []byte(`{"message":"message sent"}`)) && r.Request.Method != "HEAD" {
				t.Errorf("%s: body %s", name, body)
			}
			want = append(want, expected{name, string(row.Message)})
		}
	}
	got := f.Records(t, "t", len(want))
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i, r := range got {
		if !reflect.DeepEqual(decode(t, r.Value), decode(t, []byte(want[i].message))) {
			t.Errorf("%s:\n got %s\nwant %s", want[i].name, r.Value, strings.TrimSpace(want[i].message))
		}
	}
}

// The rows of TestAnswers, by HTTP/1.1 and HTTP/2.
func TestAnswersThroughTheCompanion(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	away := []string{rig.ClosedPort(t)}
	rows := answerRows(t, f, away)
	configs := make(map[string][]byte)
	for i, row := range rows {
		if !row.protocol {
			configs[fmt.Sprint(i)], configs[fmt.Sprint(i, "-2")] = row.config, row.config
		}
	}
	s, n := startCompanion(t, kongnginx.Options{Configs: configs, Buffer: "4m", Stub: `
		-- A request may say what nginx says of its body.
		local data, file, read = ngx.req.get_body_data, ngx.req.get_body_file, ngx.req.read_body
		ngx.req.get_body_data = function() if not ngx.var.http_x_file then return data() end end
		ngx.req.get_body_file = function() return ngx.var.http_x_file or file() end
		ngx.req.read_body = function() if ngx.var.http_x_error then error(ngx.var.http_x_error, 0) end return read() end`},
		"-admin-url", "http://"+away[0], "-drain-timeout", "500ms")
	for i, row := range rows {
		if row.protocol {
			continue
		}
		for version, name := range map[int]string{1: fmt.Sprint(i), 2: fmt.Sprint(i, "-2")} {
			if version == 2 && row.before > 0 { // the buffer is full already
				continue
			}
			t.Run(fmt.Sprintf("%s, HTTP/%d", row.name, version), func(t *testing.T) {
				client := n.Client(t, name, version)
				send := func() (*http.Response, []byte) {
					req, err := http.NewRequest("POST", "http://kong/", strings.NewReader(`{"a":1}`))
					if err != nil {
						t.Fatal(err)
					}
					if row.kong != nil {
						if query := row.kong.Replies["kong.request.get_raw_query"]; query != nil {
							req.URL.RawQuery = string(query[2:])
						}
						switch body := row.kong.Body.GetKind().(type) {
						case *pb.RawBodyResult_Content:
							req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body.Content)), int64(len(body.Content))
						case *pb.RawBodyResult_BodyFilepath:
							req.Header.Set("X-File", body.BodyFilepath)
						case *pb.RawBodyResult_Error:
							req.Header.Set("X-Error", body.Error)
						}
					}
					req.Header.Set("Content-Type", "application/json")
					resp, err := client.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					b, err := io.ReadAll(resp.Body)
					if err != nil {
						t.Fatal(err)
					}
					return resp, b
				}
				for range row.before {
					if resp, body := send(); resp.StatusCode != 200 {
						t.Fatalf("before: %d %s", resp.StatusCode, body)
					}
				}
				// Lines about records are told once for all requests of a second and topic.
				before := n.ErrorLog()
				resp, body := send()
				var log []string
				for line := range strings.Lines(strings.TrimPrefix(n.ErrorLog(), before)) {
					if strings.Contains(line, "[error]") {
						log = append(log, line)
					}
				}
				row.check(t, resp.StatusCode, body, resp.Header.Get, strings.Join(log, ""))
			})
		}
	}
	rig.Eventually(t, "the panic's stack is on stderr", func() bool {
		return strings.Contains(s.Log.String(), "a fault was injected") && strings.Contains(s.Log.String(), "faults.go")
	})
}

// The features of TestRecordsOfEachField.
func TestRecordsOfEachFieldThroughTheCompanion(t *testing.T) {
	features := append(slices.Clone(features), functions...)
	fake, configs := startFeatures(t, features)
	paths := make(map[string]string)
	for _, f := range features {
		if strings.HasPrefix(f.path, "~") {
			paths[f.name] = f.path[1:]
		}
	}
	b, err := json.Marshal(paths)
	if err != nil {
		t.Fatal(err)
	}
	_, n := startCompanion(t, kongnginx.Options{Configs: configs, Stub: fmt.Sprintf(`
		local paths = require("cjson").decode(%q)
		function kong.client.get_consumer()
			return { id = "25f6c9b0", username = "anna", custom_id = "C-7", tags = ngx.null }
		end
		function kong.request.get_uri_captures()
			local m = assert(ngx.re.match(ngx.var.uri, assert(paths[ngx.ctx.config])))
			local unnamed, named = {}, {}
			for k, v in pairs(m) do
				if type(k) == "string" then named[k] = v elseif k > 0 then unnamed[k] = v end
			end
			return { unnamed = unnamed, named = named }
		end`, b)})
	// Kong has headers in a table of Lua's, so those of different names come in any order; the
	// stand-in for Kong sorts them.
	normal := func(record string) string {
		parts := strings.FieldsFunc(record, func(r rune) bool { return strings.ContainsRune(" ,{}", r) })
		slices.Sort(parts)
		return strings.Join(parts, " ")
	}
	checkFeatures(t, features, fake, normal, func(f feature, s sent) { s.checkBy(t, n.Client(t, f.name, 1), "http://kong", f.name) })
}

// The schema in Lua is that of the dump, and has two rules more.
func TestSchemaOfTheCompanionIsThatOfTheDump(t *testing.T) {
	_, n := startCompanion(t, kongnginx.Options{Configs: map[string][]byte{"x": []byte("{}")}, Stub: `
		local cjson = require "cjson"
		local out = { rules = {} }
		local function rule(name, ...)
			local ok, err = ...
			out.rules[name] = ok and "ok" or err
		end
		-- plain takes the functions out.
		local function plain(t)
			for k, v in pairs(t) do
				if type(v) == "table" and v.custom_entity_check then
					local check = v.custom_entity_check.fn
					rule("none", check({ forward_method = false, forward_body = false, forward_uri = ngx.null, value_format = "message", cloudevents = ngx.null }))
					rule("one", check({ forward_method = true, value_format = "message", cloudevents = "off" }))
					rule("body", check({ value_format = "body" }))
					rule("cloudevents", check({ value_format = "message", cloudevents = "binary" }))
					t[k] = nil
				elseif k == "custom_validator" then
					rule("function", v("return function(m) return m end"))
					rule("no function", v("return function("))
					rule("bytecode", v("\27LJ"))
					t[k] = nil
				elseif type(v) == "table" then
					plain(v)
				end
			end
			return t
		end
		out.schema = plain(require "kong.plugins.kafka-upstream.schema")
		local f = assert(io.open(require("kongstub").dir .. "/schema.json", "w"))
		f:write(cjson.encode(out))
		f:close()`})
	b, err := os.ReadFile(filepath.Join(n.Dir, "schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Schema any
		Rules  map[string]string
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	var want any
	if err := json.Unmarshal(schema.JSON(), &want); err != nil {
		t.Fatal(err)
	}
	want = asLua(want)
	if !reflect.DeepEqual(got.Schema, want) {
		t.Error(firstDifference("", got.Schema, want))
	}
	const none = "at least one of forward_method, forward_uri, forward_headers and forward_body must be true"
	for name, want := range map[string]string{
		"none": none, "one": "ok", "body": "ok", "cloudevents": "ok", "function": "ok",
		"no function": "Error parsing function: function:1:", "bytecode": "Error parsing function: ",
	} {
		if !strings.HasPrefix(got.Rules[name], want) {
			t.Errorf("%s: %q", name, got.Rules[name])
		}
	}
}

// asLua makes empty lists empty objects: Lua has one empty table.
func asLua(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = asLua(v[k])
		}
	case []any:
		if len(v) == 0 {
			return map[string]any{}
		}
		for i := range v {
			v[i] = asLua(v[i])
		}
	}
	return v
}

// firstDifference says where two values of JSON differ.
func firstDifference(at string, got, want any) string {
	switch g := got.(type) {
	case map[string]any:
		w, _ := want.(map[string]any)
		for k := range g {
			if !reflect.DeepEqual(g[k], w[k]) {
				return firstDifference(at+"."+k, g[k], w[k])
			}
		}
	case []any:
		w, _ := want.([]any)
		for i := range min(len(g), len(w)) {
			if !reflect.DeepEqual(g[i], w[i]) {
				return firstDifference(fmt.Sprint(at, "[", i, "]"), g[i], w[i])
			}
		}
	}
	return fmt.Sprintf("%s: got %.200v, want %.200v", at, got, want)
}

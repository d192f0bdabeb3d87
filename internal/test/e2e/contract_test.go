package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"github.com/twmb/franz-go/pkg/kfake"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongsim"
)

func all(more map[string]any) map[string]any {
	m := map[string]any{"forward_method": true, "forward_uri": true, "forward_headers": true, "forward_body": true}
	for k, v := range more {
		m[k] = v
	}
	return m
}

// decode reads JSON with numbers as they are written.
func decode(t *testing.T, b []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return v
}

// Each request that a genuine Kong was sent becomes the message that it must
// become, when Kong's PDK answers what it answered then.
func TestRecordedRequestsBecomeTheExpectedMessages(t *testing.T) {
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
	if len(rows) != 92 {
		t.Fatalf("%d rows", len(rows))
	}
	for name, args := range map[string][]string{"as is": nil, "portable": {"-portable"}, "request line": {"-request-variable", "request"},
		"defined variable": {"-request-variable", "kafka_upstream_request"}} {
		t.Run(name, func(t *testing.T) {
			f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
			s := rig.Start(t, args...)
			w := s.Worker()
			sync := map[string]any{"producer_async": false}
			plugins := map[string]*kongsim.Plugin{
				"all":     rig.NewPlugin(rig.Settings(t, f.Addrs(), all(sync))),
				"default": rig.NewPlugin(rig.Settings(t, f.Addrs(), sync)),
			}
			type expected struct{ name, message string }
			var want []expected
			for _, row := range rows {
				name := row.Case + "/" + row.Flags
				r, err := kongsim.LoadRecording(filepath.Join("../../../testdata/replies", row.Case+".json"))
				if err != nil {
					t.Fatal(err)
				}
				if r.BodyInTempFile {
					if r, err = r.WithBodyFile(filepath.Join(t.TempDir(), "body")); err != nil {
						t.Fatal(err)
					}
				}
				exit, err := w.HandleEvent(t.Context(), plugins[row.Flags], definedVariable{kongsim.Replay(r)})
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if exit.Status != row.Status {
					t.Errorf("%s: status %d, want %d: %s", name, exit.Status, row.Status, exit.Body)
				}
				if exit.Status == 200 {
					if string(exit.Body) != `{"message":"message sent"}` {
						t.Errorf("%s: body %s", name, exit.Body)
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
		})
	}
}

// definedVariable is Kong with the variable of nginx that docs/configuration.md
// defines, made of those that were recorded.
type definedVariable struct{ *kongsim.Replayer }

func (d definedVariable) Answer(method string, args []byte) ([]byte, bool) {
	named := func(name string) []byte {
		b, _ := proto.Marshal(&pb.String{V: name})
		return b
	}
	if method != "kong.nginx.get_var" || string(args) != string(named("kafka_upstream_request")) {
		return d.Replayer.Answer(method, args)
	}
	value := make(map[string][]byte)
	for _, name := range []string{"request_method", "request_uri", "args"} {
		b, ok := d.Replayer.Answer(method, named(name))
		if !ok {
			return nil, false
		}
		if len(b) > 0 {
			value[name], _ = protowire.ConsumeBytes(b[1:])
		}
	}
	joined := slices.Concat(value["request_method"], []byte(" "), value["request_uri"], []byte("\n"), value["args"])
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), joined), true
}

package schemafmt

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/avro"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
)

// The schemas that operators are shown.
func readSchema(t *testing.T, name string) (text string, e Encoder) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../testdata/schemas", name))
	if err != nil {
		t.Fatal(err)
	}
	kind := map[string]Kind{".avsc": Avro, ".json": JSONSchema, ".proto": Protobuf}[filepath.Ext(name)]
	if e, err = Compile(kind, string(b), nil); err != nil {
		t.Fatal(err)
	}
	return string(b), e
}

// messages returns the messages of all recorded requests, with their names, and those that
// docs/message.md shows.
func messages(t *testing.T) map[string]json.RawMessage {
	t.Helper()
	b, err := os.ReadFile("../../testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Case, Flags string
		Status      int
		Message     json.RawMessage
	}
	if err := json.Unmarshal(b, &rows); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]json.RawMessage)
	for _, r := range rows {
		if r.Status == 200 {
			all[r.Case+" "+r.Flags] = r.Message
		}
	}
	doc, err := os.ReadFile("../../docs/message.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, block := range strings.Split(string(doc), "```json\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		if !strings.Contains(text, `"error"`) {
			all["docs/message.md "+string(rune('A'+i))] = json.RawMessage(text)
		}
	}
	if len(all) < 90 {
		t.Fatalf("%d messages", len(all))
	}
	return all
}

func TestMessageSchemasTakeAllMessages(t *testing.T) {
	text, inAvro := readSchema(t, "message.avsc")
	library := avro.MustParse(text)
	_, inJSON := readSchema(t, "message.json")
	_, inProtobuf := readSchema(t, "message.proto")
	message := inProtobuf.(*protobufEncoder).message.desc
	for name, m := range messages(t) {
		var want map[string]any
		if err := json.Unmarshal(m, &want); err != nil {
			t.Fatal(err)
		}

		if got, err := inJSON.AppendJSON(nil, m); err != nil || string(got) != string(m) {
			t.Errorf("%s: %v", name, err)
		}

		b, err := inAvro.AppendJSON(nil, m)
		var decoded any
		if err == nil {
			_, err = library.Decode(b, &decoded)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		inMessage := func(field string, v any) any { // as the message would have it
			if v == nil || field == "body_base64" && v == false {
				return nil
			}
			return v
		}
		for field, v := range decoded.(map[string]any) {
			if !reflect.DeepEqual(inMessage(field, v), want[field]) {
				t.Errorf("%s: in Avro, %s is %v, not %v", name, field, v, want[field])
			}
		}

		b, err = inProtobuf.AppendJSON(nil, m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		back := dynamicpb.NewMessage(message)
		if err := proto.Unmarshal(b, back); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(back)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got map[string]any
		if err := json.Unmarshal(again, &got); err != nil {
			t.Fatal(err)
		}
		for field, v := range want {
			if v != "" && !reflect.DeepEqual(got[field], v) {
				t.Errorf("%s: in Protobuf, %s is %v, not %v", name, field, got[field], v)
			}
		}
	}
}

func TestBodySchemas(t *testing.T) {
	const body = `{"item":"tea","count":2}` // of the first example of docs/message.md
	for name, want := range map[string]string{
		"order.avsc": "\x06tea\x04\x00", "order.json": body, "order.proto": "\x0a\x03tea\x10\x02",
	} {
		_, e := readSchema(t, name)
		if got, err := e.AppendJSON(nil, []byte(body)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if _, err := e.AppendJSON(nil, []byte(`{"item":"tea","count":"client"}`)); err == nil || !strings.HasPrefix(err.Error(), "at /count: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

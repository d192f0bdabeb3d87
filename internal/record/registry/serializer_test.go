package registry

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
)

// serialize returns what becomes of a text, or the error's.
func serialize(z *Serializer, text string) string {
	b, err := z.Append([]byte("before"), []byte(text))
	if bad, ok := errors.AsType[*record.BadRequest](err); ok {
		if !bad.Schema || string(b) != "before" {
			return "a bad error"
		}
		return bad.Reason
	}
	if err != nil {
		return "error: " + err.Error()
	}
	return strings.TrimPrefix(hex.EncodeToString(b), hex.EncodeToString([]byte("before")))
}

func TestValuesAndKeysAreInTheWireFormat(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Pool, _ *direct, fake *srfake.Registry, _ *logged) {
		fake.SeedSchema("user-value", 1, 7, schemaOf(sr.TypeAvro, avroUser))
		fake.SeedSchema("user-value", 3, 0x01020304, schemaOf(sr.TypeJSON, jsonUser))
		fake.SeedSchema("user-key", 1, 9, schemaOf(sr.TypeAvro, `"string"`))
		fake.SeedSchema("id-key", 1, 10, schemaOf(sr.TypeAvro, `"long"`))
		o := value("user-value")
		o.Key = Subject{"user-key", "1"}
		latest := acquire(t, p, o)
		o.Value.Version, o.Key = "1", Subject{Name: "id-key"}
		first := acquire(t, p, o)
		for _, s := range []*Schemas{latest, first} {
			if err := ready(t, s); err != nil {
				t.Fatal(err)
			}
		}
		const good = ` {"name":"Anna", "age":30}`
		for _, row := range []struct {
			z          *Serializer
			text, want string
		}{
			{latest.Value, good, "0001020304" + hex.EncodeToString([]byte(good))},
			{first.Value, good, "0000000007" + "08416e6e61" + "3c"},
			{latest.Key, "k 1", "0000000009" + "066b2031"},
			{latest.Key, "", "0000000009" + "00"},
			{first.Key, "-64", "000000000a" + "7f"},
		} {
			if got := serialize(row.z, row.text); got != row.want {
				t.Errorf("%q is %s, want %s", row.text, got, row.want)
			}
		}
		for _, row := range []struct {
			z            *Serializer
			text, prefix string
		}{
			{latest.Value, `{"name":"hush","age":-1}`, "message does not fit schema user-value version 3: "},
			{first.Value, `{"name":"hush","age":"hush"}`, "message does not fit schema user-value version 1: "},
			{first.Value, `hush`, "message does not fit schema user-value version 1: "},
			{first.Value, ``, "message does not fit schema user-value version 1: "},
			{first.Key, `hush`, "key does not fit schema id-key version 1: "},
		} {
			if got := serialize(row.z, row.text); !strings.HasPrefix(got, row.prefix) || strings.Contains(got, "hush") {
				t.Errorf("%q is %s, want %s", row.text, got, row.prefix)
			}
		}
	})
}

// A message that is too large in the form of its schema is answered as any other, however large
// it is.
func TestValuesThatBecomeFarTooLargeAreTooLarge(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Pool, _ *direct, fake *srfake.Registry, _ *logged) {
		fake.SeedSchema("wide", 1, 5, schemaOf(sr.TypeAvro, `{"type":"array","items":{"type":"record","name":"R","fields":[{"name":"a","type":"string","default":"`+strings.Repeat("x", 100)+`"}]}}`))
		o := value("wide")
		o.MaxValue = 1000
		s := acquire(t, p, o)
		if err := ready(t, s); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Value.Append(nil, []byte("["+strings.Repeat("{},", 100)+"{}]")); err != request.ErrTooLarge {
			t.Error(err)
		}
	})
}

func TestClientsOfTheRegistryReadWhatIsWritten(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Pool, _ *direct, fake *srfake.Registry, _ *logged) {
		fake.SeedSchema("user-value", 1, 300, schemaOf(sr.TypeAvro, avroUser))
		s := acquire(t, p, value("user-value"))
		if err := ready(t, s); err != nil {
			t.Fatal(err)
		}
		b, err := s.Value.Append(nil, []byte(`{"age":30,"name":"Anna"}`))
		if err != nil {
			t.Fatal(err)
		}
		type user struct {
			Name string `avro:"name"`
			Age  int    `avro:"age"`
		}
		schema, err := avro.Parse(avroUser)
		if err != nil {
			t.Fatal(err)
		}
		serde := new(sr.Serde)
		serde.Register(300, user{}, sr.DecodeFn(func(b []byte, v any) error {
			_, err := schema.Decode(b, v)
			return err
		}))
		var got user
		if err := serde.Decode(b, &got); err != nil || got != (user{"Anna", 30}) {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestWithoutASchemaNothingIsSerialized(t *testing.T) {
	inBubble(t, func(t *testing.T, p *Pool, _ *direct, fake *srfake.Registry, _ *logged) {
		s := acquire(t, p, value("unknown"))
		if s.Key != nil {
			t.Error("there is a serializer of keys")
		}
		for range 2 { // while it is being fetched, and after that
			b, err := s.Value.Append([]byte("x"), []byte("{}"))
			if _, ok := errors.AsType[*UnavailableError](err); !ok || string(b) != "x" {
				t.Errorf("%q, %v", b, err)
			}
			_ = ready(t, s)
		}
	})
}

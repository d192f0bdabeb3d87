package lua

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// randomJSON writes any JSON, with numbers as clients write them.
func randomJSON(r *rand.Rand, b *bytes.Buffer, depth int) {
	pick := func(texts ...string) { b.WriteString(texts[r.IntN(len(texts))]) }
	text := func() {
		pick(`""`, `"a"`, `"body"`, `"1"`, `"é😀"`, `"\u00e9\/\n\ud83d\ude00"`, `"\u0000\u007f"`, `"`+"\u2028\x7f"+`"`, `"<&>"`, `"\\\""`)
	}
	switch n := r.IntN(10); {
	case n < 3 && depth > 0:
		b.WriteByte('[')
		for i := range r.IntN(4) {
			if i > 0 {
				pick(",", " , ")
			}
			randomJSON(r, b, depth-1)
		}
		b.WriteByte(']')
	case n < 7 && depth > 0:
		b.WriteByte('{')
		for i := range r.IntN(4) {
			if i > 0 {
				pick(",", ",\n")
			}
			text()
			pick(":", ": ")
			randomJSON(r, b, depth-1)
		}
		b.WriteByte('}')
	case n < 8:
		text()
	default:
		pick("null", "true", "false", "0", "-0", "1.10", "1e2", "-1E+400", "9007199254740993", "0.1", "1e-7", "12345678901234567890.50", "-12")
	}
}

func parsed(t *testing.T, value []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, value)
	}
	return v
}

// What needs no Lua, or makes tables of some fields only, makes what Lua makes of it: the same
// bytes, but for the escapes of the client, which only texts that were no Lua strings keep.
func TestShapesMakeWhatLuaMakes(t *testing.T) {
	const seed = 1
	r := rand.New(rand.NewPCG(seed, seed))
	for _, shape := range []struct{ fast, slow string }{
		{"return function(m) return m end", whole},
		{"return function(m) return m.body end", "return function(m) local b = m.body return b end"},
		{"return function(m) return m.body_args end", "return function(m) local b = m.body_args return b end"},
		{"return function(m) m.method = nil return m end", "return function(m) local x = m x.method = nil return m end"},
		{"return function(m) m.body_args = {m.body_args} return m end", "return function(m) local x = m x.body_args = {m.body_args} return m end"},
	} {
		fast, slow := compile(t, shape.fast), compile(t, shape.slow)
		for range 1000 {
			req := exampleRequest()
			var b bytes.Buffer
			randomJSON(r, &b, 4)
			req.Body = b.Bytes()
			of := func(f *Functions) (value []byte, final bool, failure string) {
				d := draft(t, req)
				if err := f.Transform(d); err != nil {
					return nil, false, err.Error()
				}
				return d.Message, d.Final, ""
			}
			got, final, failure := of(fast)
			want, wantFinal, wantFailure := of(slow)
			if final != wantFinal || failure != wantFailure {
				t.Fatalf("%s of %s is %v %s, not %v %s", shape.fast, req.Body, final, failure, wantFinal, wantFailure)
			}
			if failure != "" {
				continue
			}
			same := bytes.Equal(got, want)
			if !same && !final && bytes.ContainsRune(req.Body, '\\') {
				same = reflect.DeepEqual(parsed(t, got), parsed(t, want))
			}
			// The order of members is that in which a function sets them.
			if !same && !final && strings.Contains(shape.fast, " = ") {
				same = reflect.DeepEqual(parsed(t, got), parsed(t, want))
			}
			if !same {
				t.Fatalf("%s of %s is\n%s\nnot\n%s", shape.fast, req.Body, got, want)
			}
		}
	}
}

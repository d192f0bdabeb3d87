package jsonmsg

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

var jsonTexts = []struct {
	text  string
	valid bool
}{
	{`{}`, true}, {`[]`, true}, {` [ ] `, true}, {"\t{\r\n}\n", true},
	{`{"a":1,"b":[true,false,null],"c":{"d":""}}`, true},
	{`[[],{},[[]],{"":{}}]`, true},
	{`"a"`, true}, {`0`, true}, {`-0`, true}, {`-0.0e-0`, true}, {`1E+9`, true}, {`10.01`, true}, {`true`, true}, {`null`, true},
	{`"\"\\\/\b\f\n\r\t\u00e9\uD83D\ude00\ud800"`, true},
	{`"12345678\"12345678"`, true}, {`"é日本語` + "\u2028\x7f" + `"`, true},
	{`{"a":1,"a":2}`, true},
	{``, false}, {` `, false}, {`{`, false}, {`[`, false}, {`"`, false}, {`}`, false}, {`]`, false},
	{`{]`, false}, {`[}`, false}, {`[{]}`, false}, {`{"a":[}]`, false}, {`[]]`, false}, {`{}}`, false}, {`[] []`, false}, {`[],`, false},
	{`[,]`, false}, {`[1,]`, false}, {`[,1]`, false}, {`[1 2]`, false}, {`[1,,2]`, false}, {`[1:2]`, false},
	{`{,}`, false}, {`{"a"}`, false}, {`{"a":}`, false}, {`{"a":1,}`, false}, {`{"a":1 "b":2}`, false}, {`{"a",1}`, false},
	{`{a:1}`, false}, {`{1:1}`, false}, {`{"a"::1}`, false}, {`{"a":1:2}`, false}, {`{"a" 1}`, false}, {`{"a":1,2}`, false}, {`{null:1}`, false},
	{`00`, false}, {`01`, false}, {`-`, false}, {`+1`, false}, {`.1`, false}, {`1.`, false}, {`1.e1`, false}, {`1e`, false}, {`1e+`, false},
	{`-a`, false}, {`--1`, false}, {`0x1`, false}, {`1a`, false}, {`NaN`, false}, {`Infinity`, false}, {`-Infinity`, false}, {`1_0`, false},
	{`tru`, false}, {`truee`, false}, {`True`, false}, {`nul`, false}, {`fals `, false}, {`undefined`, false},
	{`"\x"`, false}, {`"\u00g0"`, false}, {`"\u00e"`, false}, {`"\u"`, false}, {`"\"`, false}, {`"\`, false}, {`"\U0041"`, false}, {`"\'"`, false},
	{"\"\n\"", false}, {"\"\x00\"", false}, {"\"1234567\x1f\"", false}, {`'a'`, false}, {`"a" "b"`, false}, {`"a`, false}, {`"12345678`, false},
	{"\v[]", false}, {"\f[]", false}, {"\u00a0[]", false}, {"\ufeff[]", false}, {"[]\x00", false}, {`/**/[]`, false}, {`[] // x`, false},
}

// compacted is appendCompactJSON behind something, which must stay.
func compacted(t testing.TB, text string) (string, error) {
	t.Helper()
	// As in Append: no byte may be read that is not the text's.
	got, err := appendCompactJSON([]byte("kept"), []byte(text)[:len(text):len(text)])
	after, ok := strings.CutPrefix(string(got), "kept")
	if !ok || err != nil && after != "" {
		t.Fatalf("%.200q: %.200q, %v", text, got, err)
	}
	return after, err
}

func TestJSONIsThatOfRFC8259(t *testing.T) {
	for _, c := range jsonTexts {
		if _, err := compacted(t, c.text); (err == nil) != c.valid {
			t.Errorf("%q: %v, valid is %v", c.text, err, c.valid)
		}
		if std := json.Valid([]byte(c.text)); std != c.valid {
			t.Errorf("%q: json.Valid says %v", c.text, std)
		}
	}
}

// TestJSONCutShortIsNotJSON also sees that nothing is read beyond the end.
func TestJSONCutShortIsNotJSON(t *testing.T) {
	text := ` {"key":[1.5e+3,-0,"\u12aB\\ and some more",true,false,null,{"a":{}},[]],"la\u0073t":""}`
	for n := range text {
		if _, err := compacted(t, text[:n]); err == nil {
			t.Errorf("%q passed", text[:n])
		}
	}
	if _, err := compacted(t, text); err != nil {
		t.Error(err)
	}
}

// TestDamagedJSONIsJudgedAsByTheStandardLibrary replaces each byte of texts with
// each that means something, and takes each out.
func TestDamagedJSONIsJudgedAsByTheStandardLibrary(t *testing.T) {
	const meaning = "\x00\x1f\n\v\r\t !\"#+,-./0129:;AEFafenrstu[\\]^{|}~\x7f\x80\xff"
	for _, c := range jsonTexts {
		for i := range c.text {
			for _, by := range append(strings.Split(meaning, ""), "") {
				damaged := c.text[:i] + by + c.text[i+1:]
				if _, err := compacted(t, damaged); (err == nil) != json.Valid([]byte(damaged)) {
					t.Errorf("%q: %v, valid is %v", damaged, err, err != nil)
				}
			}
		}
	}
}

func TestJSONNestsUpToTheLimit(t *testing.T) {
	for _, c := range []struct{ open, close string }{{"[", "]"}, {`{"":`, "}"}, {" [\n", " ]"}, {`{"a":0,"a":`, "}"}} {
		nested := func(n int) string {
			return strings.Repeat(c.open, n) + "0" + strings.Repeat(c.close, n)
		}
		if _, err := compacted(t, nested(maxNesting)); err != nil {
			t.Errorf("%q at the limit: %v", c.open, err)
		}
		if _, err := compacted(t, nested(maxNesting+1)); !errors.Is(err, errJSONDeep) {
			t.Errorf("%q above the limit: %v", c.open, err)
		}
	}
	// Depth is what is open at once, however much was open before.
	if _, err := compacted(t, "["+strings.Repeat("[[]],", 5000)+"[]]"); err != nil {
		t.Error(err)
	}
}

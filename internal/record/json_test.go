package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// walk is what a pointer means, by encoding/json.
func walk(s []byte, p pointer) (text string, found, valid bool) {
	d := json.NewDecoder(bytes.NewReader(s))
	d.UseNumber()
	var value any
	if d.Decode(&value) != nil {
		return "", false, false
	}
	if _, err := d.Token(); err != io.EOF {
		return "", false, false
	}
	for _, token := range p {
		switch v := value.(type) {
		case map[string]any:
			value = v[token]
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) || strconv.Itoa(i) != token {
				return "", false, true
			}
			value = v[i]
		default:
			return "", false, true
		}
	}
	switch v := value.(type) {
	case string:
		return v, true, true
	case json.Number, bool:
		return fmt.Sprint(v), true, true
	}
	return "", false, true
}

func FuzzPointer(f *testing.F) {
	for _, s := range []string{
		`{"a":{"b":[10,{"c":"x\u00fc\n\ud83d\ude00\ud800"},true,null]},"a":1}`, `[]`, `{}`, ` [ {"":-0.5e-3} , "\\\"" ] `, `"\ud800\u0041"`, `[1,]`, `{"a"}`, `01`, `"a` + "\n" + `"`, `[[[]]`, `{"a":1}}`,
	} {
		for _, p := range []string{"", "/a/b/1/c", "/0", "/1", "/a", "//a~1"} {
			f.Add(s, p)
		}
	}
	f.Fuzz(func(t *testing.T, s, text string) {
		p, err := newPointer(text)
		if err != nil {
			t.Skip()
		}
		value, err := p.find([]byte(s))
		if err == ErrJSONDeep || !utf8.ValidString(s) {
			if err == nil {
				t.Errorf("%q is not UTF-8", s)
			}
			return
		}
		want, found, valid := walk([]byte(s), p)
		if valid != (err == nil) {
			t.Fatalf("%q: %v, but encoding/json says %v", s, err, valid)
		}
		if err != nil {
			return
		}
		raw, escaped, ok := scalar(value)
		got := string(raw)
		if escaped {
			got = string(appendUnescaped(nil, raw))
		}
		if ok != found || got != want {
			t.Errorf("%q of %q: %q, %v, want %q, %v", text, s, got, ok, want, found)
		}
	})
}

// FuzzSplit compares the elements with those of encoding/json.
func FuzzSplit(f *testing.F) {
	f.Add(`[1, {"a":[2]} ,"x"]`)
	f.Add("{\"a\":1}\r\n\n [2] \n\"x\"")
	f.Add(`[]`)
	f.Add(`{}`)
	f.Add("[1]\n[2")
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) || strings.Count(s, "[")+strings.Count(s, "{") > MaxNesting {
			return
		}
		const limit = 1000
		texts := func(elements []span) (texts []string) {
			for _, e := range elements {
				texts = append(texts, s[e.from:e.to])
			}
			return texts
		}
		var want []json.RawMessage
		wantErr := json.Unmarshal([]byte(s), &want)
		isArray := len(bytes.TrimSpace([]byte(s))) > 0 && want != nil
		elements, err := appendElementsOfArray(nil, []byte(s), limit)
		if err != ErrTooMany {
			if (err == nil && len(elements) > 0) != (wantErr == nil && isArray && len(want) > 0) {
				t.Fatalf("%q: %q, %v, but encoding/json has %q, %v", s, texts(elements), err, want, wantErr)
			}
			for i, text := range texts(elements) {
				if err == nil && text != string(want[i]) {
					t.Errorf("%q: element %d is %q, want %q", s, i, text, want[i])
				}
			}
		}

		var lines []string
		valid := true
		for line := range strings.SplitSeq(s, "\n") {
			if line = strings.Trim(line, " \t\r"); line != "" {
				valid = valid && json.Valid([]byte(line))
				lines = append(lines, line)
			}
		}
		elements, err = appendLines(nil, []byte(s), limit)
		if err == ErrTooMany {
			return
		}
		if valid != (err == nil) || valid && fmt.Sprintf("%q", texts(elements)) != fmt.Sprintf("%q", lines) {
			t.Errorf("%q: lines %q, %v", s, texts(elements), err)
		}
	})
}

func FuzzQuoted(f *testing.F) {
	f.Add("a\"\\\n\r\t\x01é\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		var got string
		quoted := appendQuoted(nil, []byte(s))
		if err := json.Unmarshal(quoted, &got); err != nil || got != s {
			t.Errorf("%q: %s, %v", s, quoted, err)
		}
		if got := appendUnescaped(nil, quoted[1:len(quoted)-1]); string(got) != s {
			t.Errorf("%q comes back as %q", s, got)
		}
	})
}

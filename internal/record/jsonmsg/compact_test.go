package jsonmsg

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"kafka-upstream/internal/request"
)

// testCompact runs a table of JSON texts and what body_args is of each; a text that
// maps to "" stays as it is.
func testCompact(t *testing.T, table [][2]string) {
	t.Helper()
	for _, c := range table {
		text, want := c[0], c[1]
		if want == "" {
			want = text
		}
		got, err := compacted(t, text)
		if err != nil || got != want {
			t.Errorf("%.200q becomes\n%.200q, %v; want\n%.200q", text, got, err, want)
			continue
		}
		if reference := compactSlowly(text); reference != want {
			t.Errorf("%.200q: the reference has %.200q", text, reference)
		}
		r := &request.Request{Headers: headers("content-type: application/json"), Body: []byte(text)}
		m := mustAppend(t, r, request.Parts{Body: true})
		if _, args, _ := strings.Cut(m, `,"body_args":`); args != want+"}" {
			t.Errorf("the message of %.200q is %.400s", text, m)
		}
	}
}

func TestBodyArgsAreOneLine(t *testing.T) {
	testCompact(t, [][2]string{
		{"{\n \"a\": 1\n}", `{"a":1}`},
		{" \t\r\n[ \t\r\n1 \t\r\n, \t\r\n2 \t\r\n] \t\r\n", `[1,2]`},
		{" { \"a\" : { } , \"b\" : [ ] , \"c\" : [ [ ] , { \"d\" : null } ] } ", `{"a":{},"b":[],"c":[[],{"d":null}]}`},
		{"{\r\n\t\"a\"\r\n:\r\n\"b\"\r\n,\"c\":true\r\n}\r\n", `{"a":"b","c":true}`},
		{`[" a \n \u0020 ", "\t"]`, `[" a \n \u0020 ","\t"]`},
		{`{" a ":" b "}`, ""},
		{"[\"\u2028\u2029\u0085\u00a0\ufeff\x7f\"]", ""}, // no JSON white space, and no line ends to JSON
		{"[1, \n-0,1.0 ,1E400\n,1e+07, 12345678901234567890.10]", `[1,-0,1.0,1E400,1e+07,12345678901234567890.10]`},
	})
}

func TestHalfOfASurrogatePairIsReplaced(t *testing.T) {
	testCompact(t, [][2]string{
		{`["\ud800"]`, `["\ufffd"]`},
		{`["\udc00"]`, `["\ufffd"]`},
		{`["\uDBFF","\uDfFf","\udBfF"]`, `["\ufffd","\ufffd","\ufffd"]`},
		{`["\ud800\ud800"]`, `["\ufffd\ufffd"]`},
		{`["\udc00\ud800"]`, `["\ufffd\ufffd"]`},
		{`["\ud83dx"]`, `["\ufffdx"]`},
		{`["\ud83d\n\ude00"]`, `["\ufffd\n\ufffd"]`},
		{`["\ud83d\\ude00"]`, `["\ufffd\\ude00"]`},
		{`["\ud83d\u0041\ude00"]`, `["\ufffd\u0041\ufffd"]`},
		{`["\ud800\ud83d\ude00\ude00"]`, `["\ufffd\ud83d\ude00\ufffd"]`},
		{`{"\ud800":{"\udfff":"\uD800"}}`, `{"\ufffd":{"\ufffd":"\ufffd"}}`},
		{"[ \"a\\ud800b\" , \"\\udc00\" ]", `["a\ufffdb","\ufffd"]`},

		{`["\ud83d\ude00","\uD83D\uDE00","\ud800\udc00","\udbff\udfff"]`, ""},
		{`["\\ud800","\\\\ud800","\"ud800"]`, ""},
		{`["\\\ud800"]`, `["\\\ufffd"]`},
		{`["\uFFFD\ufffd\uffff\ufdd0\u0000\u000A\ud7ff\ue000"]`, ""},
	})
	for _, text := range []string{`["\ud800\u"]`, `["\ud800\udc0"]`, `["\ud800\udc0g"]`, `["\ud80"]`, `["\ud800\`} {
		if _, err := compacted(t, text); err == nil {
			t.Errorf("%s passed", text)
		}
	}
}

func TestOfMembersWithOneNameTheLastIsKept(t *testing.T) {
	testCompact(t, [][2]string{
		{`{"a":1,"a":2}`, `{"a":2}`},
		{`{"a":1,"b":2,"a":3}`, `{"b":2,"a":3}`},
		{`{"a":1,"a":2,"a":3,"b":4}`, `{"a":3,"b":4}`},
		{`{"a":1,"b":2,"a":3,"b":4}`, `{"a":3,"b":4}`},
		{`{"":0,"":1}`, `{"":1}`},
		{` { "a" : 1 , "a" : 2 } `, `{"a":2}`},

		{`{"a":1,"\u0061":2}`, `{"\u0061":2}`},
		{`{"\u0061":1,"a":2}`, `{"a":2}`},
		{`{"\u00e9":1,"é":2}`, `{"é":2}`},
		{`{"\ud83d\ude00":1,"😀":2}`, `{"😀":2}`},
		{`{"\ud83d\ude00":1,"\uD83D\uDE00":2}`, `{"\uD83D\uDE00":2}`},
		{`{"\/\b\f\n\r\t\"\\":1,"/\u0008\u000c\u000a\u000D\u0009\u0022\u005c":2}`, `{"/\u0008\u000c\u000a\u000D\u0009\u0022\u005c":2}`},
		{`{"\u0000":1,"\u0000":2}`, `{"\u0000":2}`},
		{`{"\ud800":1,"\udfff":2,"\ufffd":3,"` + "\ufffd" + `":4}`, `{"` + "\ufffd" + `":4}`},
		{`{"x\ud800":1,"x\ufffd":2}`, `{"x\ufffd":2}`},

		{`[{"a":1,"a":2},{"a":3,"b":4},{"a":5,"a":6}]`, `[{"a":2},{"a":3,"b":4},{"a":6}]`},
		{`{"a":{"b":1,"b":2},"a":{"b":3,"b":4},"c":0}`, `{"a":{"b":4},"c":0}`},
		{`{"a":{"b":1,"b":2},"c":{"b":3,"b":4},"a":{"b":5}}`, `{"c":{"b":4},"a":{"b":5}}`},
		{`{"":{"":0,"":{"":0,"":0}},"":{"":1,"":2}}`, `{"":{"":2}}`},
		{`{"a":[{"a":1},{"a":2,"a":3}],"a":[{"a":{"a":4},"a":5}]}`, `{"a":[{"a":5}]}`},
		{`{"a":"\ud800","b":[ ],"a":"\udc00"}`, `{"b":[],"a":"\ufffd"}`},

		{`{"a":1,"A":2,"a ":3," a":4,"aa":5,"\u0041a":6}`, ""},
		{`{"a":{"a":{"a":1}},"b":{"a":2},"c":[{"a":3}]}`, ""},
		{`{"body":1,"method":2,"body_args":{"body_args":3}}`, ""},
	})
}

// TestEqualNamesAreFoundAmongManyAndLong covers both ways to compare hashes, names
// of all lengths, and all lengths of objects.
func TestEqualNamesAreFoundAmongManyAndLong(t *testing.T) {
	for n := range 70 {
		name := strings.Repeat("x", n)
		testCompact(t, [][2]string{
			{`{"` + name + `":1,"` + name + `":2}`, `{"` + name + `":2}`},
			{`{"` + name + `":1,"` + name + `x":2}`, ""},
			{`{"` + name + `a":1,"` + name + `b":2,"a` + name + `":3,"b` + name + `":4}`, map[bool]string{true: `{"a":3,"b":4}`}[n == 0]},
		})
		var distinct, repeated []string
		for i := range n {
			distinct = append(distinct, fmt.Sprintf(`"%d":[%d]`, i, i))
			repeated = append(repeated, fmt.Sprintf(`"%d":{"a":0}`, i))
		}
		if n > 0 {
			testCompact(t, [][2]string{
				{"{" + strings.Join(slices.Concat(distinct, distinct), ",") + "}", "{" + strings.Join(distinct, ",") + "}"},
				{"{" + strings.Join(slices.Concat(repeated, distinct), ",") + "}", "{" + strings.Join(distinct, ",") + "}"},
				{"{" + strings.Join(distinct, ",") + "}", ""},
			})
		}
	}
}

// TestLastOfEqualNamesIsKeptInObjectsOfAnySize draws names so that about half are
// repeated, and repeats one name of many that differ.
func TestLastOfEqualNamesIsKeptInObjectsOfAnySize(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{3, 25, 100, 1000, 8191, 30_000, manyNames, manyNames + 1, 100_000} {
		for _, name := range []func(i int) string{
			func(int) string { return fmt.Sprintf("%x", r.IntN(n)) },
			func(int) string { return fmt.Sprintf("order line %d", r.IntN(n)) },
			func(int) string { return fmt.Sprintf("a name of more than sixteen bytes %d", r.IntN(n)) },
			func(i int) string { return fmt.Sprint("n", i%(n-1)) },
		} {
			names, last := make([]string, n), make(map[string]int, n)
			for i := range names {
				names[i] = name(i)
				last[names[i]] = i
			}
			var text, want []string
			for i, name := range names {
				member := fmt.Sprintf(`"%s":%d`, name, i)
				text = append(text, member)
				if last[name] == i {
					want = append(want, member)
				}
			}
			got, err := compacted(t, "{"+strings.Join(text, ",")+"}")
			if err != nil || got != "{"+strings.Join(want, ",")+"}" {
				t.Errorf("%d members like %.60q: not the last of each name are kept, %v", n, text[0], err)
			}
		}
	}
}

// TestHostileNamesCostNoMoreThanTheirLength would take hours if anything of it
// took the square of its length.
func TestHostileNamesCostNoMoreThanTheirLength(t *testing.T) {
	const n = 400_000 // enough for an index that grows
	var text []byte
	var want string
	check := func() {
		t.Helper()
		got, err := compacted(t, string(text))
		if err != nil || got != want {
			t.Errorf("%.100s… becomes %.100q…, %v", text, got, err)
		}
	}

	text = append(text, '{')
	for i := range n {
		text = fmt.Appendf(text, `"%x":0,`, i)
	}
	text = append(text, `"":0}`...)
	want = string(text)
	check()

	text = []byte("{" + strings.Repeat(`"":0,`, n) + `"":1}`)
	want = `{"":1}`
	check()

	text = []byte("{" + strings.Repeat(`"\u0061":{"":"","":""},"a":0,"b":0,`, n/10) + `"c":1}`)
	want = `{"a":0,"b":0,"c":1}`
	check()

	// Each level has equal names, before and behind the next one.
	before, behind := strings.Repeat(`"a":0,`, n/maxNesting), strings.Repeat(`,"a":1`, n/maxNesting)
	text = []byte(strings.Repeat("{"+before+`"b":`, maxNesting) + "0" + strings.Repeat(behind+"}", maxNesting))
	want = strings.Repeat(`{"b":`, maxNesting) + "0" + strings.Repeat(`,"a":1}`, maxNesting)
	check()

	// What is cut is itself full of what was cut.
	text = []byte("{" + strings.Repeat(`"a":{`, maxNesting-1) + strings.Repeat(`"b":0,`, n) + `"b":0` + strings.Repeat(`},"a":1`, maxNesting-1) + "}")
	want = `{"a":1}`
	check()
}

// TestEveryFieldIsStrictJSON puts what could break a line, be half of a surrogate
// pair or repeat a name into each field; mustAppend looks at the messages.
func TestEveryFieldIsStrictJSON(t *testing.T) {
	const (
		odd     = "a\n\r\x00\x1f\x7f\"\\\u2028\\ud800\xed\xa0\x80\xed\xb0\x80\xff" // CESU-8 is not UTF-8
		encoded = "%0A%0d%00%1F%22%5Cud800%ED%A0%80%ED%B0%80%FF"
		pairs   = encoded + "=" + encoded + "&" + encoded + "&" + odd + "=" + odd + "&" + odd + "=%0a&\xff=1&\xfe=2&%ef%bf%bd=3"
	)
	r := &request.Request{Method: []byte(odd), URI: []byte("/" + odd + encoded), Query: []byte(pairs)}
	for contentType, body := range map[string]string{
		"application/x-www-form-urlencoded": pairs,
		"text/plain":                        odd,
		"text/html":                         strings.ToValidUTF8(odd, ""),
		"application/octet-stream":          odd,
		"multipart/form-data; boundary=b": part(`name="`+odd+`"`, odd) + part(`name="`+strings.ReplaceAll(odd, "\n", " ")+`"`, "") +
			part("name=\"\xff\"", odd) + part("name=\"\xfe\"", encoded) + closing,
	} {
		r.Headers = headers("content-type: "+contentType, odd+": "+odd, odd+": \n", "x-\xe9: "+odd, "x-é: "+odd)
		r.Body = []byte(body)
		mustAppend(t, r, all)
	}
}

// compactSlowly says what appendCompactJSON makes of valid JSON, by encoding/json.
func compactSlowly(text string) string {
	text = strings.Trim(text, " \t\r\n")
	d := json.NewDecoder(strings.NewReader(text))
	var value json.RawMessage
	must := func(err error) {
		if err != nil {
			panic(fmt.Sprintf("%v in %q", err, text))
		}
	}
	switch text[0] {
	case '[':
		_, err := d.Token()
		must(err)
		var elements []string
		for d.More() {
			must(d.Decode(&value))
			elements = append(elements, compactSlowly(string(value)))
		}
		return "[" + strings.Join(elements, ",") + "]"
	case '{':
		_, err := d.Token()
		must(err)
		type member struct{ name, text string }
		var members []member
		for d.More() {
			from := d.InputOffset()
			name, err := d.Token()
			must(err)
			written := strings.TrimLeft(text[from:d.InputOffset()], " \t\r\n,")
			must(d.Decode(&value))
			members = slices.DeleteFunc(members, func(m member) bool { return m.name == name.(string) })
			members = append(members, member{name.(string), replaceHalves(written) + ":" + compactSlowly(string(value))})
		}
		texts := make([]string, len(members))
		for i, m := range members {
			texts[i] = m.text
		}
		return "{" + strings.Join(texts, ",") + "}"
	}
	return replaceHalves(text)
}

var (
	escapesAndPairs = regexp.MustCompile(`\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.`)
	half            = regexp.MustCompile(`^\\u[dD][89a-fA-F]..$`)
)

func replaceHalves(text string) string {
	return escapesAndPairs.ReplaceAllStringFunc(text, func(escape string) string {
		if half.MatchString(escape) {
			return `\ufffd`
		}
		return escape
	})
}

// checkStrict fails unless the message is what any strict reader takes: one line,
// one value of JSON in UTF-8 with nothing around it, no half of a surrogate pair,
// no object with two members of one name.
func checkStrict(t testing.TB, message []byte) {
	t.Helper()
	if !utf8.Valid(message) || !json.Valid(message) {
		t.Fatalf("not JSON in UTF-8: %q", message)
	}
	if i := slices.IndexFunc(message, func(b byte) bool { return b < ' ' }); i >= 0 {
		t.Fatalf("a control character at %d of %q", i, message)
	}
	if bytes.Contains(message, []byte(`\ud`)) || bytes.Contains(message, []byte(`\uD`)) {
		if replaceHalves(string(message)) != string(message) {
			t.Fatalf("half of a surrogate pair in %q", message)
		}
	}
	d := json.NewDecoder(bytes.NewReader(message))
	d.UseNumber()
	var value func()
	value = func() {
		token, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		switch token {
		case json.Delim('['):
			for d.More() {
				value()
			}
			d.Token()
		case json.Delim('{'):
			seen := map[string]bool{}
			for d.More() {
				name, err := d.Token()
				if err != nil {
					t.Fatal(err)
				}
				if seen[name.(string)] {
					t.Fatalf("two members are called %q in %q", name, message)
				}
				seen[name.(string)] = true
				value()
			}
			d.Token()
		}
	}
	value()
}

// FuzzBodyArgs compares body_args with what encoding/json says of the same text.
func FuzzBodyArgs(f *testing.F) {
	for _, c := range jsonTexts {
		f.Add([]byte(c.text))
	}
	f.Add([]byte(strings.Repeat("[", maxNesting) + strings.Repeat("]", maxNesting)))
	f.Add([]byte(strings.Repeat(`[{"":`, 500) + "1" + strings.Repeat("}]", 500)))
	f.Add([]byte(`{"a":{"b":1,"b":2},"\u0061":{"\ud800":{"":0,"":[ ]},"\udfff":"\ud83d\ude00"}}`))
	f.Add([]byte(`{"0":0,"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"a":0,"b":0,"c":0,"d":0,"e":0,"f":0,"\u0030":0,"1":1 }`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if !utf8.Valid(text) {
			t.Skip() // refused before
		}
		got, err := compacted(t, string(text))
		if old := checkJSON(text); old != err {
			t.Fatalf("%v; the check of two passes says %v", err, old)
		}
		if err != nil {
			if err == errJSON && json.Valid(text) || err == errJSONDeep && depth(text) <= maxNesting {
				t.Fatalf("refused: %v", err)
			}
			return
		}
		if d := depth(text); d > maxNesting {
			t.Fatalf("accepted at a depth of %d", d)
		}
		if want := compactSlowly(string(text)); got != want {
			t.Fatalf("got  %q\nwant %q", got, want)
		}
		checkStrict(t, []byte(got))
		if again, err := compacted(t, got); again != got || err != nil {
			t.Fatalf("%q is not compact: %q, %v", got, again, err)
		}
	})
}

// depth returns how deep text nests, as far as it is JSON.
func depth(text []byte) (deepest int) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	open := 0
	for {
		token, err := d.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			open++
			deepest = max(deepest, open)
		case json.Delim('}'), json.Delim(']'):
			open--
		}
	}
}

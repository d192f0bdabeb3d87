package jsonmsg

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"kafka-upstream/internal/request"
)

func TestArguments(t *testing.T) {
	for _, c := range []struct{ name, query, want string }{
		{"of no query", "", `{}`},
		{"are pairs", "a=1&b=2", `{"a":"1","b":"2"}`},
		{"are split at the first =", "a=b=c&d==", `{"a":"b=c","d":"="}`},
		{"are split at & alone", "a=1;b=2", `{"a":"1;b=2"}`},
		{"are split before they are decoded", "a%3Db=c%26d", `{"a=b":"c&d"}`},
		{"have + for a space", "a+b=+c+", `{"a b":" c "}`},
		{"have %XX for a byte", "%61=%2B%2b%20&%C3%A9=%c3%bc", `{"a":"++ ","é":"ü"}`},
		{"keep an invalid escape", "a=%&b=%4&c=%zz&d=%%41&e=%4%41&f=100%+x&%=1", `{"a":"%","b":"%4","c":"%zz","d":"%A","e":"%4A","f":"100% x","%":"1"}`},
		{"decode once", "a=%2541&b=%2B", `{"a":"%41","b":"+"}`},
		{"without = are true", "foo&bar", `{"foo":true,"bar":true}`},
		{"with nothing after = are empty", "foo=&bar=", `{"foo":"","bar":""}`},
		{"without a name are dropped", "=v&=&&a=1&", `{"a":"1"}`},
		{"of nothing but empty pairs", "&&=&", `{}`},
		{"that repeat are an array, true included", "a=1&a&a=", `{"a":["1",true,""]}`},
		{"stand where their name came first", "b=1&a=2&b=3&c=4&a=5", `{"b":["1","3"],"a":["2","5"],"c":"4"}`},
		{"repeat by their decoded name", "a%20b=1&a+b=2&%61+b", `{"a b":["1","2",true]}`},
		{"have U+FFFD for each byte that is not UTF-8", "a=%ff%fe&b=ok", `{"a":"` + "\ufffd\ufffd" + `","b":"ok"}`},
		{"have U+FFFD for raw bytes too", "x=\xe9\xe2\x82", `{"x":"` + "\ufffd\ufffd\ufffd" + `"}`},
		{"have UTF-8 made of raw and escaped bytes", "x=\xc3%A9%C3\xa9", `{"x":"éé"}`},
		{"repeat by their name with U+FFFD", "%ff=1&%fe=2&%EF%BF%BD=3", `{"` + "\ufffd" + `":["1","2","3"]}`},
		{"keep brackets", "x[]=1&x[]=2&y[k]=v", `{"x[]":["1","2"],"y[k]":"v"}`},
		{"are JSON strings", "a%22=%5C%00%0a", `{"a\"":"\\\u0000\n"}`},
		{"tell names apart by case and space", "a=1&A=2&%20a=3&a%00=4", `{"a":"1","A":"2"," a":"3","a\u0000":"4"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(appendArguments(nil, []byte(c.query))); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if ref := referenceArguments(c.query); ref != c.want {
				t.Errorf("the reference has %s\nwant %s", ref, c.want)
			}
		})
	}
}

func TestArgumentsBeyondTheLimitAreLeftOut(t *testing.T) {
	var pairs []string
	for i := range maxArguments + 1 {
		pairs = append(pairs, fmt.Sprintf("k%d=%d", i, i))
	}
	query := strings.Join(pairs, "&")
	got := decoded(t, appendArguments(nil, []byte(query))).(map[string]any)
	if len(got) != maxArguments || got["k0"] != "0" || got["k999"] != "999" {
		t.Errorf("%d arguments of %d pairs, last %v", len(got), len(pairs), got["k999"])
	}

	repeated := decoded(t, appendArguments(nil, []byte(strings.Repeat("a&", 5000)))).(map[string]any)
	if n := len(repeated["a"].([]any)); n != maxArguments {
		t.Errorf("%d values of one name, want %d", n, maxArguments)
	}

	// As in Kong, pairs that are dropped count too.
	if got := string(appendArguments(nil, []byte(strings.Repeat("&", maxArguments-1)+"a=1&b=2"))); got != `{"a":"1"}` {
		t.Errorf("got %s", got)
	}

	// The whole of it stays in uri and in body.
	r := &request.Request{
		URI: []byte("/?" + query), Query: []byte(query), Body: []byte(query),
		Headers: headers("content-type: application/x-www-form-urlencoded"),
	}
	message := decoded(t, []byte(mustAppend(t, r, all))).(map[string]any)
	if message["uri"] != "/?"+query || message["body"] != query {
		t.Error("uri and body do not hold all arguments")
	}
	if n := len(message["body_args"].(map[string]any)); n != maxArguments {
		t.Errorf("%d body_args", n)
	}
}

// TestManyNamesAreGroupedAsFewAre sees the index of names grow, with repeats in
// each of its sizes.
func TestManyNamesAreGroupedAsFewAre(t *testing.T) {
	for _, names := range []int{1, 15, 16, 17, 18, 31, 32, 33, 64, 65, 500, 1000} {
		for _, repeats := range []int{1, 2, 7} {
			var pairs []string
			for i := range names * repeats {
				pairs = append(pairs, fmt.Sprintf("n%%%02x%d=%d", 0xf0+i%16, i%names, i))
			}
			query := strings.Join(pairs, "&")
			if got, want := string(appendArguments(nil, []byte(query))), referenceArguments(query); got != want {
				t.Fatalf("%d names, %d times:\ngot  %s\nwant %s", names, repeats, got, want)
			}
		}
	}
}

// TestObjectsAreUsedAgainWithoutATrace runs requests of many sizes through the
// pooled object one after another, and at once.
func TestObjectsAreUsedAgainWithoutATrace(t *testing.T) {
	var queries, want []string
	for i := range 40 {
		var pairs []string
		for k := range i * i % 997 {
			pairs = append(pairs, fmt.Sprintf("%%41%d+%%ff=%d", k%(i+1), k))
		}
		queries = append(queries, strings.Join(pairs, "&"))
		want = append(want, referenceArguments(queries[i]))
	}
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for i := range queries {
				if got := string(appendArguments(nil, []byte(queries[i]))); got != want[i] {
					t.Errorf("got  %s\nwant %s", got, want[i])
				}
			}
		})
	}
}

// BenchmarkHostileArguments shows whether what a client can send makes a cost that
// grows with the square of it.
func BenchmarkHostileArguments(b *testing.B) {
	long := strings.Repeat("x", 4000)
	var same, open []string
	for i := range maxArguments {
		same = append(same, fmt.Sprintf("%s%d", long, i)) // 4 MB of names that differ at their ends
		open = append(open, "%ff"+strings.Repeat("%", 1000))
	}
	for name, query := range map[string]string{
		"long names": strings.Join(same, "&"),
		"escapes":    strings.Join(open, "&"),
		"no names":   strings.Repeat("&", 1<<20),
		"one value":  "a=" + strings.Repeat("%ff", 1<<20),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(query)))
			for b.Loop() {
				appendArguments(nil, []byte(query))
			}
		})
	}
}

// referenceArguments does what appendArguments does, the slow and simple way.
func referenceArguments(query string) string {
	type argument struct {
		name   string
		values []string
	}
	var arguments []argument
	for i, pair := range strings.Split(query, "&") {
		if i == maxArguments {
			break
		}
		rawName, rawValue, hasValue := strings.Cut(pair, "=")
		if rawName == "" {
			continue
		}
		name, value := referenceQuoted(referenceDecoded(rawName)), "true"
		if hasValue {
			value = referenceQuoted(referenceDecoded(rawValue))
		}
		known := false
		for k := range arguments {
			if arguments[k].name == name {
				arguments[k].values = append(arguments[k].values, value)
				known = true
			}
		}
		if !known {
			arguments = append(arguments, argument{name, []string{value}})
		}
	}
	var members []string
	for _, a := range arguments {
		value := a.values[0]
		if len(a.values) > 1 {
			value = "[" + strings.Join(a.values, ",") + "]"
		}
		members = append(members, a.name+":"+value)
	}
	return "{" + strings.Join(members, ",") + "}"
}

func referenceDecoded(s string) string {
	var out []byte
	for ; s != ""; s = s[1:] {
		if len(s) > 2 && s[0] == '%' {
			if c, err := hex.DecodeString(s[1:3]); err == nil {
				out = append(out, c...)
				s = s[2:]
				continue
			}
		}
		out = append(out, strings.ReplaceAll(s[:1], "+", " ")...)
	}
	return string(out)
}

func referenceQuoted(s string) string {
	out := `"`
	for _, r := range s { // each byte that is no part of UTF-8 comes as U+FFFD
		switch {
		case r == '"' || r == '\\':
			out += `\` + string(r)
		case r < 0x20:
			if short := strings.IndexRune("\b\f\n\r\t", r); short >= 0 {
				out += `\` + "bfnrt"[short:short+1]
			} else {
				out += fmt.Sprintf(`\u%04x`, r)
			}
		default:
			out += string(r)
		}
	}
	return out + `"`
}

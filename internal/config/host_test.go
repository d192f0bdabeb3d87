package config

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"kafka-upstream/schema"
)

func TestHostsThatCanBeDialedAreValid(t *testing.T) {
	for _, host := range []string{
		"kafka", "KAFKA", "k", "kafka-1.example.com", "kafka.example.com.", "project_kafka_1", "_kafka._tcp.example.com", "3com.example", "a.1", "xn--caf-dma.example",
		strings.Repeat("a", 63) + ".example", strings.Repeat("a.", 126) + "a",
		"10.0.0.1", "0.0.0.0", "255.255.255.255",
		"::1", "[::1]", "2001:db8::1", "[2001:DB8::1]", "1:2:3:4:5:6:7:8", "::ffff:10.0.0.1", "fe80::1%eth0", "[fe80::1%eth0.100]", "fe80::1%en-wifi_0",
	} {
		if problem := hostProblem(host); problem != "" {
			t.Errorf("%q %s", host, problem)
		}
	}
}

func TestHostsThatCannotBeDialedAreRefusedWithWhatToDo(t *testing.T) {
	for host, want := range map[string]string{
		"a,b": "names several brokers", "127.0.0.1,127.0.0.1": "names several brokers", "a;b": "names several brokers", ",": "names several brokers",
		"a,b:9092": "names several brokers", "[::1],[::1]": "names several brokers",
		"kafka:9092":        `has a port in it: put 9092 into port, and "kafka" into host`,
		"10.0.0.1:9092":     `has a port in it: put 9092 into port, and "10.0.0.1" into host`,
		"[::1]:9092":        `has a port in it: put 9092 into port, and "[::1]" into host`,
		"kafka:":            "ends with a colon",
		"[::1]:":            "ends with a colon",
		":9092":             "has a port in it",
		":":                 "ends with a colon",
		"PLAINTEXT://kafka": `has a scheme in it: remove "PLAINTEXT://", and set security.ssl`,
		"kafka://h:9092":    "has a scheme in it",
		"://":               "has a scheme in it",
		"kafka/path":        `has the character '/' in it`,
		"user@kafka":        `has the character '@' in it`,
		" kafka":            "has white space in it", "kafka ": "has white space in it", "a b": "has white space in it", "a\tb": "has white space in it",
		"kafka\n": "has white space in it", "\u00a0kafka": "has white space in it", "\u3000": "has white space in it",
		"kafka\x00": `has the character '\x00' in it`, "\x1b[31mkafka": `has the character '\x1b' in it`, "kafka\x7f": `has the character '\x7f' in it`,
		"kafka\u202e": `has the character '\u202e' in it`, "\xff": "has the character '\uFFFD' in it",
		"bücher.example": "xn--", "кафка": "xn--",
		"[::1": "brackets that do not match", "::1]": "brackets that do not match", "[[::1]]": "brackets that do not match", "]::1[": "brackets that do not match",
		"[": "brackets that do not match", "]": "brackets that do not match", "ka[fk]a": "brackets that do not match",
		"[]": "is not an IPv6 address", "[kafka]": "is not an IPv6 address", "[10.0.0.1]": "is not an IPv6 address", "::1::": "is not an IPv6 address", ":::": "is not an IPv6 address",
		"1:2:3": "is not an IPv6 address", "1:2:3:4:5:6:7:8:9": "is not an IPv6 address", "12345::": "is not an IPv6 address", "fe80::1%": "is not an IPv6 address",
		"kafka%eth0": "is not an IPv6 address", "10.0.0.1%eth0": "is not an IPv6 address", "fe80::1%a%b": "is not an IPv6 address", "kafka::9092": "is not an IPv6 address",
		".": "an empty part", "..": "an empty part", ".kafka": "an empty part", "kafka..example": "an empty part", "kafka..": "an empty part",
		"-kafka": "begins or ends with a hyphen", "kafka-": "begins or ends with a hyphen", "a.-b": "begins or ends with a hyphen", "a-.b": "begins or ends with a hyphen", "-": "begins or ends with a hyphen",
		"10.0.0": "is not an IPv4 address", "10.0.0.256": "is not an IPv4 address", "10.0.0.1.1": "is not an IPv4 address", "1": "is not an IPv4 address", "10.0.0.1.": "is not an IPv4 address", "010.0.0.1": "is not an IPv4 address",
		strings.Repeat("a", 64):         "a part of 64 bytes",
		strings.Repeat("a.", 127):       "has 254 bytes: a host has 253 at most",
		strings.Repeat("a", 1<<17):      "has 131072 bytes",
		strings.Repeat("kafka,", 1<<15): "has 196608 bytes",
	} {
		text, err := json.Marshal(host)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(host, "\xff") { // which JSON cannot have
			text = []byte("\"\xff\"")
		}
		err = parse(t, `{"bootstrap_servers":[{"host":`+string(text)+`,"port":1}],"topic":"t"}`).Validate()
		if err == nil || !strings.HasPrefix(err.Error(), "bootstrap_servers host ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: error is %v, want %s", host, err, want)
			continue
		}
		if s := err.Error(); len(s) > 600 || strings.ContainsAny(s, "\n\x1b\u202e") {
			t.Errorf("%.80q: %d bytes: %q", host, len(s), s)
		}
	}
}

// No host that passes is read as something else: not as several addresses, nor as an
// address with a port of its own.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"a", "a,b", "[::1]", "fe80::1%eth0", "kafka:9092", "a.b.", "[::1]:1", "-", "10.0.0.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if hostProblem(host) != "" || host == "" {
			return
		}
		address := Server{host, 9092}.Address()
		h, port, err := net.SplitHostPort(address)
		if err != nil || port != "9092" || h != strings.Trim(host, "[]") || strings.ContainsAny(address, ", \n") {
			t.Errorf("%q becomes %q: %q, %q, %v", host, address, h, port, err)
		}
	})
}

func TestTopicsAreThoseOfKafka(t *testing.T) {
	for topic, want := range map[string]string{
		"t": "", "Orders_1.eu-west": "", "...": "", "__consumer_offsets": "", "-": "", strings.Repeat("a", 249): "",
		".": "is not a name that Kafka takes", "..": "is not a name that Kafka takes",
		strings.Repeat("a", 250):   "has 250 bytes: a topic has 249 at most",
		strings.Repeat("a", 1<<17): "has 131072 bytes: a topic has 249 at most",
		"a b":                      `has the character ' ' in it`, "a/b": `has the character '/' in it`, "a:b": `has the character ':' in it`, "a,b": `has the character ',' in it`,
		"a\nb": `has the character '\n' in it`, "a\x00": `has the character '\x00' in it`, "ä": `has the character 'ä' in it`, "a%": `has the character '%' in it`, "[a]": `has the character '[' in it`,
		"{": `has the character '{' in it`, "a}": `has the character '}' in it`, "a{header.x": `has the character '{' in it`, "{header.x}}": `has the character '}' in it`, "{header.{x}": `has the character '{' in it`,
		"a\u202e":      `has the character '\u202e' in it`,
		"{header.x} a": `has the character ' ' in it`, "ä{header.x}": `has the character 'ä' in it`, "{header." + strings.Repeat("a", 249) + "}": "has 258 bytes",
	} {
		text, err := json.Marshal(topic)
		if err != nil {
			t.Fatal(err)
		}
		err = parse(t, `{"bootstrap_servers":[{"host":"h","port":1}],"topic":`+string(text)+`}`).Validate()
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", topic, err)
		case want != "" && (err == nil || !strings.HasPrefix(err.Error(), "topic \"") || !strings.Contains(err.Error(), want)):
			t.Errorf("%.80q: error is %v, want %s", topic, err, want)
		case err != nil && (len(err.Error()) > 300 || strings.ContainsAny(err.Error(), "\n\u202e")):
			t.Errorf("%.80q: %q", topic, err)
		}
	}
}

func TestTopicsMayHavePlaceholders(t *testing.T) {
	for _, topic := range []string{"orders.{uri_capture.region}", "{query_arg.a b}", "{header.X-A}-{consumer.username}.x", "{body./a/b.c}", "{uri_capture.1}"} {
		for allowed, want := range map[string]string{`["a"]`: "", "[]": "allowed_topics must name the topics", "null": "allowed_topics must name the topics"} {
			err := parse(t, fmt.Sprintf(`{"bootstrap_servers":[{"host":"h","port":1}],"topic":%q,"allowed_topics":%s}`, topic, allowed)).Validate()
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s with %s: %v", topic, allowed, err)
			}
		}
	}
}

// An instance whose configuration Kong has not looked at is held to the lengths of
// the schema, too.
func TestLengthsAreThoseOfTheSchema(t *testing.T) {
	limits := make(map[string]int)
	for _, f := range schema.Config() {
		limits[f.Name] = f.LenMax
		for _, sub := range f.Fields {
			limits[f.Name+"."+sub.Name] = sub.LenMax
		}
	}
	auth := func(user, password int) string {
		return fmt.Sprintf(`"bootstrap_servers":[{"host":"h","port":1}],"topic":"t","authentication":{"mechanism":"PLAIN","user":%q,"password":%q}`,
			strings.Repeat("u", user), strings.Repeat("hush", password)[:password])
	}
	servers := func(n int) string {
		return `"topic":"t","bootstrap_servers":[` + strings.TrimSuffix(strings.Repeat(`{"host":"h,h","port":1},`, n), ",") + `]`
	}
	for name, make := range map[string]func(n int) string{
		"authentication.user":     func(n int) string { return auth(n, 1) },
		"authentication.password": func(n int) string { return auth(1, n) },
		"cluster_name": func(n int) string {
			return `"bootstrap_servers":[{"host":"h","port":1}],"topic":"t","cluster_name":"` + strings.Repeat("c", n) + `"`
		},
		"topic": func(n int) string {
			return `"bootstrap_servers":[{"host":"h","port":1}],"topic":"` + strings.Repeat("t", n) + `"`
		},
		"bootstrap_servers.host": func(n int) string {
			return `"topic":"t","bootstrap_servers":[{"host":"` + strings.Repeat("h.", 1000)[:n] + `","port":1}]`
		},
		"bootstrap_servers": func(n int) string { return strings.ReplaceAll(servers(n), "h,h", "h") },
	} {
		limit := limits[name]
		if limit == 0 {
			t.Errorf("the schema has no len_max of %s", name)
			continue
		}
		if err := parse(t, "{"+make(limit)+"}").Validate(); err != nil {
			t.Errorf("%s of %d: %v", name, limit, err)
		}
		err := parse(t, "{"+make(limit+1)+"}").Validate()
		if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(name, ".host", " host")) || !strings.Contains(err.Error(), fmt.Sprint(limit+1)) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s of %d: %.300v", name, limit+1, err)
		}
	}
	// What is refused a thousand times is told in a few words.
	if err := parse(t, "{"+servers(10_000)+"}").Validate(); err == nil || len(err.Error()) > 2000 {
		t.Errorf("%.300v", err)
	}
}

func TestPasswordInAHostIsNotShown(t *testing.T) {
	cfg, err := Parse([]byte(`{"topic":"t","bootstrap_servers":[{"host":"kong:hush@broker","port":9092}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), `"…@broker"`) || strings.Contains(err.Error(), "hush") {
		t.Error(err)
	}
}

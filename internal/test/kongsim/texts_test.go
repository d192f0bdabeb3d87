package kongsim

import (
	"encoding/json"
	"strings"
	"testing"

	"kafka-upstream/internal/config"
)

// The schema refuses what it can say of texts; what it lets pass, the plugin server
// refuses when the instance starts. Neither refuses what the other takes.
func TestTextsThatCannotBeUsedAreRefusedByTheSchema(t *testing.T) {
	e := ours(t)
	verdicts := func(t *testing.T, c map[string]any) (kong, plugin string) {
		t.Helper()
		raw, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		kong = verdict(e, jsonMap(t, `{"name":"kafka-upstream","config":`+string(raw)+`}`))
		parsed, err := config.Parse(raw)
		if err == nil {
			err = parsed.Validate()
		}
		if err != nil {
			plugin = err.Error()
		}
		return kong, plugin
	}
	with := func(host, topic string) map[string]any {
		return map[string]any{"topic": topic, "bootstrap_servers": []any{map[string]any{"host": host, "port": 9092}}}
	}
	for _, host := range []string{
		"kafka", "kafka-1.example.com", "kafka.example.com.", "project_kafka_1", "a.1", "1.a", "10.0.0.1", "0.0.0.0", "localhost",
		"::1", "[::1]", "2001:db8::1", "[2001:DB8::1]", "1:2:3:4:5:6:7:8", "::ffff:10.0.0.1", "fe80::1%eth0", "[fe80::1%eth0.100]", "fe80::1%en-wifi_0", "::",
		strings.Repeat("a.", 126) + "a",
	} {
		if kong, plugin := verdicts(t, with(host, "t")); kong != "" || plugin != "" {
			t.Errorf("host %q: Kong says %q, the plugin server %q", host, kong, plugin)
		}
	}
	for host, want := range map[string]string{
		"a,b": "names several brokers", "a;b": "names several brokers", "[::1],[::1]": "names several brokers", "a, b": "names several brokers",
		"kafka:9092": "must not have a port", "10.0.0.1:9092": "must not have a port", "[::1]:9092": "must not have a port", "kafka:": "must not have a port", ":": "must not have a port",
		"PLAINTEXT://kafka": "must not have a scheme", "SASL_SSL://kafka:9092": "must not have a scheme",
		"a b": "must be a hostname or an IP", " a": "must be a hostname or an IP", "a\n": "must be a hostname or an IP", "a\x00": "must be a hostname or an IP", "a/b": "must be a hostname or an IP", "u@h": "must be a hostname or an IP", "ä": "must be a hostname or an IP",
		"[::1": "brackets do not match", "::1]": "brackets do not match", "[[::1]]": "brackets do not match", "]": "brackets do not match", "[": "brackets do not match", "ka[fk]a": "brackets do not match", "[::1]x": "brackets do not match",
		"[]": "is not an IPv6 address", "[kafka]": "is not an IPv6 address", "[10.0.0.1]": "is not an IPv6 address", "::1::": "is not an IPv6 address", ":::": "is not an IPv6 address", "kafka:port": "is not an IPv6 address", "kafka::1": "is not an IPv6 address", "::1-a": "is not an IPv6 address", "kafka%eth0": "is not an IPv6 address",
		".": "an empty part", ".a": "an empty part", "a..b": "an empty part", "-a": "hyphen", "a-": "hyphen", "a.-b": "hyphen", "a-.b": "hyphen",
		"1": "is not an IPv4 address", "10.0.0": "is not an IPv4 address", "10.0.0.1.1": "is not an IPv4 address", "10.0.0.1.": "is not an IPv4 address",
		strings.Repeat("a", 254): "length must be at most 253", "": "length must be at least 1",
	} {
		kong, plugin := verdicts(t, with(host, "t"))
		if !strings.Contains(kong, want) || plugin == "" {
			t.Errorf("host %q: Kong says %q, want %q; the plugin server says %q", host, kong, want, plugin)
		}
	}
	for topic, want := range map[string]string{
		"t": "", "Orders_1.eu-west": "", "...": "", strings.Repeat("a", 249): "",
		".": "cannot be named '.' or '..'", "..": "cannot be named '.' or '..'", "a b": "consists of letters", "a/b": "consists of letters", "ä": "consists of letters", "a\n": "consists of letters",
		strings.Repeat("a", 250): "length must be at most 249",
	} {
		kong, plugin := verdicts(t, with("h", topic))
		if !strings.Contains(kong, want) || (want == "") != (kong == "") || (want == "") != (plugin == "") {
			t.Errorf("topic %q: Kong says %q, want %q; the plugin server says %q", topic, kong, want, plugin)
		}
	}
	long := func(n int) string { return strings.Repeat("x", n) }
	servers := func(n int) (all []any) {
		for i := range n {
			all = append(all, map[string]any{"host": "h", "port": 1 + i})
		}
		return all
	}
	login := func(user, password string) map[string]any {
		return map[string]any{"strategy": "sasl", "mechanism": "PLAIN", "user": user, "password": password}
	}
	for _, row := range []struct {
		key       string
		good, bad any
		want      string
	}{
		{"bootstrap_servers", servers(128), servers(129), "length must be at most 128"},
		{"cluster_name", long(1024), long(1025), "length must be at most 1024"},
		{"authentication", login(long(4096), "p"), login(long(4097), "p"), "length must be at most 4096"},
		{"authentication", login("u", long(65536)), login("u", long(65537)), "length must be at most 65536"},
	} {
		c := with("h", "t")
		c[row.key] = row.good
		if kong, plugin := verdicts(t, c); kong != "" || plugin != "" {
			t.Errorf("%s: Kong says %.200q, the plugin server %.200q", row.key, kong, plugin)
		}
		c[row.key] = row.bad
		if kong, plugin := verdicts(t, c); !strings.Contains(kong, row.want) || plugin == "" {
			t.Errorf("%s: Kong says %.200q, want %s; the plugin server says %.200q", row.key, kong, row.want, plugin)
		}
	}
}

// A host that the plugin server takes is no host that Kong refuses.
func FuzzHosts(f *testing.F) {
	for _, s := range []string{"a", "1.a", "a-b_c.d.", "[::1]", "fe80::1%eth0", "::ffff:10.0.0.1", "10.0.0.1"} {
		f.Add(s)
	}
	e := ours(f)
	f.Fuzz(func(t *testing.T, host string) {
		c := config.Config{BootstrapServers: []config.Server{{Host: host, Port: 1}}, Topic: "t", ForwardBody: true}
		if err := c.Validate(); err != nil && strings.Contains(err.Error(), "host") {
			return
		}
		if got := verdict(e, map[string]any{"name": "kafka-upstream", "config": map[string]any{
			"topic": "t", "bootstrap_servers": []any{map[string]any{"host": host, "port": 1.0}}}}); got != "" {
			t.Errorf("%q: %s", host, got)
		}
	})
}

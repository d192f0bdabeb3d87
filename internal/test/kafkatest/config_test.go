package kafkatest

import (
	"strings"
	"testing"
)

func TestPropertiesAreWrittenAsJavaReadsThem(t *testing.T) {
	for _, test := range []struct{ key, value, want string }{
		{"a.b", "c", "a.b=c\n"},
		{"a", "b c=d:e", "a=b\\ c\\=d\\:e\n"},
		{"a", "#!", "a=\\#\\!\n"},
		{"a", `C:\x`, "a=C\\:\\\\x\n"},
		{"a", "line\nline", "a=line\\u000aline\n"},
		{"a", "pä€😀", "a=p\\u00e4\\u20ac\\ud83d\\ude00\n"},
		{"a", "", "a=\n"},
	} {
		if got := string(formatProperties(map[string]string{test.key: test.value})); got != test.want {
			t.Errorf("%q = %q: got %q, want %q", test.key, test.value, got, test.want)
		}
	}
}

func TestPasswordsAreQuotedInJAAS(t *testing.T) {
	s := SASL{Plain: map[string]string{"b": `say "hi" \ there`, "a": "x"}}
	want := `org.apache.kafka.common.security.plain.PlainLoginModule required "user_a"="x" "user_b"="say \"hi\" \\ there";`
	if got := s.plainJAAS(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestListenersFollowTheConfig(t *testing.T) {
	for _, test := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "CONTROLLER PLAINTEXT"},
		{Config{TLS: &TLS{}}, "CONTROLLER PLAINTEXT SSL"},
		{Config{SASL: &SASL{}}, "CONTROLLER PLAINTEXT SASL_PLAINTEXT"},
		{Config{TLS: &TLS{}, SASL: &SASL{}}, "CONTROLLER PLAINTEXT SSL SASL_PLAINTEXT SASL_SSL"},
	} {
		var got []string
		for _, l := range test.cfg.listeners() {
			got = append(got, string(l))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("got %v, want %s", got, test.want)
		}
	}
}

func TestConfigsOwnPropertiesWin(t *testing.T) {
	addrs := []map[Listener]string{{controller: "127.0.0.1:1", Plaintext: "127.0.0.1:2"}}
	p := Config{Properties: map[string]string{"num.io.threads": "9"}}.properties(0, "/d", addrs)
	if p["num.io.threads"] != "9" {
		t.Errorf("num.io.threads = %s, want 9", p["num.io.threads"])
	}
	if p["controller.quorum.voters"] != "0@127.0.0.1:1" {
		t.Errorf("controller.quorum.voters = %s", p["controller.quorum.voters"])
	}
	if p["advertised.listeners"] != "PLAINTEXT://127.0.0.1:2" {
		t.Errorf("advertised.listeners = %s", p["advertised.listeners"])
	}
}

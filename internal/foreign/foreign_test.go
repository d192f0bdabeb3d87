package foreign

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTextIsOneLineOfPrintableCharacters(t *testing.T) {
	for s, want := range map[string]string{
		"":                                      "",
		`a "quoted" c:\path ä 💧`:                `a "quoted" c:\path ä 💧`,
		"one\ntwo\r\n2026/01/01 [error] forged": `one\ntwo\r\n2026/01/01 [error] forged`,
		"\x00user\x00tab\t\x1b[31mred\x7f":      `\x00user\x00tab\t\x1b[31mred\x7f`,
		"bytes \xff\xc3\x28 and \xc3":           `bytes \xff\xc3( and \xc3`,
		"left \u202e\u2066to right\u200b\u2028": `left \u202e\u2066to right\u200b\u2028`,
		"C1 \u0085\u009b":                       `C1 \u0085\u009b`,
	} {
		if got := Text(s); got != want {
			t.Errorf("Text(%q) is %s, want %s", s, got, want)
		}
	}
}

func TestLongTextLosesItsMiddle(t *testing.T) {
	got := Text("what failed: " + strings.Repeat("x", 1<<20) + ": why")
	if len(got) > MaxText || !strings.HasPrefix(got, "what failed: xxx") || !strings.HasSuffix(got, "xxx: why") || !strings.Contains(got, "[… 1048594 bytes in all …]") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

func FuzzCut(f *testing.F) {
	for _, s := range []string{"", "a\nb", strings.Repeat("\xff", 2000), strings.Repeat("ä", 400), strings.Repeat("\u202e", 300), strings.Repeat("a", MaxText+1)} {
		f.Add(s, 0)
		f.Add(s, 64)
		f.Add(s, 1000)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(64, min(limit, MaxLine))
		got := Cut(s, limit)
		switch {
		case len(got) > limit:
			t.Errorf("%q has %d bytes, and the limit is %d", got, len(got), limit)
		case !utf8.ValidString(got), !printable(got):
			t.Errorf("%q is not printable", got)
		case Cut(got, limit) != got:
			t.Errorf("%q is changed once more", got)
		}
	})
}

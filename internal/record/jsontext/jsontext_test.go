package jsontext

import "testing"

func TestNumbers(t *testing.T) {
	for s, want := range map[string]int{
		"0": 1, "-0": 2, "10,": 2, "01": 1, "1.5e+10]": 7, "1E2": 3, "-": -1, "+1": -1, "1.": -1, ".5": -1, "1e": -1, "1e+": -1, "x": -1, "-1.0 ": 4,
	} {
		if want < 0 {
			want = len(s) + 1
		}
		if got := SkipNumber([]byte(s), 0); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}

func TestEscapes(t *testing.T) {
	for _, row := range []struct {
		s string
		r rune
		n int
	}{
		{"00e9", 'é', 4}, {"00E9x", 'é', 4}, {`d83d\ude00`, '😀', 10}, {`d83d\u0041`, 0xd83d, 4}, {`d83d`, 0xd83d, 4}, {`de00\ud83d`, 0xde00, 4},
		{`d83d\ude0`, 0xd83d, 4}, {`d83d\ude0x`, 0xd83d, 4}, {"00e", 0, 0}, {"00g9", 0, 0}, {"", 0, 0},
	} {
		if r, n := Rune([]byte(row.s)); r != row.r || n != row.n {
			t.Errorf("%q: %x, %d, want %x, %d", row.s, r, n, row.r, row.n)
		}
	}
}

func TestWords(t *testing.T) {
	if got := SkipWord([]byte("[true]"), 1, "true"); got != 5 {
		t.Error(got)
	}
	if got := SkipWord([]byte("[tru"), 1, "true"); got != 5 {
		t.Error(got)
	}
}

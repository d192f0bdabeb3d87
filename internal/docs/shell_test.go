package docs

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// commands splits the text of a block of sh into commands, and these into words.
// It knows quotes, backslashes and comments, and refuses what else a shell would
// do something with.
func commands(text string) ([][]string, error) {
	var all [][]string
	var words []string
	var word strings.Builder
	inWord := false
	endWord := func() {
		if inWord {
			words = append(words, word.String())
		}
		word.Reset()
		inWord = false
	}
	endCommand := func() {
		endWord()
		if len(words) > 0 {
			all = append(all, words)
		}
		words = nil
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			if text[i] != '\n' {
				inWord = true
				word.WriteByte(text[i])
			}
		case c == '\'' || c == '"':
			n := strings.IndexByte(text[i+1:], c)
			if n < 0 {
				return nil, errors.New("a quote without an end")
			}
			quoted := text[i+1 : i+1+n]
			if c == '"' && strings.ContainsAny(quoted, "\\$`") {
				return nil, fmt.Errorf("%q is more than this knows of quotes", quoted)
			}
			inWord = true
			word.WriteString(quoted)
			i += n + 1
		case c == '#' && !inWord:
			n := strings.IndexByte(text[i:], '\n')
			if n < 0 {
				n = len(text) - i
			}
			i += n - 1
		case c == '\n':
			endCommand()
		case c == ' ' || c == '\t':
			endWord()
		case strings.IndexByte("|&;<>$`(){}*?", c) >= 0:
			return nil, fmt.Errorf("%q is not plain: %.60s", c, text[i:])
		default:
			inWord = true
			word.WriteByte(c)
		}
	}
	endCommand()
	return all, nil
}

func TestCommandsAreSplitAsAShellDoes(t *testing.T) {
	got, err := commands("make demo   # a comment\n\ncurl 'a b' \\\n  --x=\"c d\"e \\#f\n")
	if want := [][]string{{"make", "demo"}, {"curl", "a b", "--x=c de", "#f"}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"a | b", "a 'b", `a "$b"`, "a > b"} {
		if got, err := commands(bad); err == nil {
			t.Errorf("%s: %q", bad, got)
		}
	}
}

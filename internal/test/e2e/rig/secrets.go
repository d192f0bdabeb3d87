package rig

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"kafka-upstream/internal/test/testcert"
)

// printed is everything that processes printed, and that Kong's error log held,
// in all tests of a package. At the end Main looks for secrets there.
var printed outputs

type outputs struct {
	mu    sync.Mutex
	lines []*Lines
}

func (o *outputs) add(l *Lines) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, l)
}

func (o *outputs) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for _, l := range o.lines {
		all = append(all, l.String())
	}
	return all
}

// secrets are what no output may hold: the forms of each secret, by its name.
var secrets = struct {
	mu sync.Mutex
	m  map[string][]string
}{m: make(map[string][]string)}

// Secret keeps a password or an HMAC out of everything that is printed, in any
// way of writing it, and returns it.
func Secret(value string) string {
	if len(value) < 8 {
		panic("a secret this short is found anywhere")
	}
	quoted := strconv.Quote(value)
	ascii := strconv.QuoteToASCII(value)
	inJSON, _ := json.Marshal(value)
	forms := []string{
		value,
		quoted[1 : len(quoted)-1],
		ascii[1 : len(ascii)-1],
		string(inJSON[1 : len(inJSON)-1]),
		base64.StdEncoding.EncodeToString([]byte(value)),
		decimal([]byte(value)),
		fmt.Sprintf("%x", value),
	}
	if raw, err := base64.StdEncoding.DecodeString(value); err == nil { // an HMAC
		forms = append(forms, string(raw), decimal(raw), fmt.Sprintf("%x", raw))
	}
	secrets.mu.Lock()
	defer secrets.mu.Unlock()
	secrets.m[value] = slices.Compact(forms)
	return value
}

// decimal is what fmt makes of bytes.
func decimal(b []byte) string { return strings.Trim(fmt.Sprint(b), "[]") }

// SecretKey is Secret for the key of a certificate: none of its lines may show.
func SecretKey(p testcert.Pair) testcert.Pair {
	for line := range strings.Lines(string(p.Key)) {
		if line = strings.TrimSpace(line); len(line) >= 8 && !strings.HasPrefix(line, "-----") {
			Secret(line)
		}
	}
	return p
}

// token matches the beginning of a JWT: a header and the claims, which are signed behind.
var token = regexp.MustCompile(`eyJ[\w-]+\.eyJ[\w-]+`)

// Leaks says which secrets, private keys and access tokens are in which outputs.
func Leaks(outputs []string) (found []string) {
	secrets.mu.Lock()
	defer secrets.mu.Unlock()
	for _, output := range outputs {
		for line := range strings.Lines(output) {
			if strings.Contains(line, "PRIVATE KEY") {
				found = append(found, "a private key was printed: "+line)
			}
			if token.MatchString(line) {
				found = append(found, "a token was printed: "+line)
			}
			for value, forms := range secrets.m {
				for _, form := range forms {
					if strings.Contains(line, form) {
						found = append(found, fmt.Sprintf("the secret %q was printed: %s", value, line))
						break
					}
				}
			}
		}
	}
	return found
}

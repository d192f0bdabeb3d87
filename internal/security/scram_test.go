package security

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/xdg-go/scram"

	"kafka-upstream/internal/kafkaerr"
)

// vector is an exchange printed in an RFC.
type vector struct {
	algorithm                     scramAlgorithm
	clientNonce                   string
	first, challenge, final, last string
}

var vectors = map[string]vector{
	"RFC 5802": {
		scramAlgorithm{"SCRAM-SHA-1", sha1.New},
		"fyko+d2lbbFgONRv9qkxdawL",
		"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
		"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
		"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
		"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
	},
	"RFC 7677": {
		scramAlgorithms["SCRAM-SHA-256"],
		"rOprNGfwEbeRWgbNEkqO",
		"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
	},
}

// mechanisms returns both ways to speak SCRAM, with that nonce.
func (v vector) mechanisms(t testing.TB) map[string]sasl.Mechanism {
	plain, err := newScram(v.algorithm, "user", "pencil")
	if err != nil {
		t.Fatal(err)
	}
	plain.client.WithNonceGenerator(func() string { return v.clientNonce })
	token := newToken(v.algorithm, "user", "pencil")
	token.extension = ""
	token.newNonce = func() string { return v.clientNonce }
	return map[string]sasl.Mechanism{"password": plain, "token": token}
}

func TestSCRAMSaysWhatTheRFCsPrint(t *testing.T) {
	for name, v := range vectors {
		for kind, m := range v.mechanisms(t) {
			t.Run(name+" "+kind, func(t *testing.T) {
				for range 2 { // the second with remembered keys
					state, first, err := m.Start(t.Context())
					if err != nil || string(first) != v.first {
						t.Fatalf("first: %q, %v", first, err)
					}
					done, final, err := state.Next(t.Context(), []byte(v.challenge))
					if done || err != nil || string(final) != v.final {
						t.Fatalf("final: %v, %q, %v", done, final, err)
					}
					done, response, err := state.Next(t.Context(), []byte(v.last))
					if !done || len(response) != 0 || err != nil {
						t.Fatalf("end: %v, %q, %v", done, response, err)
					}
					if done, _, err := state.Next(t.Context(), []byte(v.last)); done || err == nil {
						t.Errorf("after the end: %v, %v", done, err)
					}
				}
			})
		}
	}
}

func TestBrokerThatDoesNotKnowThePasswordIsRefused(t *testing.T) {
	v := vectors["RFC 7677"]
	zero := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for last, want := range map[string]string{
		"v=" + zero:                         "the broker's signature is wrong",
		"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB4": "malformed",
		"v=6rri":                            "the broker's signature is wrong",
		"v=":                                "malformed",
		"":                                  "malformed",
		"e=":                                `refused us, saying ""`,
		"e=invalid-proof":                   `refused us, saying "invalid-proof"`,
		"e=invalid-proof,v=" + zero:         `refused us, saying "invalid-proof"`,
		v.last + "x":                        "malformed",
		"x," + v.last:                       "malformed",
		"e=\n" + strings.Repeat("x", 3000):  `refused us, saying "\nxxx`,
		"v=" + strings.Repeat("A", 5000):    "malformed",
	} {
		for kind, m := range v.mechanisms(t) {
			state, _, _ := m.Start(t.Context())
			if _, _, err := state.Next(t.Context(), []byte(v.challenge)); err != nil {
				t.Fatal(err)
			}
			ctx := sasl.WithMetadata(t.Context(), &sasl.Metadata{Host: "::1", Port: 9092})
			done, _, err := state.Next(ctx, []byte(last))
			wantError(t, err, want, "SASL SCRAM-SHA-256 with broker [::1]:9092: ")
			if done || len(err.Error()) > 300 || strings.Contains(err.Error(), "pencil") || !kafkaerr.IsAuthentication(err) {
				t.Errorf("%s %q: %v, %v", kind, last, done, err)
			}
			if done, _, err := state.Next(ctx, []byte(v.last)); done || err == nil {
				t.Errorf("%s %q: the exchange went on: %v", kind, last, err)
			}
		}
	}
}

func TestChallengeThatCannotBeTrustedIsRefused(t *testing.T) {
	v := vectors["RFC 7677"]
	const r, s = "r=rOprNGfwEbeRWgbNEkqOabc", "s=W22ZaJ0SNY7soEsUEjb6gQ=="
	for challenge, want := range map[string]string{
		"":                               "lacks a nonce",
		r + "," + s:                      "lacks a nonce",
		"m=x," + r + "," + s + ",i=4096": "an extension that we do not know",
		"r=," + s + ",i=4096":            "no nonce",
		"R=abc," + s + ",i=4096":         "no nonce",
		"r=other," + s + ",i=4096":       "does not continue ours",
		"r=rOprNGfwEbeRWgbNEkqO," + s + ",i=4096":  "does not continue ours",
		"r=rOprNGfwEbeRWgbNEkqO\x01," + s + ",i=1": "no nonce",
		"r=rOprNGfwEbeRWgbNEkqO\xff," + s + ",i=1": "no nonce",
		r + ",s=,i=4096":                                     "no salt",
		r + ",x=W22Z,i=4096":                                 "no salt",
		r + ",s=W22Z\n,i=4096":                               "no salt",
		r + ",s=W22,i=4096":                                  "not base64",
		r + "," + s + ",i=":                                  "no number of iterations",
		r + "," + s + ",i=+4096":                             "no number of iterations",
		r + "," + s + ",i=4096 ":                             "no number of iterations",
		r + "," + s + ",x=4096":                              "no number of iterations",
		r + "," + s + ",i=4095":                              "asks for 4095 SCRAM iterations, too few",
		r + "," + s + ",i=0":                                 "too few",
		r + "," + s + ",i=131073":                            "more than 131072 SCRAM iterations",
		r + "," + s + ",i=999999999999999999999999":          "more than 131072 SCRAM iterations",
		r + "," + s + ",i=4096," + strings.Repeat("x", 4096): "longer than 4096 bytes",
	} {
		for kind, m := range v.mechanisms(t) {
			state, _, _ := m.Start(t.Context())
			done, response, err := state.Next(t.Context(), []byte(challenge))
			wantError(t, err, want, "SASL SCRAM-SHA-256: ")
			if done || response != nil || strings.Contains(err.Error(), "pencil") || !kafkaerr.IsAuthentication(err) {
				t.Errorf("%s %q: %v, %q, %v", kind, challenge, done, response, err)
			}
		}
	}
}

func TestExtensionsOfTheBrokerAreIgnored(t *testing.T) {
	v := vectors["RFC 7677"]
	for kind, m := range v.mechanisms(t) {
		state, _, _ := m.Start(t.Context())
		if _, _, err := state.Next(t.Context(), []byte(v.challenge+",x=y")); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// broker is the other side of SCRAM, by xdg-go, which reads extensions over and
// signs them.
func broker(t testing.TB, algorithm scramAlgorithm, user, password string, iterations int) *scram.Server {
	t.Helper()
	generator := scram.HashGeneratorFcn(algorithm.hash)
	client, err := generator.NewClientUnprepped(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "a salt of 16 by.", Iters: iterations})
	if err != nil {
		t.Fatal(err)
	}
	server, err := generator.NewServer(func(name string) (scram.StoredCredentials, error) {
		if name != user {
			return scram.StoredCredentials{}, fmt.Errorf("no user %q", name)
		}
		return stored, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// converse runs a whole exchange and returns our error, and whether the broker
// accepted us.
func converse(t testing.TB, m sasl.Mechanism, server *scram.Server) (accepted bool, err error) {
	t.Helper()
	conversation := server.NewConversation()
	state, message, err := m.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for done := false; !done; {
		// A refusal comes with an "e=" message, which we must read as one.
		answer, serverErr := conversation.Step(string(message))
		if answer == "" {
			t.Fatalf("the broker cannot read %q: %v", message, serverErr)
		}
		if done, message, err = state.Next(t.Context(), []byte(answer)); err != nil {
			return conversation.Valid(), err
		}
	}
	return conversation.Valid(), nil
}

// kafkaClientFirst is the pattern of Kafka's broker for the client's first
// message (ClientFirstMessage in its ScramMessages).
var kafkaClientFirst = regexp.MustCompile(`^n,(?:a=(?:[\x01-\x2b\x2d-\x3c\x3e-\x7f]|=2C|=3D)+)?,(?:m=[\x01-\x2b\x2d-\x7f]+,)?` +
	`n=((?:[\x01-\x2b\x2d-\x3c\x3e-\x7f]|=2C|=3D)+),r=([\x21-\x2b\x2d-\x7e]+)((?:,[A-Za-z]+=[\x01-\x2b\x2d-\x7f]+)*)$`)

func TestSCRAMAuthenticatesBothSides(t *testing.T) {
	for _, name := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		for _, token := range []bool{false, true} {
			for _, test := range []struct{ user, password string }{
				{"orders", "secret"},
				{"us,er=1", "p=a,ss=2C"},
				{"=,=2C=3D,", "=,"},
				{"user", " blanks and \ttab "},
				{"Ünïcödé-用户", "pä\u00a0\u2168\ufb01 💧"}, // SASLprep would change or refuse it
				{"tRUYbw2PQPSMm2MwPYZ3rg", "6wsxGMZKEOHFY3A/TRP+MVBJ2qR4oBv7Qbg0aGDi0Y0gZBbHj2BcXv2q8t2ewmm9eZDRtXgQZwdUxcLcqv5EVA=="},
			} {
				t.Run(fmt.Sprintf("%s token=%v %s", name, token, test.user), func(t *testing.T) {
					c := Credentials{Mechanism: name, User: test.user, Password: test.password, TokenAuth: token}
					m := mechanism(t, c)
					server := broker(t, scramAlgorithms[name], test.user, test.password, 4096)
					for range 2 {
						if accepted, err := converse(t, m, server); !accepted || err != nil {
							t.Fatalf("accepted %v, %v", accepted, err)
						}
					}
					_, first, _ := m.Start(t.Context())
					match := kafkaClientFirst.FindSubmatch(first)
					ascii := strings.IndexFunc(test.user, func(r rune) bool { return r > 127 }) < 0
					if (match != nil) != ascii {
						t.Fatalf("Kafka's pattern on %q: %q", first, match)
					}
					if match == nil {
						return
					}
					if got := strings.NewReplacer("=2C", ",", "=3D", "=").Replace(string(match[1])); got != test.user {
						t.Errorf("Kafka would read user %q", got)
					}
					extension := ""
					if token {
						extension = ",tokenauth=true"
					}
					if string(match[3]) != extension {
						t.Errorf("extensions %q, want %q", match[3], extension)
					}
				})
			}
		}
	}
}

func TestWrongPasswordOrHMACIsRefusedByTheBroker(t *testing.T) {
	for _, name := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		for _, token := range []bool{false, true} {
			m := mechanism(t, Credentials{Mechanism: name, User: "us,er=1", Password: "wrong-s3cr3t", TokenAuth: token})
			accepted, err := converse(t, m, broker(t, scramAlgorithms[name], "us,er=1", "right", 4096))
			wantError(t, err, `the broker refused us, saying "invalid-proof"`)
			if accepted || strings.Contains(err.Error(), "wrong-s3cr3t") {
				t.Errorf("%s token=%v: accepted %v, %v", name, token, accepted, err)
			}
		}
	}
}

func TestEachExchangeHasItsOwnNonce(t *testing.T) {
	for _, token := range []bool{false, true} {
		m := mechanism(t, Credentials{Mechanism: "SCRAM-SHA-256", User: "a", Password: "b", TokenAuth: token})
		seen := map[string]bool{}
		for range 100 {
			_, first, _ := m.Start(t.Context())
			nonce := kafkaClientFirst.FindSubmatch(first)[2]
			if len(nonce) < 22 || seen[string(nonce)] {
				t.Fatalf("nonce %q is short or not new", nonce)
			}
			seen[string(nonce)] = true
		}
	}
}

func TestKeysAreDerivedOncePerSaltAndAreBounded(t *testing.T) {
	algorithm := scramAlgorithms["SCRAM-SHA-256"]
	plain, err := newScram(algorithm, "user", "pencil")
	if err != nil {
		t.Fatal(err)
	}
	token := newToken(algorithm, "user", "pencil")
	server := broker(t, algorithm, "user", "pencil", 4096)
	var wg sync.WaitGroup
	for range 16 {
		for _, m := range []sasl.Mechanism{plain, token} {
			wg.Go(func() {
				if accepted, err := converse(t, m, server); !accepted || err != nil {
					t.Errorf("accepted %v, %v", accepted, err)
				}
			})
		}
	}
	wg.Wait()
	if len(plain.seen) != 1 || len(token.keys) != 1 {
		t.Errorf("%d and %d keys for one salt", len(plain.seen), len(token.keys))
	}
	first := plain.client
	for i := range 3 * maxKeyFactors {
		server := broker(t, algorithm, "user", "pencil", 4096+i)
		for _, m := range []sasl.Mechanism{plain, token} {
			if accepted, err := converse(t, m, server); !accepted || err != nil {
				t.Fatalf("accepted %v, %v", accepted, err)
			}
			if len(plain.seen) > maxKeyFactors || len(token.keys) > maxKeyFactors {
				t.Fatalf("%d and %d keys are kept", len(plain.seen), len(token.keys))
			}
		}
	}
	if plain.client == first {
		t.Error("xdg-go's client was never replaced, so its cache grows")
	}
}

func FuzzServerFirst(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.challenge, v.clientNonce)
	}
	f.Add("m=ext,r=ab,s=AAAA,i=4096", "a")
	f.Add("r=ab,s=AA==,i=131072,x=y,", "a")
	f.Add("r=ab,s=AA\n==,i=+4096", "a")
	f.Add(",,,", "")
	f.Fuzz(func(t *testing.T, message, nonce string) {
		parsed, err := parseServerFirst(message, nonce)
		if err != nil {
			wantError(t, err, "the broker")
			return
		}
		if !strings.HasPrefix(parsed.nonce, nonce) || len(parsed.nonce) <= len(nonce) || strings.Contains(parsed.nonce, ",") ||
			parsed.iterations < minIterations || parsed.iterations > maxIterations || len(parsed.salt) > maxScramMessage {
			t.Fatalf("%q accepted as %+v", message, parsed)
		}
		if !strings.HasPrefix(message, "r="+parsed.nonce+",s=") || parsed.iterations > minIterations {
			return // deriving keys takes too long to do often
		}
		// What we accept, xdg-go accepts, so that its errors never show.
		client, _ := scram.SHA256.NewClientUnprepped("user", "pencil", "")
		client.WithNonceGenerator(func() string { return nonce })
		conversation := client.NewConversation()
		conversation.Step("")
		if _, err := conversation.Step(message); err != nil {
			t.Fatalf("xdg-go refuses %q: %v", message, err)
		}
	})
}

func FuzzServerFinal(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.last)
		f.Add(v.last + ",x=y")
	}
	f.Add("e=other-error")
	f.Add("v=\n")
	f.Add("e=")
	f.Add("v=AAAA,e=x")
	v := vectors["RFC 7677"]
	mechanisms := v.mechanisms(f) // they remember the keys
	f.Fuzz(func(t *testing.T, message string) {
		signature, err := parseServerFinal(message)
		if (err == nil) != (signature != nil) {
			t.Fatalf("%q: %q, %v", message, signature, err)
		}
		field, _, _ := strings.Cut(message, ",")
		for kind, m := range mechanisms {
			state, _, _ := m.Start(t.Context())
			if _, _, err := state.Next(t.Context(), []byte(v.challenge)); err != nil {
				t.Fatal(err)
			}
			done, _, err := state.Next(t.Context(), []byte(message))
			if want := field == v.last && len(message) <= maxScramMessage; done != want || (err == nil) != want {
				t.Fatalf("%s: %q: %v, %v", kind, message, done, err)
			}
		}
	})
}

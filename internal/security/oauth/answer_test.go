package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"kafka-upstream/internal/foreign"
)

func TestLifetimeOfAToken(t *testing.T) {
	for expiresIn, want := range map[string]time.Duration{
		"300": 300 * time.Second, `"300"`: 300 * time.Second, "300.5": 300500 * time.Millisecond, "3e2": 300 * time.Second,
		"": defaultLifetime, "null": defaultLifetime, "0": defaultLifetime, "-1": defaultLifetime, `""`: defaultLifetime,
		`"soon"`: defaultLifetime, `"NaN"`: defaultLifetime, "[300]": defaultLifetime, `{"a":1}`: defaultLifetime, "true": defaultLifetime, "-1e999": defaultLifetime,
		"1": minLifetime, "0.001": minLifetime, "1e-999": defaultLifetime,
		"86401": maxLifetime, "9223372036854775807": maxLifetime, "1e999": maxLifetime, `"Inf"`: maxLifetime,
	} {
		body := `{"access_token":"a","expires_in":` + expiresIn + `}`
		if expiresIn == "" {
			body = `{"access_token":"a"}`
		}
		if a, err := parseAnswer(200, []byte(body)); err != nil || a.lifetime != want {
			t.Errorf("%s: got %s, %v, want %s", body, a.lifetime, err, want)
		}
	}
}

func TestTokensThatAreTaken(t *testing.T) {
	for _, body := range []string{
		`{"access_token":"eyJhbGciOi.JIUzI1NiJ9._-~+/==","token_type":"Bearer","refresh_token":7,"scope":["a"],"unknown":{}}`,
		`{"access_token":"a","token_type":"bearer"}`, `{"access_token":"a","token_type":"BEARER"}`, `{"access_token":"a","token_type":""}`,
		`{"access_token":"a","error":""}`, `{"access_token":"opaque:token|1"}`,
	} {
		if a, err := parseAnswer(200, []byte(body)); err != nil || a.token == "" {
			t.Errorf("%s: %v", body, err)
		}
	}
	if _, err := parseAnswer(201, []byte(`{"access_token":"a"}`)); err != nil {
		t.Error(err)
	}
}

// FuzzTokenAnswer has a token endpoint send anything.
func FuzzTokenAnswer(f *testing.F) {
	for _, body := range []string{
		"", "{}", "null", `"a"`, "[]", `{"access_token":"a","token_type":"Bearer","expires_in":300}`, `{"access_token":"a b"}`, `{"access_token":"ä"}`,
		`{"access_token":1}`, `{"error":"invalid_client","error_description":"a\nb\u001b[31m"}`, `{"error":{"code":1}}`, `{"expires_in":1e999}`,
		`{"access_token":"a","expires_in":"0x1p-2"}`, `{"access_token":"a","access_token":"b"}`, `{"ACCESS_TOKEN":"a"}`, strings.Repeat(`{"a":`, 11000),
		"access_token=a&token_type=bearer", "<html>", `{"access_token":"` + clientSecret + `","error":"` + clientSecret + `"}`,
	} {
		f.Add(200, []byte(body))
		f.Add(400, []byte(body))
	}
	redactor := foreign.NewRedactor(Options{ClientID: clientID, ClientSecret: clientSecret}.Secrets()...)
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if len(body) > maxAnswer {
			return
		}
		a, err := parseAnswer(status, body)
		if err == nil {
			if status < 200 || status > 299 || !isToken(a.token) || len(a.token) > len(body) || a.lifetime < minLifetime || a.lifetime > maxLifetime || !json.Valid(body) {
				t.Errorf("status %d, %q: got %q for %s", status, body, a.token, a.lifetime)
			}
			return
		}
		if a != (answer{}) {
			t.Errorf("%q: got both %v and %v", body, a, err)
		}
		text := (&TokenError{"https://idp/token", errors.New(redactor.Text(err.Error()))}).Error()
		if len(text) > foreign.MaxText+400 || foreign.Cut(text, foreign.MaxLine) != text || strings.Contains(text, clientSecret) {
			t.Errorf("%q: the error is %q", body, text)
		}
	})
}

func TestAnswerIsNeverQuoted(t *testing.T) {
	const secret = "eyJ0b2tlbg.of.s0mebody"
	for _, body := range []string{
		`{"access_token":"` + secret + `\n"}`, `{"access_token":"` + secret + `","token_type":"mac"}`, `{"access_token":["` + secret + `"]}`,
		`{"access_token":"` + secret + `"`, secret, "access_token=" + secret, `{"access_token":"` + secret + `","error":"e"}`, `{"token_type":"` + secret + `"}`,
	} {
		for _, status := range []int{200, 400, 500} {
			if _, err := parseAnswer(status, []byte(body)); err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
				t.Errorf("status %d, %s: %v", status, body, err)
			}
		}
	}
}

package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// maxAnswer is how long the body of an answer may be, in bytes. Tokens with many roles
	// have some thousand.
	maxAnswer = 64 << 10
	// defaultLifetime is that of a token whose answer does not say how long it lives.
	defaultLifetime = 5 * time.Minute
	// minLifetime and maxLifetime bound what an answer says, so that a false one makes us
	// ask neither all the time nor never again.
	minLifetime = time.Second
	maxLifetime = 24 * time.Hour
)

// answer is what a token endpoint gave.
type answer struct {
	token    string
	lifetime time.Duration // from when it was asked for
}

// refusal is an answer without a token. Its texts are the token endpoint's, as they are.
type refusal struct {
	status            int
	code, description string // error and error_description; "" for none
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("the answer has status %d", r.status)
	switch {
	case r.status >= 300 && r.status <= 399:
		return text + ", a redirect, which is not followed because the credentials would go with it: set the URL that it leads to"
	case r.code != "" && r.description != "":
		text += fmt.Sprintf(` and error "%s" (%s)`, r.code, r.description)
	case r.code != "":
		text += fmt.Sprintf(` and error "%s"`, r.code)
	}
	if r.isClient() {
		text += ": check the client's ID, its secret and how it authenticates"
	}
	return text
}

// isClient reports whether it is the client's authentication that was refused, so that
// another method may be accepted: RFC 6749, section 5.2. An endpoint that does not know Basic
// misses the field client_id, and calls that an invalid request.
func (r *refusal) isClient() bool {
	return r.status == 401 || r.status == 400 && (r.code == "invalid_client" || r.code == "invalid_request")
}

// parseAnswer reads the answer of a token endpoint: RFC 6749, sections 5.1 and 5.2. The error
// quotes nothing of it, but for a [refusal]'s texts.
func parseAnswer(status int, body []byte) (answer, error) {
	var fields struct {
		Error            string          `json:"error"`
		ErrorDescription string          `json:"error_description"`
		AccessToken      string          `json:"access_token"`
		TokenType        string          `json:"token_type"`
		ExpiresIn        json.RawMessage `json:"expires_in"`
	}
	err := json.Unmarshal(body, &fields) // also fills in what follows a field of a wrong type
	switch {
	case status < 200 || status > 299 || fields.Error != "": // some send errors with 200
		return answer{}, &refusal{status, fields.Error, fields.ErrorDescription}
	case err != nil:
		return answer{}, errors.New("the answer is not what RFC 6749 describes: a JSON object with texts for access_token and token_type")
	case fields.AccessToken == "":
		return answer{}, errors.New("the answer has no access_token")
	case !isToken(fields.AccessToken):
		return answer{}, errors.New("the access_token has characters that no token can have")
	case fields.TokenType != "" && !strings.EqualFold(fields.TokenType, "Bearer"):
		return answer{}, errors.New("the token_type is not Bearer")
	}
	return answer{fields.AccessToken, lifetime(fields.ExpiresIn)}, nil
}

// isToken reports whether s consists of visible ASCII characters, so that it can be sent in
// SASL and in a header. RFC 6750's b64token is narrower; who takes the token judges that.
func isToken(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return s != ""
}

// lifetime reads expires_in: seconds, as a number or, from some, as a text. A lifetime of 0 or
// less, with which some mean that there is none, counts as not said.
func lifetime(expiresIn json.RawMessage) time.Duration {
	seconds, err := strconv.ParseFloat(strings.Trim(string(expiresIn), `"`), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || !(seconds > 0) {
		return defaultLifetime
	}
	seconds = min(seconds, maxLifetime.Seconds()) // before it could overflow
	return max(time.Duration(seconds*float64(time.Second)), minLifetime)
}

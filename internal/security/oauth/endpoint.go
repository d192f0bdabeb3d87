package oauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"kafka-upstream/internal/foreign"
)

// defaultTimeout is that of a request.
const defaultTimeout = 10 * time.Second

// endpoint asks a token endpoint. Its methods are called from one goroutine at a time.
type endpoint struct {
	o       Options
	methods []string // to be tried in this order
	client  *http.Client
}

func newEndpoint(o Options, env Env) (*endpoint, error) {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	transport, err := newTransport(o, env.CAFile)
	if err != nil {
		return nil, err
	}
	e := &endpoint{o: o, methods: []string{o.AuthMethod}, client: &http.Client{
		Transport: transport,
		// A redirect would carry the credentials to wherever it points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if o.AuthMethod == "" {
		e.methods = []string{methodBasic, methodPost}
	}
	return e, nil
}

// fetchError is why a request gave no token: one line without secrets.
type fetchError struct {
	text    string
	refused bool // by a status of 400 to 499: the same request will hardly be accepted soon
}

func (e *fetchError) Error() string { return e.text }

// fetch gets a token. sent is when it was asked for. The error is a *[fetchError].
func (e *endpoint) fetch(ctx context.Context) (a answer, sent time.Time, err error) {
	for i, method := range e.methods {
		var refused bool
		sent = time.Now()
		a, refused, err = e.ask(ctx, method)
		if !refused {
			if err == nil && i > 0 {
				slices.Reverse(e.methods)
			}
			break
		}
	}
	return a, sent, err
}

// ask makes one request, with the client authenticated by that method. refused says that
// another method may be accepted.
func (e *endpoint) ask(ctx context.Context, method string) (a answer, refused bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.o.Timeout)
	defer cancel()
	form := e.form(method)
	a, err = e.send(ctx, method, form)
	if err != nil {
		refusal, ok := errors.AsType[*refusal](err)
		refused = ok && refusal.isClient()
		// A peer may echo what it was sent, an assertion included.
		secrets := append(e.o.Secrets(), form.Get("client_assertion"))
		err = &fetchError{foreign.NewRedactor(secrets...).Text(err.Error()), ok && refusal.status/100 == 4}
	}
	return a, refused, err
}

func (e *endpoint) send(ctx context.Context, method string, form url.Values) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.o.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, errors.New("its URL is not valid")
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "kafka-upstream")
	// Not sent: it lets the Transport repeat the request over a new connection when the peer
	// has closed an idle one.
	request.Header["Idempotency-Key"] = nil
	for name, value := range e.o.Headers {
		request.Header.Set(name, value)
	}
	if method == methodBasic { // each part form-encoded: RFC 6749, section 2.3.1
		request.SetBasicAuth(url.QueryEscape(e.o.ClientID), url.QueryEscape(e.o.ClientSecret))
	}
	response, err := e.client.Do(request)
	if err != nil {
		return answer{}, e.failure(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return answer{}, e.failure(err)
	}
	if len(body) > maxAnswer {
		return answer{}, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	return parseAnswer(response.StatusCode, body)
}

// failure is the error of a request without a whole answer.
func (e *endpoint) failure(err error) error {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return fmt.Errorf("there was no answer within %s", e.o.Timeout)
	}
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err // its text repeats the URL
	}
	return fmt.Errorf("it cannot be reached: %w", err)
}

// form is the body of a request.
func (e *endpoint) form(method string) url.Values {
	form := url.Values{}
	for name, value := range e.o.Form { // first, so that it replaces nothing
		form.Set(name, value)
	}
	form.Set("grant_type", cmp.Or(e.o.GrantType, grantClient))
	if e.o.GrantType == grantPassword {
		form.Set("username", e.o.Username)
		form.Set("password", e.o.Password)
	}
	if len(e.o.Scopes) > 0 {
		form.Set("scope", strings.Join(e.o.Scopes, " "))
	}
	for _, audience := range e.o.Audience {
		form.Add("audience", audience)
	}
	if method != methodBasic && e.o.ClientID != "" {
		form.Set("client_id", e.o.ClientID)
	}
	switch method {
	case methodPost:
		if e.o.ClientSecret != "" {
			form.Set("client_secret", e.o.ClientSecret)
		}
	case methodJWT:
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", e.o.assertion(time.Now()))
	}
	return form
}

func (e *endpoint) close() { e.client.CloseIdleConnections() }

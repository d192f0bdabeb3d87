package oauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	transport, err := newTransport(o, env.CAFile)
	if err != nil {
		return nil, err
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
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

// fetch gets a token. sent is when it was asked for. The error shows no secret.
func (e *endpoint) fetch(ctx context.Context) (a answer, sent time.Time, err error) {
	for i, method := range e.methods {
		sent = time.Now()
		a, err = e.ask(ctx, method)
		if refusal, ok := errors.AsType[*refusal](err); ok && refusal.isClient() {
			continue
		}
		if err == nil && i > 0 {
			slices.Reverse(e.methods)
		}
		break
	}
	if err != nil {
		err = errors.New(foreign.NewRedactor(e.o.Secrets()...).Text(err.Error()))
	}
	return a, sent, err
}

// ask makes one request.
func (e *endpoint) ask(ctx context.Context, method string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, e.o.Timeout)
	defer cancel()
	request, err := e.request(ctx, method)
	if err != nil {
		return answer{}, err
	}
	response, err := e.client.Do(request)
	if err != nil {
		return answer{}, e.failure(ctx, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return answer{}, e.failure(ctx, err)
	}
	if len(body) > maxAnswer {
		return answer{}, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	return parseAnswer(response.StatusCode, body)
}

// failure is the error of a request without a whole answer.
func (e *endpoint) failure(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("there was no answer within %s", e.o.Timeout)
	}
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err // its text repeats the URL
	}
	return fmt.Errorf("it cannot be reached: %w", err)
}

// request makes the request of a token, with the client authenticated by that method.
func (e *endpoint) request(ctx context.Context, method string) (*http.Request, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if e.o.GrantType == grantPassword {
		form = url.Values{"grant_type": {grantPassword}, "username": {e.o.Username}, "password": {e.o.Password}}
	}
	if len(e.o.Scopes) > 0 {
		form.Set("scope", strings.Join(e.o.Scopes, " "))
	}
	for _, audience := range e.o.Audience {
		form.Add("audience", audience)
	}
	for name, value := range e.o.Form {
		form.Set(name, value)
	}
	switch method {
	case methodPost:
		form.Set("client_id", e.o.ClientID)
		if e.o.ClientSecret != "" {
			form.Set("client_secret", e.o.ClientSecret)
		}
	case methodJWT:
		form.Set("client_id", e.o.ClientID)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", e.o.assertion(time.Now()))
	case methodNone:
		if e.o.ClientID != "" {
			form.Set("client_id", e.o.ClientID)
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.o.TokenURL, bytes.NewReader([]byte(form.Encode())))
	if err != nil {
		return nil, errors.New("its URL is not valid")
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
	return request, nil
}

func (e *endpoint) close() { e.client.CloseIdleConnections() }

package awsiam

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"kafka-upstream/internal/foreign"
)

// maxSize is far above what AWS answers, and what is in a token's file, in bytes.
const maxSize = 64 << 10

// newClient returns a client that asks only the server it is told to: redirects and proxies
// would carry tokens elsewhere, and the endpoints of containers and instances are of this
// machine. Without keep-alive: there is a request in an hour, and an idle connection has
// goroutines.
func newClient(config *tls.Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:        config,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxSize,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// do sends a request and returns its answer. The error continues a sentence whose subject is
// the server.
func do(client *http.Client, r *http.Request) (status int, body []byte, err error) {
	// A Transport goes on connecting for a request that was given up, without a limit: this ends it.
	defer client.CloseIdleConnections()
	response, err := client.Do(r)
	if err != nil {
		return 0, nil, unreachable(r.Context(), err)
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxSize+1))
	switch {
	case err != nil:
		return 0, nil, unreachable(r.Context(), err)
	case len(body) > maxSize:
		return 0, nil, fmt.Errorf("sent more than %d bytes", maxSize)
	}
	return response.StatusCode, body, nil
}

var errNoAnswer = errors.New("did not answer in time")

func unreachable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errNoAnswer
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // its text repeats the URL
	}
	return fmt.Errorf("cannot be reached: %w", err)
}

// refused returns the error of an answer with a status other than 200, which continues a
// sentence whose subject is the server. It quotes the beginning of reason, without the secrets.
func refused(status int, reason string, secrets ...string) error {
	reason = foreign.Cut(foreign.NewRedactor(secrets...).Redact(strings.TrimSpace(reason)), 256)
	if reason == "" {
		return fmt.Errorf("answered with status %d", status)
	}
	return fmt.Errorf("answered with status %d: %s", status, reason)
}

// readToken reads a token from a regular file of bounded size. It does not wait for the writer
// of a pipe. The error names the file.
func readToken(name string) (string, error) {
	unreadable := func(err error) (string, error) {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err // its text repeats the path
		}
		return "", fmt.Errorf("the token file %s cannot be read: %w", name, err)
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return unreadable(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return unreadable(errors.New("it is not a regular file"))
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	token := strings.TrimSpace(string(b))
	switch {
	case err != nil:
		return unreadable(err)
	case len(b) > maxSize:
		return unreadable(fmt.Errorf("it is larger than %d bytes", maxSize))
	case token == "" || !isKey(token):
		return unreadable(errors.New("it does not hold a token"))
	}
	return token, nil
}

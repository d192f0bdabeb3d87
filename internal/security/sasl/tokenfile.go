package sasl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// tokenFile is the path of a file with an access token, such as the token that Kubernetes
// projects for a service account, and replaces before it expires.
type tokenFile string

var _ tokenSource = tokenFile("")

// maxTokenFile is the most bytes that a file with a token may have.
const maxTokenFile = 64 << 10

// Token implements tokenSource. It reads the file, so that it follows each change.
func (f tokenFile) Token(context.Context) (string, error) {
	token, err := f.read()
	if err != nil {
		return "", fmt.Errorf("could not get token from file %.300q (authentication.oauthbearer.token_file): %w", string(f), err)
	}
	return token, nil
}

func (f tokenFile) read() (string, error) {
	// O_NONBLOCK, or the open of a pipe would wait for a writer.
	file, err := os.OpenFile(string(f), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		switch err = e.Err; {
		case errors.Is(err, fs.ErrNotExist):
			err = fmt.Errorf("%w: mount it where the plugin server runs", err)
		case errors.Is(err, fs.ErrPermission):
			err = fmt.Errorf("%w: let the user that runs the plugin server read it", err)
		}
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", errors.New("it is not a regular file: name a file that holds the token alone")
	}
	b, err := io.ReadAll(io.LimitReader(file, maxTokenFile+1))
	switch b = bytes.TrimRight(b, "\r\n"); {
	case err != nil:
		return "", errors.New("it cannot be read")
	case len(b) > maxTokenFile:
		return "", fmt.Errorf("it has more than %d bytes: it must hold the token alone", maxTokenFile)
	case len(b) == 0:
		return "", errors.New("it is empty: it must hold the token")
	case !bearerToken.Match(b):
		return "", errors.New("it does not hold a bearer token alone: it has other characters than these tokens have")
	}
	return string(b), nil
}

// Drop implements tokenSource. The next login reads the file anyway.
func (tokenFile) Drop(string) {}

// Close implements tokenSource.
func (tokenFile) Close() {}

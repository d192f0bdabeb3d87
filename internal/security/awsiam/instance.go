package awsiam

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// instance gets the credentials of an instance's role from the metadata service of EC2, by
// version 2 only: version 1 answers whoever can make a process of the machine send a GET.
type instance struct {
	url    string
	client *http.Client
}

// tokenTimeout is how long the metadata service may take for its token. On EC2 that is
// milliseconds; elsewhere, and across more hops than the instance allows, nothing answers.
const tokenTimeout = 2 * time.Second

func newInstance() *instance { return &instance{"http://169.254.169.254", newClient(nil)} }

// fetch implements source.
func (i *instance) fetch(ctx context.Context) (credentials, error) {
	c, err := i.get(ctx)
	if err != nil {
		err = fmt.Errorf("authentication.aws and the environment have no keys, no web identity and no container endpoint, and the metadata service of EC2 at %s %w", strings.TrimPrefix(i.url, "http://"), err)
	}
	return c, err
}

func (i *instance) get(ctx context.Context) (credentials, error) {
	const path = "/latest/meta-data/iam/security-credentials/"
	token, err := i.token(ctx)
	if err != nil {
		return credentials{}, err
	}
	status, body, err := i.send(ctx, http.MethodGet, path, token)
	switch role := strings.TrimSpace(string(body)); {
	case err != nil:
		return credentials{}, err
	case status == http.StatusNotFound:
		return credentials{}, errors.New("has no role: give the instance a profile with one")
	case status != http.StatusOK:
		return credentials{}, refused(status, "")
	case !sessionForm.MatchString(role): // a role's name has the same form
		return credentials{}, errors.New("cannot be used: its answer is not the name of a role")
	default:
		status, body, err = i.send(ctx, http.MethodGet, path+role, token)
	}
	if err != nil {
		return credentials{}, err
	}
	if status != http.StatusOK {
		return credentials{}, refused(status, "")
	}
	c, err := parseAnswer(body)
	if err != nil {
		return c, fmt.Errorf("cannot be used: %w", err)
	}
	return c, nil
}

// token begins a session.
func (i *instance) token(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	status, body, err := i.send(ctx, http.MethodPut, "/latest/api/token", "")
	switch token := string(body); {
	case errors.Is(err, errNoAnswer):
		return "", fmt.Errorf("%w: on EC2, in a container, raise the instance's hop limit to 2 (http-put-response-hop-limit)", err)
	case err != nil:
		return "", err
	case status == http.StatusForbidden:
		return "", errors.New("is disabled: enable it, with version 2 (IMDSv2)")
	case status != http.StatusOK:
		return "", fmt.Errorf("does not have version 2 (IMDSv2), which is required: it answered with status %d", status)
	case token == "" || !isKey(token):
		return "", errors.New("cannot be used: its answer is not a token")
	default:
		return token, nil
	}
}

// send sends a request, with the session's token if there is one.
func (i *instance) send(ctx context.Context, method, path, token string) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, i.url+path, nil)
	if err != nil {
		return 0, nil, err
	}
	if token == "" {
		r.Header.Set("X-aws-ec2-metadata-token-ttl-seconds", "60")
	} else {
		r.Header.Set("X-aws-ec2-metadata-token", token)
	}
	return do(i.client, r)
}

package awsiam

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// container gets the credentials of a task's role from ECS, or those of a pod's from the agent
// of EKS Pod Identity.
type container struct {
	url       *url.URL
	tokenFile string // "" for none
	client    *http.Client
}

func newContainer(o Options) *container {
	return &container{containerURL(o.ContainerURI), o.ContainerTokenFile, newClient(nil)}
}

// containerHosts are the hosts that a token is sent to: ECS, EKS Pod Identity (IPv4 and IPv6).
// This machine is one, too.
var containerHosts = map[string]bool{"169.254.170.2": true, "169.254.170.23": true, "fd00:ec2::23": true, "localhost": true}

// containerURL returns the URL of a path at ECS's address, or of a URL with one of the
// allowed hosts; nil if uri is neither.
func containerURL(uri string) *url.URL {
	if strings.HasPrefix(uri, "/") {
		uri = "http://169.254.170.2" + uri
	}
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" || u.User != nil {
		return nil
	}
	if ip, err := netip.ParseAddr(u.Hostname()); containerHosts[u.Hostname()] || err == nil && ip.IsLoopback() {
		return u
	}
	return nil
}

// fetch implements source.
func (c *container) fetch(ctx context.Context) (credentials, error) {
	fail := func(err error) (credentials, error) {
		return credentials{}, fmt.Errorf("the container endpoint at %s %w", c.url.Host, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url.String(), nil)
	if err != nil {
		return fail(err)
	}
	token := ""
	if c.tokenFile != "" {
		if token, err = readToken(c.tokenFile); err != nil {
			return credentials{}, err
		}
		r.Header.Set("Authorization", token)
	}
	r.Header.Set("Accept", "application/json")
	status, body, err := do(c.client, r)
	if err != nil {
		return fail(err)
	}
	if status != http.StatusOK {
		return fail(refused(status, string(body), token))
	}
	got, err := parseAnswer(body)
	if err != nil {
		return fail(fmt.Errorf("cannot be used: %w", err))
	}
	return got, nil
}

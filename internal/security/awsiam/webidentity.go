package awsiam

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"kafka-upstream/internal/security/certs"
)

// webIdentity gets the credentials of a role from the Security Token Service (STS), for a
// token that says who we are: AssumeRoleWithWebIdentity, a request that is not signed.
type webIdentity struct {
	role, session, file string
	client              *http.Client
	url                 string
}

func newWebIdentity(o Options, caFile string) (*webIdentity, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if err := certs.AddCAFile(roots, caFile); err != nil {
			return nil, err
		}
		config.RootCAs = roots
	}
	return &webIdentity{
		role: o.RoleARN, session: cmp.Or(o.RoleSessionName, "kafka-upstream"), file: o.WebIdentityTokenFile,
		client: newClient(config), url: stsURL(o.Region),
	}, nil
}

// fetch implements source.
func (w *webIdentity) fetch(ctx context.Context) (credentials, error) {
	token, err := readToken(w.file)
	if err != nil {
		return credentials{}, err
	}
	fail := func(err error) (credentials, error) {
		return credentials{}, fmt.Errorf("the role %s and the token in %s: %s %w", w.role, w.file, w.url, err)
	}
	form := url.Values{
		"Action":           {"AssumeRoleWithWebIdentity"},
		"Version":          {"2011-06-15"},
		"RoleArn":          {w.role},
		"RoleSessionName":  {w.session},
		"WebIdentityToken": {token},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, strings.NewReader(form.Encode()))
	if err != nil {
		return fail(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, body, err := do(w.client, r)
	if err != nil {
		return fail(err)
	}
	if status != http.StatusOK {
		return fail(refused(status, stsReason(body), token))
	}
	c, err := parseSTS(body)
	if err != nil {
		return fail(fmt.Errorf("cannot be used: %w", err))
	}
	return c, nil
}

// parseSTS reads an AssumeRoleWithWebIdentityResponse. The error quotes nothing of it.
func parseSTS(b []byte) (credentials, error) {
	var response struct {
		AccessKeyID     string `xml:"AssumeRoleWithWebIdentityResult>Credentials>AccessKeyId"`
		SecretAccessKey string `xml:"AssumeRoleWithWebIdentityResult>Credentials>SecretAccessKey"`
		SessionToken    string `xml:"AssumeRoleWithWebIdentityResult>Credentials>SessionToken"`
		Expiration      string `xml:"AssumeRoleWithWebIdentityResult>Credentials>Expiration"`
	}
	if xml.Unmarshal(b, &response) != nil {
		return credentials{}, errors.New("its answer is not the XML of STS")
	}
	return answer{AccessKeyID: response.AccessKeyID, SecretAccessKey: response.SecretAccessKey, Token: response.SessionToken, Expiration: response.Expiration}.credentials()
}

// stsReason returns the code and the message of an ErrorResponse; "" if it is none.
func stsReason(b []byte) string {
	var response struct {
		Code    string `xml:"Error>Code"`
		Message string `xml:"Error>Message"`
	}
	if xml.Unmarshal(b, &response) != nil || response.Code == "" {
		return ""
	}
	return response.Code + ": " + response.Message
}

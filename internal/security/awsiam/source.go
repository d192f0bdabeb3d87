package awsiam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// credentials are what a payload is signed with.
type credentials struct {
	redacted
	accessKeyID, secretAccessKey, sessionToken string
	expires                                    time.Time // zero: never
}

// source provides credentials.
type source interface {
	// fetch gets new credentials. The error is one sentence without secrets.
	fetch(ctx context.Context) (credentials, error)
}

// source returns the source of the options: see [Options].
func (o Options) source(caFile string) (source, error) {
	switch {
	case o.hasKeys():
		return keys{credentials{accessKeyID: o.AccessKeyID, secretAccessKey: o.SecretAccessKey, sessionToken: o.SessionToken}}, nil
	case o.hasWebIdentity():
		return newWebIdentity(o, caFile)
	case o.hasContainer():
		return newContainer(o), nil
	}
	return newInstance(), nil
}

// keys are credentials that do not change.
type keys struct{ credentials }

func (k keys) fetch(context.Context) (credentials, error) { return k.credentials, nil }

// answer is what the endpoints of containers and instances answer with.
type answer struct {
	redacted
	Code            string // EC2: Success, or what failed
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	Token           string
	Expiration      string
}

// parseAnswer reads an answer. The error quotes nothing of it but its code.
func parseAnswer(b []byte) (credentials, error) {
	var a answer
	if json.Unmarshal(b, &a) != nil {
		return credentials{}, errors.New("its answer is not JSON with credentials")
	}
	if a.Code != "" && a.Code != "Success" {
		return credentials{}, fmt.Errorf("it has no credentials: %.64q", a.Code)
	}
	return a.credentials()
}

// credentials returns the credentials of an answer, if they are complete.
func (a answer) credentials() (credentials, error) {
	missing := func(name string) (credentials, error) {
		return credentials{}, errors.New("its answer has no usable " + name)
	}
	expires, err := time.Parse(time.RFC3339, a.Expiration)
	switch {
	case !accessKeyForm.MatchString(a.AccessKeyID):
		return missing("access key ID")
	case a.SecretAccessKey == "" || !isKey(a.SecretAccessKey):
		return missing("secret access key")
	case a.Token == "" || !isKey(a.Token):
		return missing("session token")
	case err != nil:
		return missing("time of expiry")
	case !expires.After(time.Now()):
		return credentials{}, fmt.Errorf("its credentials expired at %s: check the clock", expires.UTC().Format(time.RFC3339))
	}
	return credentials{accessKeyID: a.AccessKeyID, secretAccessKey: a.SecretAccessKey, sessionToken: a.Token, expires: expires}, nil
}

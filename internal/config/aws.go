package config

import (
	"fmt"

	"kafka-upstream/internal/foreign"
	"kafka-upstream/internal/kongschema"
	"kafka-upstream/internal/security/awsiam"
)

// AWS says where the credentials of the mechanism AWS_MSK_IAM come from. nil is a field that is
// not set; a reference to a vault that could not be resolved is empty.
type AWS struct {
	Region               *string `json:"region"`
	AccessKeyID          *string `json:"access_key_id"`
	SecretAccessKey      *string `json:"secret_access_key"`
	SessionToken         *string `json:"session_token"`
	RoleARN              *string `json:"role_arn"`
	WebIdentityTokenFile *string `json:"web_identity_token_file"`
	RoleSessionName      *string `json:"role_session_name"`
	ContainerURI         *string `json:"container_credentials_uri"`
	ContainerTokenFile   *string `json:"container_authorization_token_file"`
}

var _ fmt.Formatter = AWS{}

// Format prints nothing of the credentials, whatever the verb.
func (AWS) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(foreign.Redacted)) }

// awsField is a field of AWS.
type awsField struct {
	name    string
	value   **string
	limit   int    // in bytes
	example string // a valid value
}

func (a *AWS) fields() []awsField {
	return []awsField{
		{"region", &a.Region, maxUser, "eu-central-1"},
		{"access_key_id", &a.AccessKeyID, maxUser, "AKIAIOSFODNN7EXAMPLE"},
		{"secret_access_key", &a.SecretAccessKey, maxUser, "secret"},
		{"session_token", &a.SessionToken, maxPassword, "token"},
		{"role_arn", &a.RoleARN, maxUser, "arn:aws:iam::123456789012:role/gateway"},
		{"web_identity_token_file", &a.WebIdentityTokenFile, maxUser, "/token"},
		{"role_session_name", &a.RoleSessionName, maxUser, "gateway"},
		{"container_credentials_uri", &a.ContainerURI, maxUser, "/credentials"},
		{"container_authorization_token_file", &a.ContainerTokenFile, maxUser, "/token"},
	}
}

// resolved returns a with examples in place of references, which are in files only: Kong hands
// over what they refer to.
func (a AWS) resolved() AWS {
	for _, f := range a.fields() {
		if *f.value != nil && kongschema.IsReference(**f.value) {
			*f.value = &f.example
		}
	}
	return a
}

// validate checks what a reference may have been resolved to.
func (a AWS) validate(errs *problems) {
	for _, f := range a.fields() {
		switch value := *f.value; {
		case value == nil:
		case *value == "":
			errs.add("authentication.aws.%s is empty: remove it, or correct its vault reference (one that cannot be resolved arrives empty)", f.name)
		case len(*value) > f.limit:
			errs.add("authentication.aws.%s has %d bytes: it may have %d", f.name, len(*value), f.limit)
		}
	}
}

func (a AWS) options() awsiam.Options {
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	return awsiam.Options{
		Region:      text(a.Region),
		AccessKeyID: text(a.AccessKeyID), SecretAccessKey: text(a.SecretAccessKey), SessionToken: text(a.SessionToken),
		RoleARN: text(a.RoleARN), WebIdentityTokenFile: text(a.WebIdentityTokenFile), RoleSessionName: text(a.RoleSessionName),
		ContainerURI: text(a.ContainerURI), ContainerTokenFile: text(a.ContainerTokenFile),
	}
}

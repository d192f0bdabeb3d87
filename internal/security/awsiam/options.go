package awsiam

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Check returns what is wrong with the options, in sentences that name the fields of the
// plugin's configuration under prefix and show none of their values.
func (o Options) Check(prefix string) []string {
	return o.check(func(field string) string { return prefix + field })
}

func (o Options) check(shown func(field string) string) (problems []string) {
	add := func(format string, fields ...string) {
		var names []any
		for _, field := range fields {
			names = append(names, shown(field))
		}
		problems = append(problems, fmt.Sprintf(format, names...))
	}
	if o.Region != "" && !isRegion(o.Region) {
		add("%s is not the name of a region, such as eu-central-1", "region")
	}
	sources := 0
	if o.hasKeys() {
		sources++
		switch {
		case o.AccessKeyID == "" || o.SecretAccessKey == "":
			add("%s and %s are only valid together", "access_key_id", "secret_access_key")
		case !accessKeyForm.MatchString(o.AccessKeyID):
			add("%s is not an access key ID: it has 16 to 128 letters and digits", "access_key_id")
		case !isKey(o.SecretAccessKey):
			add("%s has a character that no secret access key has, such as white space", "secret_access_key")
		case !isKey(o.SessionToken):
			add("%s has a character that no session token has, such as white space", "session_token")
		}
	}
	if o.hasWebIdentity() {
		sources++
		switch {
		case o.RoleARN == "" || o.WebIdentityTokenFile == "":
			add("%s and %s are only valid together", "role_arn", "web_identity_token_file")
		case !roleForm.MatchString(o.RoleARN):
			add("%s is not the ARN of a role, such as arn:aws:iam::123456789012:role/gateway", "role_arn")
		case !filepath.IsAbs(o.WebIdentityTokenFile):
			add("%s must be an absolute path", "web_identity_token_file")
		case o.RoleSessionName != "" && !sessionForm.MatchString(o.RoleSessionName):
			add("%s must have 2 to 64 letters, digits and characters of +_=,.@-", "role_session_name")
		}
	}
	if o.hasContainer() {
		sources++
		if containerURL(o.ContainerURI) == nil {
			add("%s must be a path, or http:// with the address of ECS, of EKS Pod Identity or of this machine", "container_credentials_uri")
		}
		if o.ContainerTokenFile != "" && !filepath.IsAbs(o.ContainerTokenFile) {
			add("%s must be an absolute path", "container_authorization_token_file")
		}
	}
	if sources > 1 {
		add("only one of %s, %s and %s is valid, with what belongs to it", "access_key_id", "role_arn", "container_credentials_uri")
	}
	return problems
}

// variables are the environment variables that AWS names for the fields of a source.
var variables = map[string]string{
	"region":                             "AWS_REGION or AWS_DEFAULT_REGION",
	"access_key_id":                      "AWS_ACCESS_KEY_ID",
	"secret_access_key":                  "AWS_SECRET_ACCESS_KEY",
	"session_token":                      "AWS_SESSION_TOKEN",
	"role_arn":                           "AWS_ROLE_ARN",
	"web_identity_token_file":            "AWS_WEB_IDENTITY_TOKEN_FILE",
	"role_session_name":                  "AWS_ROLE_SESSION_NAME",
	"container_credentials_uri":          "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or AWS_CONTAINER_CREDENTIALS_FULL_URI",
	"container_authorization_token_file": "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
}

// addEnvironment adds the region and the first source that the environment has, where there
// is none yet. Kong starts plugin servers with an empty environment, but start_cmd may add to
// it. The error names what is missing or wrong.
func (o *Options) addEnvironment() error {
	if o.Region == "" {
		o.Region = cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"))
	}
	if o.Region == "" {
		return errors.New("the AWS region is not known, because no host of bootstrap_servers names it: set authentication.aws.region")
	}
	get := func(field string) string { return os.Getenv(variables[field]) }
	switch {
	case o.hasKeys() || o.hasWebIdentity() || o.hasContainer():
	case get("access_key_id") != "" && get("secret_access_key") != "":
		o.AccessKeyID, o.SecretAccessKey, o.SessionToken = get("access_key_id"), get("secret_access_key"), get("session_token")
	case get("web_identity_token_file") != "":
		o.WebIdentityTokenFile, o.RoleARN, o.RoleSessionName = get("web_identity_token_file"), get("role_arn"), get("role_session_name")
	default:
		o.ContainerURI = cmp.Or(os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"))
		if o.ContainerURI != "" {
			o.ContainerTokenFile = get("container_authorization_token_file")
		}
	}
	problems := o.check(func(field string) string { return "the environment variable " + variables[field] })
	if len(problems) == 0 {
		return nil
	}
	return errors.New(strings.Join(problems, "; "))
}

func (o Options) hasKeys() bool {
	return o.AccessKeyID != "" || o.SecretAccessKey != "" || o.SessionToken != ""
}

func (o Options) hasWebIdentity() bool {
	return o.RoleARN != "" || o.WebIdentityTokenFile != "" || o.RoleSessionName != ""
}

func (o Options) hasContainer() bool { return o.ContainerURI != "" || o.ContainerTokenFile != "" }

// Secrets returns the secrets among the options, for [foreign.NewRedactor].
func (o Options) Secrets() []string { return []string{o.SecretAccessKey, o.SessionToken} }

var (
	accessKeyForm = regexp.MustCompile(`^\w{16,128}$`)
	roleForm      = regexp.MustCompile(`^arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]{1,576}$`)
	sessionForm   = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
)

// isKey reports whether s consists of printable ASCII characters other than a space.
func isKey(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

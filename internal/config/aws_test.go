package config

import (
	"fmt"
	"strings"
	"testing"

	"kafka-upstream/internal/security/awsiam"
)

const mskHost = "b-1.orders.4qxy2m.c2.kafka.eu-central-1.amazonaws.com"

// mskConfig is a configuration with AWS_MSK_IAM, that host, and these fields of security and of
// authentication.aws.
func mskConfig(t *testing.T, host, security, aws string) *Config {
	t.Helper()
	c, err := Parse(fmt.Appendf(nil, `{"bootstrap_servers":[{"host":"localhost","port":9098},{"host":%q,"port":9098}],"topic":"t",
		"security":{%s},"authentication":{"strategy":"sasl","mechanism":"AWS_MSK_IAM","aws":%s}}`, host, security, aws))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAWSMSKIAMNeedsNoMoreThanTLS(t *testing.T) {
	for _, aws := range []string{"null", "{}", `{"region":null,"access_key_id":null}`} {
		c := mskConfig(t, mskHost, `"ssl":true`, aws)
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		if got := c.Producer().SASL.AWS; got != (awsiam.Options{Region: "eu-central-1"}) {
			t.Errorf("%s makes other options", aws)
		}
	}
}

func TestAWSOptionsAreThoseOfTheConfiguration(t *testing.T) {
	for aws, want := range map[string]awsiam.Options{
		`{"region":"us-east-1","access_key_id":"AKIAIOSFODNN7EXAMPLE","secret_access_key":"s","session_token":"t"}`:     {Region: "us-east-1", AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "s", SessionToken: "t"},
		`{"role_arn":"arn:aws:iam::123456789012:role/x","web_identity_token_file":"/token","role_session_name":"name"}`: {Region: "eu-central-1", RoleARN: "arn:aws:iam::123456789012:role/x", WebIdentityTokenFile: "/token", RoleSessionName: "name"},
		`{"container_credentials_uri":"/v2/1","container_authorization_token_file":"/token"}`:                           {Region: "eu-central-1", ContainerURI: "/v2/1", ContainerTokenFile: "/token"},
	} {
		c := mskConfig(t, mskHost, `"ssl":true`, aws)
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		if c.Producer().SASL.AWS != want {
			t.Errorf("%s makes other options", aws)
		}
	}
}

func TestAWSFieldsThatCannotBeUsedAreNamed(t *testing.T) {
	for _, test := range []struct{ security, aws, want string }{
		{"", "null", "security.ssl must be true when authentication.mechanism is AWS_MSK_IAM"},
		{`"ssl":true`, `{"role_arn":"","web_identity_token_file":"/token"}`, "authentication.aws.role_arn and authentication.aws.web_identity_token_file are only valid together; authentication.aws.role_arn is empty: remove it, or correct its vault reference (one that cannot be resolved arrives empty)"},
		// Without the check, the instance's role would be used in place of the container's.
		{`"ssl":true`, `{"container_credentials_uri":""}`, "authentication.aws.container_credentials_uri is empty: remove it, or correct its vault reference"},
		{`"ssl":true`, `{"session_token":"` + strings.Repeat("a", 65537) + `"}`, "authentication.aws.session_token has 65537 bytes: it may have 65536"},
		{`"ssl":true`, `{"region":"eu central 1"}`, "authentication.aws.region is not the name of a region, such as eu-central-1"},
	} {
		if err := mskConfig(t, mskHost, test.security, test.aws).Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.100s: got %v, want %s", test.aws, err, test.want)
		}
	}
}

func TestAWSKeysDoNotPrint(t *testing.T) {
	c := mskConfig(t, mskHost, `"ssl":true`, `{"access_key_id":"AKIAIOSFODNN7EXAMPLE","secret_access_key":"s3cr3t","session_token":"t0ken"}`)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, value := range []any{c, c.Authentication, c.Authentication.AWS, c.Producer()} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, "s3cr3t") || strings.Contains(text, "t0ken") {
				t.Errorf("%s of %T shows the keys", verb, value)
			}
		}
	}
	a, b := c.Producer(), c.Producer()
	b.SASL.AWS.SecretAccessKey = "another"
	if a.Key() == b.Key() {
		t.Error("producers with different keys are shared")
	}
}

// Files for -check have the references themselves.
func TestAWSReferencesAreNotTakenForValues(t *testing.T) {
	c := mskConfig(t, "broker.example", `"ssl":true`, `{"region":"{vault://env/a}","access_key_id":"{vault://env/b}","secret_access_key":"{vault://env/c}","session_token":"{vault://env/d}"}`)
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c = mskConfig(t, mskHost, `"ssl":true`, `{"role_arn":"{vault://env/a}","web_identity_token_file":"{vault://env/b}","role_session_name":"{vault://env/c}"}`)
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c = mskConfig(t, mskHost, `"ssl":true`, `{"container_credentials_uri":"{vault://env/a}","container_authorization_token_file":"{vault://env/b}"}`)
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if got := c.Producer().SASL.AWS.ContainerURI; got != "{vault://env/a}" {
		t.Errorf("the configuration was changed: %s", got)
	}
}

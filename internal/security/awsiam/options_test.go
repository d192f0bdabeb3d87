package awsiam

import (
	"slices"
	"strings"
	"testing"
)

const (
	testID     = "AKIAIOSFODNN7EXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	testToken  = "IQoJb3JpZ2luX2VjEPT//////////wEaCmV1LWNlbnRyYWwtMSJIMEYCIQDx=="
	testRole   = "arn:aws:iam::123456789012:role/team/gateway"
)

func TestOptionsThatCannotBeUsedAreRefusedWithoutTellingThem(t *testing.T) {
	const secret = "s3cr3t-value"
	keys := func(id, key, token string) Options {
		return Options{AccessKeyID: id, SecretAccessKey: key, SessionToken: token}
	}
	web := func(role, file, session string) Options {
		return Options{RoleARN: role, WebIdentityTokenFile: file, RoleSessionName: session}
	}
	for _, test := range []struct {
		o    Options
		want string // "" for nothing
	}{
		{Options{}, ""},
		{keys(testID, testSecret, testToken), ""},
		{web(testRole, "/token", ""), ""},
		{web("arn:aws-cn:iam::123456789012:role/x", "/token", "a=b,c.d@e-f_1"), ""},
		{Options{ContainerURI: "/v2/credentials/1"}, ""},
		{Options{ContainerURI: "http://169.254.170.23/v1/credentials", ContainerTokenFile: "/token"}, ""},
		{Options{ContainerURI: "http://[fd00:ec2::23]/v1/credentials"}, ""},
		{Options{ContainerURI: "http://127.0.0.1:9911/"}, ""},
		{Options{ContainerURI: "http://localhost:9911/"}, ""},
		{Options{Region: "eu central 1"}, "aws.region is not the name of a region, such as eu-central-1"},
		{Options{Region: "x.evil.example/" + secret}, "aws.region is not the name of a region"},
		{Options{Region: "eu-central-1." + secret}, "aws.region is not the name of a region"},
		{keys(testID, "", ""), "aws.access_key_id and aws.secret_access_key are only valid together"},
		{keys("", secret, ""), "aws.access_key_id and aws.secret_access_key are only valid together"},
		{keys("", "", secret), "aws.access_key_id and aws.secret_access_key are only valid together"},
		{keys(secret, secret, ""), "aws.access_key_id is not an access key ID: it has 16 to 128 letters and digits"},
		{keys(testID+"\n", secret, ""), "aws.access_key_id is not an access key ID"},
		{keys(testID, secret+"\n", ""), "aws.secret_access_key has a character that no secret access key has, such as white space"},
		{keys(testID, secret, secret+" "), "aws.session_token has a character that no session token has, such as white space"},
		{keys(testID, secret, secret+"ü"), "aws.session_token has a character"},
		{web(testRole, "", ""), "aws.role_arn and aws.web_identity_token_file are only valid together"},
		{web("", "/token", ""), "aws.role_arn and aws.web_identity_token_file are only valid together"},
		{web("", "", "name"), "aws.role_arn and aws.web_identity_token_file are only valid together"},
		{web("arn:aws:iam::123456789012:user/"+secret, "/token", ""), "aws.role_arn is not the ARN of a role, such as arn:aws:iam::123456789012:role/gateway"},
		{web(testRole, "token", ""), "aws.web_identity_token_file must be an absolute path"},
		{web(testRole, "/token", "a b"), "aws.role_session_name must have 2 to 64 letters, digits and characters of +_=,.@-"},
		{Options{ContainerURI: "https://" + secret + ".example/"}, "aws.container_credentials_uri must be a path, or http:// with the address of ECS, of EKS Pod Identity or of this machine"},
		{Options{ContainerURI: "http://169.254.169.254/"}, "aws.container_credentials_uri must be"},
		{Options{ContainerURI: "http://169.254.170.2.evil.example/"}, "aws.container_credentials_uri must be"},
		{Options{ContainerURI: "http://user:" + secret + "@127.0.0.1/"}, "aws.container_credentials_uri must be"},
		{Options{ContainerURI: "file:///etc/" + secret}, "aws.container_credentials_uri must be"},
		{Options{ContainerURI: "\x00" + secret}, "aws.container_credentials_uri must be"},
		{Options{ContainerTokenFile: "/token"}, "aws.container_credentials_uri must be"},
		{Options{ContainerURI: "/x", ContainerTokenFile: "token"}, "aws.container_authorization_token_file must be an absolute path"},
		{Options{AccessKeyID: testID, SecretAccessKey: secret, ContainerURI: "/x"}, "only one of aws.access_key_id, aws.role_arn and aws.container_credentials_uri is valid, with what belongs to it"},
	} {
		problems := test.o.Check("aws.")
		got := strings.Join(problems, "; ")
		if test.want == "" && got != "" || !strings.HasPrefix(got, test.want) || len(problems) > 1 {
			t.Errorf("got %q, want %q", problems, test.want)
		}
		if strings.Contains(got, secret) {
			t.Errorf("the problem tells the value: %s", got)
		}
		if test.o.Region == "" {
			test.o.Region = "eu-central-1"
		}
		if s, err := New(test.o, Env{}); (err == nil) != (test.want == "") {
			t.Errorf("%s: New says %v", test.want, err)
		} else if err == nil {
			s.Close()
		}
	}
}

// clearEnvironment makes the environment that of Kong.
func clearEnvironment(t *testing.T) {
	t.Helper()
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(name, "")
	}
	for _, name := range variables {
		if !strings.Contains(name, " ") {
			t.Setenv(name, "")
		}
	}
}

func TestEnvironmentNamesASourceIfTheConfigurationDoesNot(t *testing.T) {
	const (
		keys = "AWS_ACCESS_KEY_ID=" + testID + " AWS_SECRET_ACCESS_KEY=" + testSecret
		web  = "AWS_ROLE_ARN=" + testRole + " AWS_WEB_IDENTITY_TOKEN_FILE=/token"
		ecs  = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/1"
		eks  = "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://169.254.170.23/v1/credentials AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=/eks"
	)
	for _, test := range []struct {
		environment string
		o, want     Options
	}{
		{"", Options{}, Options{}},
		{keys, Options{}, Options{AccessKeyID: testID, SecretAccessKey: testSecret}},
		{keys + " AWS_SESSION_TOKEN=" + testToken + " " + web + " " + ecs, Options{}, Options{AccessKeyID: testID, SecretAccessKey: testSecret, SessionToken: testToken}},
		{web + " AWS_ROLE_SESSION_NAME=me " + eks, Options{}, Options{RoleARN: testRole, WebIdentityTokenFile: "/token", RoleSessionName: "me"}},
		{ecs + " " + eks, Options{}, Options{ContainerURI: "/v2/1", ContainerTokenFile: "/eks"}},
		{eks, Options{}, Options{ContainerURI: "http://169.254.170.23/v1/credentials", ContainerTokenFile: "/eks"}},
		{"AWS_ROLE_ARN=" + testRole + " AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=/eks", Options{}, Options{}}, // of other tools
		// What the configuration has is not mixed with the environment's.
		{keys + " AWS_SESSION_TOKEN=" + testToken, Options{AccessKeyID: testID, SecretAccessKey: "other"}, Options{AccessKeyID: testID, SecretAccessKey: "other"}},
		{keys + " " + web, Options{ContainerURI: "/x"}, Options{ContainerURI: "/x"}},
	} {
		clearEnvironment(t)
		for variable := range strings.FieldsSeq(test.environment) {
			name, value, _ := strings.Cut(variable, "=")
			t.Setenv(name, value)
		}
		o := test.o
		o.Region, test.want.Region = "eu-central-1", "eu-central-1"
		if err := o.addEnvironment(); err != nil || o != test.want {
			t.Errorf("%s: got another source, %v", test.environment, err)
		}
	}
}

func TestEnvironmentThatCannotBeUsedIsNamed(t *testing.T) {
	clearEnvironment(t)
	wantProblem := func(want string) {
		t.Helper()
		if _, err := New(Options{}, Env{}); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	wantProblem("the AWS region is not known, because no host of bootstrap_servers names it: set authentication.aws.region")
	t.Setenv("AWS_REGION", "sts.evil.example/")
	wantProblem("the environment variable AWS_REGION or AWS_DEFAULT_REGION is not the name of a region, such as eu-central-1")
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "eu-central-1")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")
	wantProblem("the environment variable AWS_ROLE_ARN and the environment variable AWS_WEB_IDENTITY_TOKEN_FILE are only valid together")
	if !slices.Contains(Options{SecretAccessKey: "a", SessionToken: "b"}.Secrets(), "b") {
		t.Error("the session token is not among the secrets")
	}
}

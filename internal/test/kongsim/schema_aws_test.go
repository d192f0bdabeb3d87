package kongsim

import "testing"

func TestTheSchemaJudgesAWSAsKongDoes(t *testing.T) {
	e := ours(t)
	msk := func(ssl, aws string) string {
		return `{` + goodServers + `,"security":{"ssl":` + ssl + `},"authentication":{"strategy":"sasl","mechanism":"AWS_MSK_IAM","aws":` + aws + `}}`
	}
	const at = "schema violation (config.authentication.aws."
	for _, test := range []struct{ config, want string }{
		{msk("true", "null"), ""},
		{msk("true", "{}"), ""},
		{msk("true", `{"region":"eu-central-1","access_key_id":"{vault://env/aws-access-key-id}","secret_access_key":"{vault://env/aws-secret-access-key}","session_token":"t"}`), ""},
		{msk("true", `{"role_arn":"{vault://env/aws-role-arn}","web_identity_token_file":"{vault://env/aws-web-identity-token-file}","role_session_name":"x"}`), ""},
		{msk("true", `{"container_credentials_uri":"{vault://env/aws-container-credentials-full-uri}","container_authorization_token_file":"/t"}`), ""},
		{msk("false", "null"), "schema violation (config.security.ssl: security.ssl must be true when authentication.mechanism is AWS_MSK_IAM)"},
		{msk("true", `{"access_key_id":"a"}`), at + "secret_access_key: secret_access_key is required when access_key_id is set)"},
		{msk("true", `{"secret_access_key":"a"}`), at + "access_key_id: access_key_id is required when secret_access_key is set)"},
		{msk("true", `{"session_token":"a"}`), at + "access_key_id: access_key_id is required when session_token is set)"},
		{msk("true", `{"role_arn":"a"}`), at + "web_identity_token_file: web_identity_token_file is required when role_arn is set)"},
		{msk("true", `{"web_identity_token_file":"a"}`), at + "role_arn: role_arn is required when web_identity_token_file is set)"},
		{msk("true", `{"container_authorization_token_file":"a"}`), at + "container_credentials_uri: container_credentials_uri is required when container_authorization_token_file is set)"},
		{msk("true", `{"access_key_id":"a","secret_access_key":"b","container_credentials_uri":"/x"}`), at + "@entity: only one or none of these fields must be set: 'access_key_id', 'role_arn', 'container_credentials_uri')"},
		{msk("true", `{"region":""}`), at + "region: length must be at least 1)"},
	} {
		v := map[string]any{"name": "kafka-upstream", "config": jsonMap(t, test.config)}
		if got := verdict(e, v); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.config, got, test.want)
		}
	}
}

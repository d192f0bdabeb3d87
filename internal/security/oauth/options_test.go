package oauth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCheckNamesTheFieldThatIsWrong(t *testing.T) {
	const prefix = "schema_registry.confluent.authentication.oauth2"
	for _, test := range []struct {
		change func(*Options)
		want   string // after the prefix; "" for nothing wrong
	}{
		{func(o *Options) {}, ""},
		{func(o *Options) { o.TokenURL = "" }, ".token_endpoint is empty"},
		{func(o *Options) { o.TokenURL = "idp/token" }, ".token_endpoint must be a URL"},
		{func(o *Options) { o.TokenURL = "ftp://idp/token" }, ".token_endpoint must be a URL"},
		{func(o *Options) { o.TokenURL = "https:///token" }, ".token_endpoint must be a URL"},
		{func(o *Options) { o.TokenURL = "https://idp/%zz" }, ".token_endpoint must be a URL"},
		{func(o *Options) { o.TokenURL = "https://me:s3cr3t-in-url@idp/token" }, ".token_endpoint contains a user"},
		{func(o *Options) { o.TokenURL += "#" }, ".token_endpoint contains a fragment"},
		{func(o *Options) { o.TokenURL += "?tenant=1" }, ""},
		{func(o *Options) { o.GrantType = "implicit" }, ".grant_type must be client_credentials or password"},
		{func(o *Options) { o.AuthMethod = "private_key_jwt" }, "_client.auth_method must be client_secret_basic, "},
		{func(o *Options) { o.AuthMethod, o.JWTAlgorithm = methodJWT, "none" }, "_client.client_secret_jwt_alg must be HS256 or HS512"},
		{func(o *Options) { o.ClientID = "" }, ".client_id is empty"},
		{func(o *Options) { o.ClientSecret = "" }, ".client_secret is empty"},
		{func(o *Options) { o.AuthMethod, o.ClientSecret = methodPost, "" }, ".client_secret is empty"},
		{func(o *Options) { o.AuthMethod, o.ClientID, o.ClientSecret = methodNone, "", "" }, ""},
		{func(o *Options) { o.GrantType, o.Username, o.Password, o.ClientSecret = "password", "a", "b", "" }, ""},
		{func(o *Options) {
			o.GrantType, o.Username, o.Password, o.ClientSecret, o.AuthMethod = "password", "a", "b", "", methodJWT
		}, ".client_secret is empty"},
		{func(o *Options) { o.GrantType, o.Password = "password", "b" }, ".username is empty"},
		{func(o *Options) { o.GrantType, o.Username = "password", "a" }, ".password is empty"},
		{func(o *Options) { o.HTTPProxy = "proxy:3128" }, "_client.http_proxy must be a URL"},
		{func(o *Options) { o.HTTPSProxy = "https://proxy:3128" }, "_client.https_proxy must be a URL"},
		{func(o *Options) { o.HTTPSProxy = "http://me:s3cr3t-in-url@proxy" }, "_client.https_proxy contains a user: set https_proxy_authorization instead"},
		{func(o *Options) { o.HTTPProxyAuthorization = "a\nb" }, "_client.http_proxy_authorization cannot be"},
		{func(o *Options) { o.HTTPSProxyAuthorization = "a\x00b" }, "_client.https_proxy_authorization cannot be"},
		{func(o *Options) { o.Headers = map[string]string{"a b": "c"} }, ".token_headers has a name"},
		{func(o *Options) { o.Headers = map[string]string{"a": "b\r\nc: d"} }, ".token_headers has a value"},
		{func(o *Options) { o.Headers = map[string]string{"host": "b"} }, ".token_headers contains Host"},
		{func(o *Options) { o.Headers = map[string]string{"accept-encoding": "gzip"} }, ".token_headers contains Accept-Encoding"},
		{func(o *Options) { o.Headers = map[string]string{"content-length": "1"} }, ".token_headers contains Content-Length"},
		{func(o *Options) { o.Headers = map[string]string{"authorization": "b"} }, ".token_headers contains Authorization"},
		{func(o *Options) {
			o.AuthMethod, o.Headers = methodNone, map[string]string{"authorization": "b", "content-type": "c"}
		}, ""},
		{func(o *Options) { o.Form = map[string]string{"grant_type": "urn:x"} }, ".token_post_args contains grant_type: set grant_type instead"},
		{func(o *Options) { o.Form = map[string]string{"client_secret": "b"} }, ".token_post_args contains client_secret: set client_secret instead"},
		{func(o *Options) { o.Form = map[string]string{"": "b"} }, ".token_post_args has a field without a name"},
		{func(o *Options) { o.Form = map[string]string{"scope": "b", "audience": "c", "resource": "d"} }, ""},
		{func(o *Options) { o.Scopes, o.Form = []string{"a"}, map[string]string{"scope": "b"} }, ".token_post_args contains scope: set scopes instead"},
		{func(o *Options) { o.Audience, o.Form = []string{"a"}, map[string]string{"audience": "b"} }, ".token_post_args contains audience: set audience instead"},
	} {
		o := Options{TokenURL: "https://idp/token", ClientID: clientID, ClientSecret: clientSecret}
		test.change(&o)
		problems := o.Check(prefix)
		if test.want == "" {
			if len(problems) > 0 {
				t.Errorf("got %q", problems)
			}
			continue
		}
		if len(problems) != 1 || !strings.HasPrefix(problems[0], prefix+test.want) || strings.Contains(problems[0], "s3cr3t") {
			t.Errorf("got %q, want %s", problems, test.want)
		}
		if _, err := New(o, Env{}); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("New: %v", err)
		}
	}
	if got := (Options{ClientID: "a", ClientSecret: "b"}).Check("authentication.oauthbearer"); len(got) != 1 || !strings.HasPrefix(got[0], "authentication.oauthbearer.token_endpoint_url is empty: set the URL of the token endpoint (a vault reference") {
		t.Errorf("got %q", got)
	}
}

// full has a text of its own in each field that holds one.
func full() Options {
	return Options{
		TokenURL: "https://idp.test/token?key=queryS3cret", GrantType: "password", ClientID: "client1", ClientSecret: "clientS3cret", Username: "user1", Password: "passwordS3cret",
		Scopes: []string{"scope1"}, Audience: []string{"audience1"}, Headers: map[string]string{"X-Key": "headerS3cret"}, Form: map[string]string{"extra": "formS3cret"},
		AuthMethod: methodPost, JWTAlgorithm: "HS256",
		HTTPProxy: "http://proxy1:1", HTTPSProxy: "http://proxy2:2", NoProxy: "none.test", HTTPProxyAuthorization: "Basic proxyS3cret", HTTPSProxyAuthorization: "Basic proxysS3cret",
		HTTP10: true, NoKeepAlive: true, SkipVerify: true, Timeout: time.Second,
	}
}

func TestFullOptionsAreFull(t *testing.T) {
	v := reflect.ValueOf(full())
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not set: the tests with all options do not see it", v.Type().Field(i).Name)
		}
	}
	if problems := full().Check(""); len(problems) > 0 {
		t.Error(problems)
	}
}

func TestSecretsAreThoseThatMustNotBeShown(t *testing.T) {
	got := full().Secrets()
	for _, want := range []string{"clientS3cret", "passwordS3cret", "headerS3cret", "formS3cret", "Basic proxyS3cret", "Basic proxysS3cret", "client1:clientS3cret", "key=queryS3cret"} {
		if !slices.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	for _, secret := range got {
		if !strings.Contains(secret, "S3cret") {
			t.Errorf("%q is a secret", secret)
		}
	}
	if got := (Options{}).Secrets(); len(got) > 0 {
		t.Errorf("no options have the secrets %q", got)
	}
}

// wantNoSecret fails if text holds a secret of full, or a token of these tests.
func wantNoSecret(t *testing.T, what, text string) {
	t.Helper()
	if strings.Contains(text, "S3cret") || strings.Contains(text, "t0ken") || strings.Contains(text, "UzNjcmV0") {
		t.Errorf("%s shows a secret: %s", what, text)
	}
}

func TestOptionsAndSourcePrintNothing(t *testing.T) {
	var log logbook
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	s := open(t, full(), Env{Log: logger})
	s.finish(answer{"t0ken", time.Minute}, time.Now(), nil, 0)
	type owner struct {
		Options Options
		Pointer *Options
		Source  *Source
		List    []any
	}
	o := full()
	for _, v := range []any{o, &o, s, owner{o, &o, s, []any{o, s}}, &owner{Options: o}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
			wantNoSecret(t, verb, fmt.Sprintf(verb, v))
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		wantNoSecret(t, "JSON", string(b))
		logger.Info("logged", "v", v)
		var text bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("logged", "v", v)
		wantNoSecret(t, "a log of text", text.String())
	}
	wantNoSecret(t, "a log in JSON", log.String())
}

func TestDigestsOfOtherOptionsDiffer(t *testing.T) {
	digest := func(o Options) string {
		b, err := json.Marshal(struct{ Options Options }{o})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	whole := digest(full())
	if digest(full()) != whole {
		t.Error("equal options have two digests")
	}
	v := reflect.ValueOf(full())
	for i := range v.NumField() {
		o := full()
		reflect.ValueOf(&o).Elem().Field(i).SetZero()
		if digest(o) == whole {
			t.Errorf("the digest does not depend on %s", v.Type().Field(i).Name)
		}
	}
}

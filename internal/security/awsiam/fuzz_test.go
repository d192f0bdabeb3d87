package awsiam

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

// wantCredentials fails unless there are either whole credentials or an error of one short
// line.
func wantCredentials(t *testing.T, c credentials, err error) {
	t.Helper()
	if err != nil {
		if text := err.Error(); len(text) > 512 || strings.ContainsAny(text, "\r\n") || c != (credentials{}) {
			t.Errorf("error %q", text)
		}
		return
	}
	if c.accessKeyID == "" || c.secretAccessKey == "" || c.sessionToken == "" || !c.expires.After(time.Now().Add(-time.Minute)) ||
		strings.ContainsAny(c.accessKeyID+c.secretAccessKey+c.sessionToken, " \r\n") {
		t.Error("the credentials are incomplete")
	}
}

func FuzzSTS(f *testing.F) {
	for _, answer := range []string{
		`<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>AKIAIOSFODNN7EXAMPLE</AccessKeyId><SecretAccessKey>a</SecretAccessKey><SessionToken>b</SessionToken><Expiration>2099-10-24T23:00:23Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
		`<ErrorResponse><Error><Code>ExpiredTokenException</Code><Message>Token expired</Message></Error></ErrorResponse>`,
		`<a><a><a>`, `<?xml version="1.0" encoding="latin1"?><a/>`, `<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`, ``,
	} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseSTS(b)
		wantCredentials(t, c, err)
		if text := refused(400, stsReason(b), "secret").Error(); len(text) > 512 || strings.ContainsAny(text, "\r\n") {
			t.Errorf("error %q", text)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, answer := range []string{
		`{"Code":"Success","AccessKeyId":"AKIAIOSFODNN7EXAMPLE","SecretAccessKey":"a","Token":"b","Expiration":"2099-10-24T23:00:23Z"}`,
		`{"Code":"AssumeRoleUnauthorizedAccess","Message":"no"}`, `{"code":["x"]}`, `[[[[`, `null`, ``,
	} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseAnswer(b)
		wantCredentials(t, c, err)
	})
}

func FuzzBrokersAnswer(f *testing.F) {
	for _, answer := range []string{`{"version":"2020_10_22","request-id":"x"}`, `{"version":1}`, `[`, `null`, ``} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := CheckAnswer(b); err != nil && (len(err.Error()) > 512 || strings.ContainsAny(err.Error(), "\r\n")) {
			t.Errorf("error %q", err)
		}
	})
}

// Whatever a configuration says, a container's token goes to no other host than those.
func FuzzContainerURL(f *testing.F) {
	for _, uri := range []string{"/v2/credentials", "//evil.example/", "http://169.254.170.23/v1", "http://127.0.0.1@evil.example/", "http://[::1%25lo]/", "/\\evil", "http://localhost:80:80/"} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		u := containerURL(uri)
		if u == nil {
			return
		}
		again, err := url.Parse(u.String()) // as an HTTP client reads it
		if err != nil {
			t.Fatalf("%q: %v", uri, err)
		}
		host := again.Hostname()
		ip, err := netip.ParseAddr(host)
		if again.Scheme != "http" || again.User != nil || host != "localhost" && (err != nil || !ip.IsLoopback() && !strings.HasPrefix(host, "169.254.170.2") && host != "fd00:ec2::23") {
			t.Errorf("%q: %s", uri, u)
		}
	})
}

// The name of a host that a region becomes a part of is always one of Amazon's.
func FuzzRegion(f *testing.F) {
	for _, host := range []string{"b-1.orders.4qxy2m.c2.kafka.eu-central-1.amazonaws.com", "kafka.a-b.amazonaws.com.cn", ".kafka.x@y-1.amazonaws.com"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		region := RegionOf(host)
		if region == "" {
			return
		}
		if u, err := url.Parse(stsURL(region)); err != nil || !strings.HasSuffix(u.Host, ".amazonaws.com") && !strings.HasSuffix(u.Host, ".amazonaws.com.cn") || u.Path != "/" {
			t.Errorf("%q: %s, %v", host, u, err)
		}
	})
}

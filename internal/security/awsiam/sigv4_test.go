package awsiam

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// The vectors are those of AWS's signing test suite (github.com/awslabs/aws-c-auth,
// tests/aws-signing-test-suite/v4) that have the form of GET https://host/ signed by its
// query.
func TestSignatureIsThatOfTheAWSTestSuite(t *testing.T) {
	const unreserved = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	for name, test := range map[string]struct {
		query       url.Values
		token, want string
	}{
		"get-vanilla":                      {url.Values{}, "", "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"},
		"get-vanilla-with-session-token":   {url.Values{}, "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267", "7ff2b50b376cb4d151970630573d6291dc128cc5c2a12ffb237f73cc53f67b6c"},
		"get-vanilla-query-order-key-case": {url.Values{"Param2": {"value2"}, "Param1": {"value1"}}, "", "86012e2c9ad4d77369f5d81c11f75158aae4f895a085212cc6d3f923d300bed5"},
		"get-vanilla-query-unreserved":     {url.Values{unreserved: {unreserved}}, "", "8e76a88a7433637b12778d5592799b29ad21ecd6cf6325051c21d86f0acda2bf"},
	} {
		test.query.Set("X-Amz-Expires", "3600")
		scope{"us-east-1", "service", time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)}.presign(
			credentials{accessKeyID: "AKIDEXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", sessionToken: test.token},
			"example.amazonaws.com", test.query)
		if got := test.query.Get("X-Amz-Signature"); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}

// testdata/Payloads.java made the payloads with Amazon's own client, and these secrets.
func TestPayloadIsThatOfAmazonsClient(t *testing.T) {
	secrets := map[string]string{
		"AKIAIOSFODNN7EXAMPLE": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		"ASIAIOSFODNN7EXAMPLE": "wJalrXUtnFEMI+K7MDENG/bPxRfiCYEXAMPLEKEY",
	}
	f, err := os.Open("testdata/payloads.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	count := 0
	for lines := bufio.NewScanner(f); lines.Scan(); count++ {
		var want, got map[string]string
		if err := json.Unmarshal(lines.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse("20060102T150405Z", want["x-amz-date"])
		if err != nil {
			t.Fatal(err)
		}
		id, _, _ := strings.Cut(want["x-amz-credential"], "/")
		s, err := New(Options{AccessKeyID: id, SecretAccessKey: secrets[id], SessionToken: want["x-amz-security-token"], Region: RegionOf(want["host"])}, Env{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		// In another time zone, as the broker is written in a configuration.
		b, err := s.Payload(t.Context(), strings.ToUpper(want["host"])+".", at.In(time.FixedZone("", 7200)))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &got); err != nil || !maps.Equal(got, want) {
			t.Errorf("got %s, %v, want %s", b, err, lines.Bytes())
		}
		if bytes.Contains(b, []byte(secrets[id])) {
			t.Error("the payload holds the secret key")
		}
	}
	if count != 6 {
		t.Errorf("there are %d payloads, want 6", count)
	}
}

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

var kafkaAddress = regexp.MustCompile(`Kafka +(127\.0\.0\.1:\d+) \(in this process, TLS and SCRAM-SHA-512\)`)

func TestSecureCheckSendsARequestByTLSAndSASL(t *testing.T) {
	for _, args := range [][]string{{"--check", "--secure"}, {"--check", "--secure", "--config", "../../testdata/kong.yml"}} {
		cmd, _ := demoCommand(t, args...)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "#1  topic kong-upstream  partition ") {
			t.Errorf("%v: %v: %s", args, err, out)
		}
	}
}

func TestSecureBrokerLetsNobodyInWithoutTLSAndThePassword(t *testing.T) {
	out, _, end := startDemo(t, "-secure", "-listen", "127.0.0.1:0", "-admin-listen", "127.0.0.1:0")
	m := kafkaAddress.FindStringSubmatch(out.String())
	if m == nil {
		t.Fatalf("no address in %s", out)
	}
	overTLS := kgo.DialTLSConfig(&tls.Config{InsecureSkipVerify: true})
	login := func(password string) kgo.Opt {
		return kgo.SASL(scram.Auth{User: secureUser, Pass: password}.AsSha512Mechanism())
	}
	for name, c := range map[string]struct {
		opts []kgo.Opt
		ok   bool
	}{
		"with both":           {[]kgo.Opt{overTLS, login(securePassword)}, true},
		"without TLS":         {[]kgo.Opt{login(securePassword)}, false},
		"without SASL":        {[]kgo.Opt{overTLS}, false},
		"with a wrong secret": {[]kgo.Opt{overTLS, login("wrong")}, false},
	} {
		client, err := kgo.NewClient(append(c.opts, kgo.SeedBrokers(m[1]), kgo.RequestRetries(0), kgo.RetryTimeout(2*time.Second))...)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := client.Ping(ctx); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		client.Close()
	}
	if status := post(t, out, "a=b"); status != 200 {
		t.Error(status)
	}
	out.wait(t, "#1  topic kong-upstream")
	if err := end(); err != nil {
		t.Error(err)
	}
}

func TestSecureIsForTheDemosOwnBroker(t *testing.T) {
	cmd, _ := demoCommand(t, "-secure", "-bootstrap", "127.0.0.1:9092")
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	if err := cmd.Run(); err == nil || !strings.Contains(errOut.String(), "cannot be used with -bootstrap") {
		t.Errorf("%v, %s", err, errOut.String())
	}
}

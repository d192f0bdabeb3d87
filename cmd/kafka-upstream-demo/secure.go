package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	yaml "go.yaml.in/yaml/v4"

	"kafka-upstream/internal/test/testcert"
)

// The login of -secure. The password protects nothing: the broker lives as long as the demo,
// and only on this machine.
const (
	secureMechanism = "SCRAM-SHA-512"
	secureUser      = "kong"
	securePassword  = "kong-secret"
)

// secure is what -secure adds: SASL, and TLS with a certificate authority made for this run. A
// nil secure adds nothing.
type secure struct{ ca *testcert.CA }

func newSecure(o *options) (*secure, error) {
	switch {
	case !o.secure:
		return nil, nil
	case o.bootstrap != "":
		return nil, errors.New("-secure is for the broker in this process: it cannot be used with -bootstrap")
	}
	return &secure{testcert.New("kafka-upstream-demo")}, nil
}

// broker returns the options of the broker.
func (s *secure) broker() []kfake.Opt {
	if s == nil {
		return nil
	}
	return []kfake.Opt{
		kfake.TLS(s.ca.ServerConfig("127.0.0.1", "localhost")),
		kfake.EnableSASL(), kfake.Superuser(secureMechanism, secureUser, securePassword),
	}
}

// consumer returns the options of the consumer.
func (s *secure) consumer() []kgo.Opt {
	if s == nil {
		return nil
	}
	return []kgo.Opt{
		kgo.DialTLSConfig(&tls.Config{RootCAs: s.ca.Pool(), MinVersion: tls.VersionTLS12}),
		kgo.SASL(scram.Auth{User: secureUser, Pass: securePassword}.AsSha512Mechanism()),
	}
}

// flags returns the flags of the plugin server, for the authority in a file in dir.
func (s *secure) flags(dir string) ([]string, error) {
	if s == nil {
		return nil, nil
	}
	file := filepath.Join(dir, "ca.pem")
	return []string{"-ca-file", file}, os.WriteFile(file, s.ca.PEM(), 0o600)
}

// configure returns the declarative configuration with what its plugins need to reach the
// broker.
func (s *secure) configure(config []byte) ([]byte, error) {
	if s == nil {
		return config, nil
	}
	var root any
	if err := yaml.Load(config, &root); err != nil {
		return nil, err
	}
	eachPlugin(root, func(config map[string]any) {
		config["security"] = map[string]any{"ssl": true}
		config["authentication"] = map[string]any{
			"strategy": "sasl", "mechanism": secureMechanism, "user": secureUser, "password": securePassword,
		}
	})
	return yaml.Dump(root)
}

// how returns what the broker requires, for the welcome.
func (s *secure) how() string {
	if s == nil {
		return ""
	}
	return ", TLS and " + secureMechanism
}

// arguments returns the arguments of curl for a plugin made by the Admin API.
func (s *secure) arguments() string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf(` --data config.security.ssl=true \
    --data config.authentication.strategy=sasl --data config.authentication.mechanism=%s \
    --data config.authentication.user=%s --data config.authentication.password=%s \
   `, secureMechanism, secureUser, securePassword)
}

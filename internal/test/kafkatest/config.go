package kafkatest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"kafka-upstream/internal/test/testcert"
)

// Config says what cluster to start; its zero value is one broker of the newest
// release with a PLAINTEXT listener.
type Config struct {
	// Version is one of Versions; empty means the first.
	Version string

	// Brokers is 1 (also if 0) or 3. Each is a process that is broker and
	// controller, so of three any one can be lost. Their node ids count from 0.
	Brokers int

	// Properties are added to every broker's server.properties and win over
	// what this package sets there.
	Properties map[string]string

	// TLS, unless nil, adds an SSL listener; with SASL also a SASL_SSL one.
	TLS *TLS

	// SASL, unless nil, adds a SASL_PLAINTEXT listener.
	SASL *SASL

	// DelegationTokens lets users have tokens (KIP-48), see Cluster.CreateToken.
	DelegationTokens bool

	// Authorizer refuses every user what [Cluster.Allow] does not allow. Who
	// comes by the PLAINTEXT listener (User:ANONYMOUS) may do everything.
	Authorizer bool

	archive bool // the broker is to write an archive of its classes, see Prepare
}

// TLS is what the brokers show and ask for on their SSL and SASL_SSL listeners.
type TLS struct {
	// Certificate is all the brokers'. They are advertised as 127.0.0.1. The
	// key has to be PKCS #8, in the clear: Kafka reads no other.
	Certificate testcert.Pair

	// ClientCAs are whom clients' certificates have to be from, in PEM. Unless
	// it is empty, the SSL listener takes no client without one; its principal
	// is the certificate's subject, as in "User:CN=kong".
	ClientCAs []byte
}

// SASL holds the users by name, with their passwords.
type SASL struct {
	Plain map[string]string // PLAIN
	Scram map[string]string // SCRAM-SHA-256 and SCRAM-SHA-512
	OAuth *OAuth            // OAUTHBEARER, if not nil
}

// OAuth says which tokens Kafka's own validator takes by OAUTHBEARER: JWTs of this issuer
// for this audience. The principal is the token's subject.
type OAuth struct {
	JWKS     string // URL (http: or file:) of the keys that tokens are signed with
	Issuer   string
	Audience string
}

// Listener names one of a broker's doors.
type Listener string

// The listeners that a cluster may have; Plaintext it always has, for the
// brokers among themselves and for this package.
const (
	Plaintext     Listener = "PLAINTEXT"
	SSL           Listener = "SSL"
	SASLPlaintext Listener = "SASL_PLAINTEXT"
	SASLSSL       Listener = "SASL_SSL"

	controller Listener = "CONTROLLER"
)

func (c Config) listeners() []Listener {
	l := []Listener{controller, Plaintext}
	if c.TLS != nil {
		l = append(l, SSL)
	}
	if c.SASL != nil {
		l = append(l, SASLPlaintext)
		if c.TLS != nil {
			l = append(l, SASLSSL)
		}
	}
	return l
}

// properties is the server.properties of the broker id, whose files are in dir;
// addrs holds every broker's addresses.
func (c Config) properties(id int, dir string, addrs []map[Listener]string) map[string]string {
	var listen, advertise, voters []string
	for _, l := range c.listeners() {
		listen = append(listen, string(l)+"://"+addrs[id][l])
		if l != controller {
			advertise = append(advertise, string(l)+"://"+addrs[id][l])
		}
	}
	for i, a := range addrs {
		voters = append(voters, fmt.Sprintf("%d@%s", i, a[controller]))
	}
	replicas := strconv.Itoa(len(addrs))
	p := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        strconv.Itoa(id),
		"controller.quorum.voters":       strings.Join(voters, ","),
		"controller.listener.names":      string(controller),
		"inter.broker.listener.name":     string(Plaintext),
		"listeners":                      strings.Join(listen, ","),
		"advertised.listeners":           strings.Join(advertise, ","),
		"listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
		"log.dirs":                       filepath.Join(dir, "data"),

		// A test says which topics there are.
		"auto.create.topics.enable": "false",

		// A broker that was killed is given up after 3 s, not 9: till then its
		// partitions have no other leader, and it cannot come back.
		"broker.heartbeat.interval.ms": "500",
		"broker.session.timeout.ms":    "3000",

		// Small and quick.
		"num.network.threads":                      "2",
		"num.io.threads":                           "4",
		"log.cleaner.dedupe.buffer.size":           "2097152",
		"group.initial.rebalance.delay.ms":         "0",
		"offsets.topic.num.partitions":             "1",
		"offsets.topic.replication.factor":         replicas,
		"transaction.state.log.num.partitions":     "1",
		"transaction.state.log.min.isr":            "1",
		"transaction.state.log.replication.factor": replicas,
	}
	if c.TLS != nil {
		p["ssl.keystore.type"] = "PEM"
		p["ssl.keystore.location"] = filepath.Join(dir, "keystore.pem")
		if len(c.TLS.ClientCAs) > 0 {
			p["ssl.truststore.type"] = "PEM"
			p["ssl.truststore.location"] = filepath.Join(dir, "truststore.pem")
			p["listener.name.ssl.ssl.client.auth"] = "required"
		}
	}
	if c.SASL != nil {
		p["sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
		const scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
		for _, l := range []string{"sasl_plaintext", "sasl_ssl"} {
			p["listener.name."+l+".plain.sasl.jaas.config"] = c.SASL.plainJAAS()
			p["listener.name."+l+".scram-sha-256.sasl.jaas.config"] = scram
			p["listener.name."+l+".scram-sha-512.sasl.jaas.config"] = scram
		}
		if c.SASL.OAuth != nil {
			p["sasl.enabled.mechanisms"] += ",OAUTHBEARER"
			maps.Copy(p, c.SASL.OAuth.properties(c.Version))
		}
	}
	if c.DelegationTokens {
		p["delegation.token.secret.key"] = "known to the brokers of this test alone"
	}
	if c.Authorizer {
		p["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
		p["super.users"] = "User:ANONYMOUS"
	}
	maps.Copy(p, c.Properties)
	return p
}

func (s *SASL) plainJAAS() string {
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	var b strings.Builder
	b.WriteString("org.apache.kafka.common.security.plain.PlainLoginModule required")
	for _, user := range slices.Sorted(maps.Keys(s.Plain)) {
		fmt.Fprintf(&b, ` "user_%s"="%s"`, quote.Replace(user), quote.Replace(s.Plain[user]))
	}
	b.WriteString(";")
	return b.String()
}

func (o *OAuth) properties(version string) map[string]string {
	handler := "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler"
	if strings.HasPrefix(version, "3.") {
		handler = "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerValidatorCallbackHandler"
	}
	p := map[string]string{
		"sasl.oauthbearer.jwks.endpoint.url": o.JWKS,
		"sasl.oauthbearer.expected.issuer":   o.Issuer,
		"sasl.oauthbearer.expected.audience": o.Audience,
	}
	for _, l := range []string{"sasl_plaintext", "sasl_ssl"} {
		p["listener.name."+l+".oauthbearer.sasl.jaas.config"] = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
		p["listener.name."+l+".oauthbearer.sasl.server.callback.handler.class"] = handler
	}
	return p
}

// jvmFlags are what the brokers' JVMs need beside their properties: Kafka takes no URL for
// OAUTHBEARER that they do not allow.
func (c Config) jvmFlags() []string {
	if c.SASL == nil || c.SASL.OAuth == nil {
		return nil
	}
	return []string{"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=" + c.SASL.OAuth.JWKS}
}

// writeFiles puts what the broker reads at its start into dir.
func (c Config) writeFiles(id int, dir string, addrs []map[Listener]string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	files := map[string][]byte{"server.properties": formatProperties(c.properties(id, dir, addrs))}
	if c.TLS != nil {
		files["keystore.pem"] = slices.Concat(c.TLS.Certificate.Key, c.TLS.Certificate.Cert)
		files["truststore.pem"] = c.TLS.ClientCAs
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// formatProperties writes p as java.util.Properties.load reads it: Latin-1,
// with everything else and what has a meaning there escaped.
func formatProperties(p map[string]string) []byte {
	var b bytes.Buffer
	escape := func(s string) {
		for _, c := range utf16.Encode([]rune(s)) {
			switch {
			case c < ' ' || c > '~':
				fmt.Fprintf(&b, `\u%04x`, c)
			case strings.ContainsRune(`\ =:#!`, rune(c)):
				b.WriteByte('\\')
				b.WriteByte(byte(c))
			default:
				b.WriteByte(byte(c))
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(p)) {
		escape(key)
		b.WriteByte('=')
		escape(p[key])
		b.WriteByte('\n')
	}
	return b.Bytes()
}

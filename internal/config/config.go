// Package config reads the plugin's configuration as Kong hands it over.
package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"kafka-upstream/schema"
)

// Config is the configuration of one plugin instance, with Kong's names. Times
// are in milliseconds, as Kong has them; sizes in bytes. It is read-only once
// parsed, so it may be shared.
type Config struct {
	BootstrapServers list[Server]   `json:"bootstrap_servers"`
	Topic            string         `json:"topic"`
	Authentication   Authentication `json:"authentication"`
	Security         Security       `json:"security"`

	Timeout          Millis `json:"timeout"`
	Keepalive        Millis `json:"keepalive"`
	KeepaliveEnabled bool   `json:"keepalive_enabled"`
	ClusterName      string `json:"cluster_name"`

	ForwardMethod  bool `json:"forward_method"`
	ForwardURI     bool `json:"forward_uri"`
	ForwardHeaders bool `json:"forward_headers"`
	ForwardBody    bool `json:"forward_body"`

	Acks               int    `json:"producer_request_acks"`
	RequestTimeout     Millis `json:"producer_request_timeout"`
	MessagesPerRequest int    `json:"producer_request_limits_messages_per_request"`
	BytesPerRequest    int    `json:"producer_request_limits_bytes_per_request"`
	MaxAttempts        int    `json:"producer_request_retries_max_attempts"`
	Backoff            Millis `json:"producer_request_retries_backoff_timeout"`

	Async            bool   `json:"producer_async"`
	FlushTimeout     Millis `json:"producer_async_flush_timeout"`
	BufferedMessages int    `json:"producer_async_buffering_limits_messages_in_memory"`
	BufferedBytes    int64  `json:"producer_async_buffering_limits_bytes_in_memory"`
}

// Server is a broker's address.
type Server struct {
	Host string `json:"host"`
	Port int    `json:"port"`
}

// Address returns host:port, with an IPv6 address in brackets.
func (s Server) Address() string {
	host := s.Host
	if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
		host = host[1 : n-1]
	}
	return net.JoinHostPort(host, strconv.Itoa(s.Port))
}

// Authentication says who we are to the brokers. It prints without its secrets.
type Authentication struct {
	Strategy  string `json:"strategy"`
	Mechanism string `json:"mechanism"`
	User      string `json:"user"`
	Password  string `json:"password"`
	TokenAuth bool   `json:"tokenauth"`
}

var (
	_ slog.LogValuer = Authentication{}
	_ fmt.Formatter  = Authentication{}
)

// LogValue is what a log shows: the mechanism alone.
func (a Authentication) LogValue() slog.Value {
	if a.Mechanism == "" {
		return slog.StringValue("none")
	}
	return slog.StringValue(a.Mechanism + " (user and password redacted)")
}

// Format prints LogValue, whatever the verb, so that no %+v shows a secret.
func (a Authentication) Format(s fmt.State, _ rune) {
	_, _ = s.Write([]byte(a.LogValue().String()))
}

// Security says how connections to the brokers are protected.
type Security struct {
	SSL           bool   `json:"ssl"`
	SSLVerify     bool   `json:"ssl_verify"`
	CertificateID string `json:"certificate_id"`
}

// Millis is a time in milliseconds.
type Millis int64

// Duration returns m as a duration.
func (m Millis) Duration() time.Duration { return time.Duration(m) * time.Millisecond }

// list is a JSON array; an empty Lua table may also arrive as {}.
type list[T any] []T

func (l *list[T]) UnmarshalJSON(b []byte) error {
	if bytes.Equal(bytes.Join(bytes.Fields(b), nil), []byte("{}")) {
		*l = nil
		return nil
	}
	return json.Unmarshal(b, (*[]T)(l))
}

var defaults = sync.OnceValue(schema.Defaults)

// Parse reads the configuration that Kong sends with START. What is absent
// takes the schema's default; unknown keys (Kong adds some of its own) are
// passed over. The error names the field that has the wrong type, and holds
// no value of the configuration.
func Parse(b []byte) (*Config, error) {
	c := new(Config)
	if err := json.Unmarshal(defaults(), c); err != nil {
		return nil, fmt.Errorf("the schema's defaults do not fit the configuration: %w", err)
	}
	if err := json.Unmarshal(records(b), c); err != nil {
		return nil, plain(err)
	}
	return c, nil
}

// records returns b with empty arrays in the place of records made objects: an
// empty Lua table may arrive as either. Anything unexpected is left for
// Unmarshal to name.
func records(b []byte) []byte {
	if bytes.Equal(bytes.TrimSpace(b), []byte("[]")) {
		return []byte("{}")
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(b, &m) != nil {
		return b
	}
	changed := false
	for _, key := range []string{"authentication", "security"} {
		if v, ok := m[key]; ok && bytes.Equal(bytes.TrimSpace(v), []byte("[]")) {
			delete(m, key)
			changed = true
		}
	}
	if !changed {
		return b
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // raw messages that were just read
	}
	return b
}

// plain turns an error of encoding/json into a sentence without the value that
// caused it, which may be a secret.
func plain(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		field := e.Field
		if field == "" {
			return errors.New("the configuration is no JSON object")
		}
		return fmt.Errorf("%s has the wrong type: expected %s", field, kind(e))
	}
	return errors.New("the configuration is not JSON")
}

func kind(e *json.UnmarshalTypeError) string {
	switch k := e.Type.Kind().String(); k {
	case "int", "int64":
		return "an integer"
	case "bool":
		return "true or false"
	case "slice":
		return "an array"
	case "struct":
		return "an object"
	default:
		return "a " + k
	}
}

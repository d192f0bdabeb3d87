// Package config reads the plugin's configuration as Kong hands it over.
package config

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"kafka-upstream/internal/foreign"
)

// Config is the configuration of one plugin instance, with Kong's names. Times
// are in milliseconds, as Kong has them; sizes in bytes. It is read-only once
// parsed, so it may be shared.
type Config struct {
	BootstrapServers []Server       `json:"bootstrap_servers"`
	Authentication   Authentication `json:"authentication"`
	Security         Security       `json:"security"`

	Topic          string    `json:"topic"` // or a template of it
	TopicsQueryArg string    `json:"topics_query_arg"`
	AllowedTopics  []string  `json:"allowed_topics"`
	KeyQueryArg    string    `json:"key_query_arg"`
	RecordKey      RecordKey `json:"record_key"`
	Partitioner    string    `json:"partitioner"` // crc32, murmur2 or sticky

	Timeout          Millis `json:"timeout"`
	Keepalive        Millis `json:"keepalive"`
	KeepaliveEnabled bool   `json:"keepalive_enabled"`
	ClusterName      string `json:"cluster_name"`

	ForwardMethod  bool     `json:"forward_method"`
	ForwardURI     bool     `json:"forward_uri"`
	ForwardHeaders bool     `json:"forward_headers"`
	ForwardBody    bool     `json:"forward_body"`
	ExcludeHeaders []string `json:"exclude_headers"` // from the message

	Functions   []string `json:"message_by_lua_functions"` // chunks of Lua
	ValueFormat string   `json:"value_format"`             // message or body
	Tombstones  bool     `json:"tombstones"`
	Split       string   `json:"split"`       // none, json_array or ndjson
	SplitLimit  int      `json:"split_limit"` // in records

	Headers           Headers `json:"headers"` // of records
	TraceHeaders      bool    `json:"trace_headers"`
	TimestampHeader   string  `json:"timestamp_header"`
	CloudEvents       string  `json:"cloudevents"` // off, binary or structured
	CloudEventsSource string  `json:"cloudevents_source"`
	CloudEventsType   string  `json:"cloudevents_type"`

	SchemaRegistry SchemaRegistry `json:"schema_registry"`

	Response      Response      `json:"response"`
	ErrorHandling ErrorHandling `json:"error_handling"`

	Acks               int    `json:"producer_request_acks"`
	Idempotent         *bool  `json:"producer_idempotent"` // nil: with Acks -1
	RequestTimeout     Millis `json:"producer_request_timeout"`
	MessagesPerRequest int    `json:"producer_request_limits_messages_per_request"`
	BytesPerRequest    int    `json:"producer_request_limits_bytes_per_request"`
	Compression        string `json:"compression_type"` // none, gzip, snappy, lz4 or zstd
	MaxAttempts        int    `json:"producer_request_retries_max_attempts"`
	Backoff            Millis `json:"producer_request_retries_backoff_timeout"`

	Async            bool   `json:"producer_async"`
	FlushTimeout     Millis `json:"producer_async_flush_timeout"`
	BufferedMessages int    `json:"producer_async_buffering_limits_messages_in_memory"`
	BufferedBytes    int64  `json:"producer_async_buffering_limits_bytes_in_memory"`

	Durable bool `json:"producer_async_durable"` // records go through the spool (-spool)

	HealthGating     bool   `json:"producer_async_health_gating"`
	HealthFailures   int    `json:"producer_async_health_failure_threshold"`
	HealthProbe      Millis `json:"producer_async_health_probe_interval"`
	HealthRecoveries int    `json:"producer_async_health_recovery_threshold"`
	NewAsyncProducer bool   `json:"new_kafka_async_producer"` // no effect, as ClusterName

	PluginID string `json:"__plugin_id"` // of the plugin's entity in Kong, which adds it

	// violations is what a Kong with an older schema let pass, in Kong's words.
	violations []string
}

// RecordKey says what the keys of records are made of.
type RecordKey struct {
	Parts     []KeyPart `json:"parts"`
	Separator string    `json:"separator"`
	Required  bool      `json:"required"`
}

// KeyPart is a part of a key: see [record.KeyPart].
type KeyPart struct {
	From string `json:"from"`
	Name string `json:"name"`
}

// Headers says which headers of a request become headers of its records.
type Headers struct {
	Forward  bool              `json:"forward_http_headers_as_record_headers"`
	All      bool              `json:"forward_all_by_default"`
	Include  []string          `json:"include_headers"`
	Exclude  []string          `json:"exclude_headers"`
	Names    map[string]string `json:"name_mappings"`
	Repeated string            `json:"repeated_headers_behavior"`
}

// Response says what a client gets whose request succeeded.
type Response struct {
	Metadata bool `json:"metadata"` // topic, partition and offset of each record
	Status   int  `json:"status"`
}

// ErrorHandling says what a client gets whose request failed.
type ErrorHandling struct {
	ReturnErrorMessage bool `json:"return_error_message"` // the cause of a 502
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

	OAuthBearer OAuthBearer `json:"oauthbearer"`
	AWS         AWS         `json:"aws"`
}

// OAuthBearer says where the access tokens of the mechanism OAUTHBEARER come from.
type OAuthBearer struct {
	TokenEndpointURL string            `json:"token_endpoint_url"`
	ClientID         string            `json:"client_id"`
	ClientSecret     string            `json:"client_secret"`
	Scopes           []string          `json:"scopes"`
	Extensions       map[string]string `json:"extensions"` // of the SASL handshake
	TLSVerify        bool              `json:"token_endpoint_tls_verify"`
	TokenFile        string            `json:"token_file"` // instead of the token endpoint
}

var (
	_ slog.LogValuer = Authentication{}
	_ fmt.Formatter  = Authentication{}
	_ fmt.Formatter  = OAuthBearer{}
)

// LogValue is what a log shows: the mechanism alone.
func (a Authentication) LogValue() slog.Value {
	if a.Mechanism == "" {
		return slog.StringValue("none")
	}
	return slog.StringValue(a.Mechanism + " (credentials redacted)")
}

// Format prints LogValue, whatever the verb, so that no %+v shows a secret.
func (a Authentication) Format(s fmt.State, _ rune) {
	_, _ = s.Write([]byte(a.LogValue().String()))
}

// Format prints nothing of the credentials, whatever the verb.
func (OAuthBearer) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(foreign.Redacted)) }

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

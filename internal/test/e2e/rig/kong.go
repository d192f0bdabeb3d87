package rig

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"

	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongsim"
)

// Kong answers the calls of one request: as Replies says, and the others as for a POST of
// JSON.
type Kong struct {
	Body    *pb.RawBodyResult
	Replies map[string][]byte
	Before  func(method string) // called before each answer

	mu   sync.Mutex
	logs []string
}

// Answer answers a call of Kong's PDK.
func (k *Kong) Answer(method string, args []byte) ([]byte, bool) {
	if k.Before != nil {
		k.Before(method)
	}
	if b, ok := k.Replies[method]; ok {
		return b, true
	}
	var m proto.Message
	switch method {
	case "kong.request.get_method":
		m = &pb.String{V: "POST"}
	case "kong.request.get_path_with_query":
		m = &pb.String{V: "/"}
	case "kong.request.get_raw_query":
		m = &pb.String{}
	case "kong.request.get_headers":
		return ContentType("application/json"), true
	case "kong.request.get_raw_body":
		m = k.Body
		if k.Body == nil {
			m = Inline(`{"a":1}`)
		}
	case "kong.log.err":
		k.mu.Lock()
		defer k.mu.Unlock()
		k.logs = append(k.logs, string(args))
		return nil, true
	default:
		return nil, false
	}
	b, err := proto.Marshal(m)
	return b, err == nil
}

// Log returns what Kong's error log has of this request.
func (k *Kong) Log() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.logs, "\n")
}

// ContentType is what Kong says of the headers of a request with that content type alone.
func ContentType(value string) []byte {
	const name = "\x0a\x0ccontent-type"
	inner := append([]byte{0x1a, byte(len(value))}, value...)
	inner = append([]byte{0x12, byte(len(inner))}, inner...)
	return append(append([]byte{0x0a, byte(len(name) + len(inner))}, name...), inner...)
}

// Inline is a body that Kong has in memory.
func Inline(s string) *pb.RawBodyResult {
	return &pb.RawBodyResult{Kind: &pb.RawBodyResult_Content{Content: []byte(s)}}
}

// InFile is a body that Kong has in a file.
func InFile(path string) *pb.RawBodyResult {
	return &pb.RawBodyResult{Kind: &pb.RawBodyResult_BodyFilepath{BodyFilepath: path}}
}

// ClosedPort returns an address where nobody listens.
func ClosedPort(t testing.TB) string {
	t.Helper()
	return kafkatest.ClosedPort(t)
}

// Settings returns a configuration for topic "t" as Kong hands it over.
func Settings(t testing.TB, brokers []string, more map[string]any) []byte {
	t.Helper()
	var servers []map[string]any
	for _, b := range brokers {
		host, port, err := net.SplitHostPort(b)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, map[string]any{"host": host, "port": n})
	}
	m := map[string]any{"topic": "t", "bootstrap_servers": servers, "producer_async_flush_timeout": 5}
	maps.Copy(m, more)
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var plugins atomic.Int64

// NewPlugin returns a plugin of its own with that configuration.
func NewPlugin(config []byte) *kongsim.Plugin {
	return &kongsim.Plugin{ID: fmt.Sprint("p", plugins.Add(1)), Name: "kafka-upstream", Seq: 1, Config: config}
}

// SendN sends n requests and returns how many were answered 200.
func SendN(t *testing.T, w *kongsim.Worker, p *kongsim.Plugin, n int) (accepted int) {
	t.Helper()
	for i := range n {
		exit, err := w.HandleEvent(t.Context(), p, &Kong{Body: Inline(`[` + strconv.Itoa(i) + `]`)})
		if err != nil {
			t.Fatal(err)
		}
		if exit.Status == 200 {
			accepted++
		}
	}
	return accepted
}

// Package kongpdk is the door for Kong's protocol of external plugins: protobuf messages
// (go-pdk's) in frames over a unix socket. It starts and closes the instances of one
// plugin, finds out about each request what its [plugin.Handler] needs, and writes the
// handler's response.
//
// It stands in the place of go-pdk's StartServer, which cannot carry a rich
// schema, forgets instances, dies with a panic, fails on bytes that are not
// UTF-8 and needs several times the system calls; docs/protocol.md has the
// facts about Kong that it builds on.
package kongpdk

import (
	"encoding/json"
	"time"

	"kafka-upstream/internal/plugin"
)

// Plugin is the plugin that a [Server] serves.
type Plugin struct {
	Name     string
	Version  string
	Priority int             // Kong runs plugins of a higher priority first
	Schema   json.RawMessage // in Kong's schema language

	// Start makes the handler of a configuration, which is JSON as Kong sends it and
	// only valid during the call. It cannot fail, and may be called from many goroutines.
	Start func(config []byte) plugin.Handler

	// Invalid makes a handler that refuses every request, for that reason: one of a
	// plugin that is not served here. It cannot fail.
	Invalid func(reason error) plugin.Handler

	// Answered is told of each request that was answered, and how long that took.
	Answered func(reason plugin.Reason, took time.Duration)
}

// phase is the only phase that is served.
const phase = "access"

// Dump returns what Kong asks for with the query command: who the plugin is,
// and where its socket is.
func (p *Plugin) Dump(socket string) ([]byte, error) {
	type info struct {
		Name     string
		Version  string
		Priority int
		Phases   []string
		Schema   json.RawMessage
	}
	return json.Marshal(struct {
		Protocol   string
		SocketPath string
		Plugins    []info
	}{
		"ProtoBuf:1", socket,
		[]info{{p.Name, p.Version, p.Priority, []string{phase}, p.Schema}},
	})
}

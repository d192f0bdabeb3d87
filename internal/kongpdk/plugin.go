// Package kongpdk is the door for Kong's protocol of external plugins: protobuf messages
// (go-pdk's) in frames over a unix socket. It starts and closes the instances of one plugin,
// asks Kong for the parts of each request that its [plugin.Handler] needs, and sends the
// handler's response.
//
// It replaces go-pdk's StartServer, which cannot carry a rich schema, forgets instances, dies
// with a panic, fails on bytes that are not UTF-8, and needs several times the system calls.
// docs/protocol.md has the facts about Kong that it relies on.
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

	// Start makes the handler of a configuration: JSON as Kong sends it, valid only during
	// the call. It cannot fail, and may be called from many goroutines.
	Start func(config []byte) plugin.Handler

	// Invalid makes the handler of a plugin that is not served here: it refuses every
	// request, for that reason. It cannot fail.
	Invalid func(reason error) plugin.Handler

	// Answered is called for each request that was answered, with how long that took.
	Answered func(reason plugin.Reason, took time.Duration)
}

// phase is the only phase that is served.
const phase = "access"

// Dump returns the answer to Kong's query command: the plugin's description, and the path of
// its socket.
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

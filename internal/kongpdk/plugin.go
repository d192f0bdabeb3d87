// Package kongpdk speaks Kong's protocol for external plugins: protobuf
// messages (go-pdk's) in frames over a unix socket. It starts and closes
// instances of one plugin, and hands each request to its instance as an
// [Exchange].
//
// It stands in the place of go-pdk's StartServer, which cannot carry a rich
// schema, forgets instances, dies with a panic, fails on bytes that are not
// UTF-8 and needs several times the system calls; docs/protocol.md has the
// facts about Kong that it builds on.
package kongpdk

import (
	"encoding/json"
	"time"
)

// Plugin is the plugin that a [Server] serves.
type Plugin struct {
	Name     string
	Version  string
	Priority int             // Kong runs plugins of a higher priority first
	Schema   json.RawMessage // in Kong's schema language

	// Start makes an instance of the configuration, which is JSON as Kong sends
	// it. It cannot fail: an instance of a configuration that is no good answers
	// each request by saying so. It may be called from many goroutines, and the
	// configuration is only valid during the call.
	Start func(config []byte) Instance

	// Refuse, unless nil, makes an instance that refuses every request, for that reason:
	// one of a plugin that is not served here. Like Start it cannot fail.
	Refuse func(reason error) Instance

	// Panicked, unless nil, is told of each request whose handling has panicked
	// and that was answered with 500 for that, and when the request came.
	Panicked func(began time.Time)
}

// Instance handles the requests of one configuration. Kong starts one for each
// of its workers, and starts all anew after any change.
type Instance interface {
	// Asks returns what is asked of Kong for each request, in one write, before
	// Access is called. It is called once, when the instance starts.
	Asks() *Asks

	// Access handles one request and answers it with [Exchange.Exit]. Kong goes
	// on to the upstream service if it returns without. It is called from many
	// goroutines, and it may block. A panic of it is answered with 500.
	Access(*Exchange)

	// Close tells that Kong will send no further request to the instance.
	// Requests that are under way may still be in Access. Kong does not close
	// the instances of plugins that were deleted.
	Close()
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

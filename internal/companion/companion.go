// Package companion is the door for the companion handler: two Lua files, which Kong runs in
// its own process under the plugin's name. They send what a configuration needs of a request
// in one frame, over one connection for each worker of Kong, on which any number of requests
// are under way at once. docs/companion.md has the frames.
//
// Kong's plugin protocol costs Kong a connection, a coroutine and several calls for each
// request. Through this door a request costs it about as much as a handler that hands nothing
// over.
package companion

import (
	"strings"
	"time"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/plugin"
)

// Plugin is the plugin that a [Server] serves.
type Plugin struct {
	// Version is the release of this program, for the handler to compare with its own.
	Version string

	// Start makes the handler of a configuration: JSON as Kong has it, valid only during the
	// call. It cannot fail, and may be called from many goroutines.
	Start func(config []byte) plugin.Handler

	// Certificate is called with a certificate of Kong's that a configuration names: its id,
	// and PEM. The bytes are valid only during the call. It may be nil.
	Certificate func(id string, cert, key []byte)

	// Answered is called for each request that was answered, with how long that took.
	Answered func(reason plugin.Reason, took time.Duration)
}

// Options of a [Server].
type Options struct {
	// Memory is the limit that large frames and bodies count against. nil is no limit.
	Memory *memory.Limit
}

// Path returns where the companion's socket is: beside that of the plugin protocol, so that
// the handler finds it by Kong's own settings.
func Path(socket string) string {
	return strings.TrimSuffix(socket, ".socket") + "-companion.socket"
}

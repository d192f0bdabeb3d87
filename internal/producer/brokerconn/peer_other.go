//go:build !linux

package brokerconn

import "net"

// peer knows no state on systems without POLLRDHUP: that the broker has closed a connection
// shows only when a write fails.
type peer struct{}

type peerState int

const (
	quiet peerState = iota
	readable
	closed
)

func (*peer) init(net.Conn)    {}
func (*peer) state() peerState { return quiet }

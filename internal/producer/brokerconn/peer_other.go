//go:build !linux

package brokerconn

import "net"

// peer knows no state where there is no poll with POLLRDHUP: a connection that the broker
// has closed is noticed by a write that fails.
type peer struct{}

type peerState int

const (
	quiet peerState = iota
	readable
	closed
)

func (*peer) init(net.Conn)   {}
func (*peer) look() peerState { return quiet }

//go:build !linux

package kongpdk

import "net"

// polled is nothing where there are no loops.
type polled struct{}

func (*polled) leave(*conn) {}

func (s *Server) serveLoops(*net.UnixListener) (served bool, err error) { return false, nil }

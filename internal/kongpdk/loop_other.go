//go:build !linux

package kongpdk

import "net"

func (s *Server) serveLoops(*net.UnixListener) (served bool, err error) { return false, nil }

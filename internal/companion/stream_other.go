//go:build !unix

package companion

import (
	"net"
	"time"
)

// stream is a connection.
type stream struct{ net.Conn }

func newStream(nc net.Conn) (stream, error) { return stream{nc}, nil }

func (s stream) read(b []byte, limit time.Duration) (int, error) {
	_ = s.SetReadDeadline(time.Now().Add(limit))
	return s.Read(b)
}

func (s stream) write(b []byte, limit time.Duration) error {
	_ = s.SetWriteDeadline(time.Now().Add(limit))
	_, err := s.Write(b)
	return err
}

func (s stream) hangUp() { _ = s.Close() }
func (s stream) close()  {}

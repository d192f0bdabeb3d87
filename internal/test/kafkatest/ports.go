package kafkatest

import (
	"net"
	"strconv"
	"testing"

	"kafka-upstream/internal/test/child"
)

// ClosedPort returns an address of 127.0.0.1 where nothing listens. No other test is
// given its port until the end of t, so t may have something listen there later.
func ClosedPort(t testing.TB) string {
	t.Helper()
	l, err := child.LeasePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Release)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Ports[0]))
}

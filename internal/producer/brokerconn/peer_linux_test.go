package brokerconn

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go/protocol/apiversions"

	"kafka-upstream/internal/test/testcert"
)

// The end of an idle connection is there to be seen before anything is written to it:
// with acks 0 nobody would learn that the records are lost.
func TestConnectionThatTheBrokerHasClosedIsNotWritten(t *testing.T) {
	authority := testcert.New("authority")
	for name, o := range map[string]Options{"plaintext": {}, "TLS": {Broker: "127.0.0.1:9092", TLS: &tls.Config{RootCAs: authority.Pool()}}} {
		for how, end := range map[string]func(*net.TCPConn){
			"closed":      func(c *net.TCPConn) { _ = c.Close() },
			"half closed": func(c *net.TCPConn) { _ = c.CloseWrite() },
			"reset":       func(c *net.TCPConn) { _, _ = c.SetLinger(0), c.Close() },
		} {
			for _, acks := range []int16{0, 1} {
				t.Run(name+" "+how, func(t *testing.T) {
					conn, broker := dial(t, o)
					var server net.Conn = broker
					if o.TLS != nil {
						server = tls.Server(broker, authority.ServerConfig("127.0.0.1"))
					}
					warm(t, conn, server)
					end(broker)
					arrived(t, conn, closed)
					err := ask(conn, 8, 9, producing(acks))
					e, ok := errors.AsType[*Error](err)
					if !ok || !e.Unsent() || !e.Stale() || e.NotKafka() || !strings.Contains(e.Error(), conn.options.Broker) {
						t.Errorf("%v", err)
					}
				})
			}
		}
	}
}

// A peer that ends each connection once it has greeted is not asked again and again
// without a pause.
func TestConnectionThatWasNotInUseIsNotStale(t *testing.T) {
	conn, broker := dial(t, Options{})
	go answering(broker, healthy)
	if err := ask(conn, 0, 1, new(apiversions.Request)); err != nil {
		t.Fatal(err)
	}
	_ = broker.Close()
	arrived(t, conn, closed)
	err := ask(conn, 8, 9, producing(1))
	if e, ok := errors.AsType[*Error](err); !ok || !e.Unsent() || e.Stale() {
		t.Errorf("%v", err)
	}
}

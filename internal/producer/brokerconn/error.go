package brokerconn

import "strconv"

// Error is what ended a connection to a broker. It names the broker, and unwraps to the
// error of the network, of TLS or of Kafka, if there is one; an end of the connection
// is io.ErrUnexpectedEOF.
type Error struct {
	broker   string
	what     string
	err      error
	notKafka bool
	unsent   bool
	stale    bool
}

func (e *Error) Error() string { return "broker " + e.broker + ": " + e.what }
func (e *Error) Unwrap() error { return e.err }

// NotKafka reports whether the peer sent what no Kafka broker sends: bytes of another
// protocol, an answer to another request, or a malformed one.
func (e *Error) NotKafka() bool { return e.notKafka }

// Unsent reports whether the failed request sent no record, and no broker rejected the
// login.
func (e *Error) Unsent() bool { return e.unsent }

// Stale reports whether nothing of the request was sent because the broker had closed, or was
// about to close, a connection that had been in use: another connection may work.
func (e *Error) Stale() bool { return e.stale }

// quoted is how many received bytes an error shows: enough for "HTTP/1.1 400".
const quoted = 12

func quote(b []byte) string { return strconv.Quote(string(b[:min(len(b), quoted)])) }

// looksLikeTLS reports whether b begins like a TLS record, an alert or a handshake
// (RFC 8446, section 5.1).
func looksLikeTLS(b []byte) bool {
	return len(b) > 1 && (b[0] == 21 || b[0] == 22) && b[1] == 3
}

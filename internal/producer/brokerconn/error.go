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
// protocol, an answer to another request, or one that is not well formed.
func (e *Error) NotKafka() bool { return e.notKafka }

// Unsent reports whether no record went out by the request that met the error, and no
// broker said no to who we are.
func (e *Error) Unsent() bool { return e.unsent }

// Stale reports whether the broker had ended a connection that had been in use before,
// and nothing of the request went out: another connection may do.
func (e *Error) Stale() bool { return e.stale }

// quoted is how much of what came an error shows: enough for "HTTP/1.1 400".
const quoted = 12

func quote(b []byte) string { return strconv.Quote(string(b[:min(len(b), quoted)])) }

// looksLikeTLS reports whether b begins as a TLS record does, an alert or a handshake
// (RFC 8446, section 5.1).
func looksLikeTLS(b []byte) bool {
	return len(b) > 1 && (b[0] == 21 || b[0] == 22) && b[1] == 3
}

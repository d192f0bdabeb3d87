package metrics

// Reason is why a request was answered as it was. Each has its status, as the
// table of answers in docs/answers.md says.
type Reason uint8

// The reasons there are. The first is the zero value, so that one which was
// forgotten is never taken for a success.
const (
	Unexpected    Reason = iota // Kong's replies could not be understood
	Sent                        // accepted; or acknowledged, without producer_async
	BadBody                     // the body cannot be parsed as what it claims to be
	TooLarge                    // the message is above the limit
	NotDelivered                // all attempts failed
	TimedOut                    // not acknowledged in time; it may still be delivered
	BufferFull                  // refused
	MemoryFull                  // refused: the process holds as much as it may
	ShuttingDown                // refused
	NoCertificate               // the certificate of the configuration cannot be loaded
	BadConfig                   // the configuration cannot be used
	NoBody                      // the body cannot be read
	Panic                       // the request's handling has panicked
	reasons
)

var reasonTable = [reasons]struct {
	name   string
	status int
}{
	Unexpected:    {"unexpected", 500},
	Sent:          {"sent", 200},
	BadBody:       {"bad_body", 400},
	TooLarge:      {"too_large", 413},
	NotDelivered:  {"not_delivered", 502},
	TimedOut:      {"timed_out", 502},
	BufferFull:    {"buffer_full", 503},
	MemoryFull:    {"memory_full", 503},
	ShuttingDown:  {"shutting_down", 503},
	NoCertificate: {"no_certificate", 502},
	BadConfig:     {"bad_config", 500},
	NoBody:        {"no_body", 500},
	Panic:         {"panic", 500},
}

// String returns the value of the label reason.
func (r Reason) String() string {
	if r >= reasons {
		r = Unexpected
	}
	return reasonTable[r].name
}

// Status returns the HTTP status of the answer.
func (r Reason) Status() int {
	if r >= reasons {
		r = Unexpected
	}
	return reasonTable[r].status
}

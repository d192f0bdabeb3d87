package awsiam

import (
	"crypto/rand"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"kafka-upstream/internal/foreign"
)

// redacted is embedded in every type that holds a secret, and is all that shows of it
// however it is printed, logged or marshalled.
type redacted struct{}

var (
	_ fmt.Formatter          = redacted{}
	_ encoding.TextMarshaler = redacted{}
)

// Format implements fmt.Formatter for all verbs.
func (redacted) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, foreign.Redacted) }

// MarshalText implements encoding.TextMarshaler; JSON and slog use it.
func (redacted) MarshalText() ([]byte, error) { return []byte(foreign.Redacted), nil }

// Format implements fmt.Formatter; see [Options].
func (Options) Format(f fmt.State, verb rune) { redacted{}.Format(f, verb) }

// LogValue implements slog.LogValuer; see [Options].
func (Options) LogValue() slog.Value { return slog.StringValue(foreign.Redacted) }

// digestKey makes digests of this process worthless outside it.
var digestKey = rand.Text()

// MarshalText implements encoding.TextMarshaler: in JSON, Options are a digest. Within a
// process it is the same for equal Options and differs for others, so that owners can put it
// into the keys by which they share what they make with Options.
func (o Options) MarshalText() ([]byte, error) {
	type plain Options // without methods
	b, err := json.Marshal(plain(o))
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%s %x", foreign.Redacted, mac([]byte(digestKey), string(b))), nil
}

package awsiam

import (
	"encoding"
	"fmt"
	"io"
)

// redacted is embedded in every type that holds a secret, and is all that shows of it
// however it is printed, logged or marshalled.
type redacted struct{}

var (
	_ fmt.Formatter          = redacted{}
	_ encoding.TextMarshaler = redacted{}
)

// Format implements fmt.Formatter for all verbs.
func (redacted) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// MarshalText implements encoding.TextMarshaler; JSON and slog use it.
func (redacted) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// Format implements fmt.Formatter; see [Options].
func (Options) Format(f fmt.State, verb rune) { redacted{}.Format(f, verb) }

// MarshalText implements encoding.TextMarshaler; see [Options].
func (Options) MarshalText() ([]byte, error) { return redacted{}.MarshalText() }

package sasl

import (
	"encoding"
	"fmt"
	"io"
)

// redacted is embedded in every type that holds a secret, and is all that shows of it
// however it is printed, logged or marshalled: without a method of its own, fmt would print
// the type's fields, unexported ones included.
type redacted struct{}

const shown = "[redacted]"

var (
	_ fmt.Formatter          = redacted{}
	_ encoding.TextMarshaler = redacted{}
)

// Format implements fmt.Formatter for all verbs.
func (redacted) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, shown) }

// MarshalText implements encoding.TextMarshaler; JSON and slog use it.
func (redacted) MarshalText() ([]byte, error) { return []byte(shown), nil }

package security

import (
	"encoding"
	"fmt"
	"io"
	"log/slog"
)

// redacted is embedded in what holds a secret, and is all that shows of it
// however it is printed. fmt reads the fields of a value that has no method of
// its own, unexported ones included, so each type that holds a secret needs it.
type redacted string

var (
	_ fmt.Formatter          = redacted("")
	_ fmt.Stringer           = redacted("")
	_ fmt.GoStringer         = redacted("")
	_ slog.LogValuer         = redacted("")
	_ encoding.TextMarshaler = redacted("")
)

func (r redacted) String() string               { return string(r) }
func (r redacted) GoString() string             { return string(r) }
func (r redacted) Format(f fmt.State, _ rune)   { io.WriteString(f, string(r)) }
func (r redacted) LogValue() slog.Value         { return slog.StringValue(string(r)) }
func (r redacted) MarshalText() ([]byte, error) { return []byte(r), nil }

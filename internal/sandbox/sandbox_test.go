package sandbox

import (
	"testing"
	"time"

	glua "github.com/yuin/gopher-lua"
)

var testLimits = Limits{Instructions: 100_000, Bytes: 16 << 20, Time: 5 * time.Second}

// eval runs a chunk in a new state and returns its first result as tostring writes it, or
// the error's text.
func eval(t testing.TB, source string) string {
	t.Helper()
	p, err := Compile("test", source)
	if err != nil {
		return err.Error()
	}
	s := New(testLimits)
	v, err := s.Run(p)
	if err != nil {
		return err.Error()
	}
	switch v := v.(type) {
	case glua.LNumber:
		return formatNumber(float64(v))
	}
	return v.String()
}

package kongsim

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Header is one line of a response's header.
type Header struct{ Name, Value string }

// Exit is the response that a plugin ended its request with
// (kong.response.exit).
type Exit struct {
	Status  int
	Headers []Header
	Body    []byte
}

// Header returns the first value of the header with that name, whatever its
// case, and "" if there is none.
func (e *Exit) Header(name string) string {
	for _, h := range e.Headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// parseExit decodes ExitArgs and refuses what kong.response.exit refuses.
func parseExit(b []byte) (*Exit, error) {
	e := &Exit{}
	err := eachField(b, func(n protowire.Number, f field) error {
		switch n {
		case 1:
			e.Status = int(int32(f.num))
		case 2:
			e.Body = append([]byte(nil), f.bytes...)
		case 3:
			pairs, err := decodeStruct(f.bytes, 0)
			if err != nil {
				return err
			}
			for _, p := range pairs {
				values, ok := p.value.([]any)
				if !ok {
					values = []any{p.value}
				}
				for _, v := range values {
					s, ok := headerValue(v)
					if !ok || !validHeader(p.name, s) {
						return fmt.Errorf("header %q of kong.response.exit cannot be sent", p.name)
					}
					e.Headers = append(e.Headers, Header{p.name, s})
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if e.Status < 100 || e.Status > 599 {
		return nil, fmt.Errorf("code must be a number between 100 and 599, not %d", e.Status)
	}
	return e, nil
}

func headerValue(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return formatNumber(v), true
	}
	return "", false
}

func validHeader(name, value string) bool {
	return name != "" && !strings.ContainsAny(name, "\r\n\x00: ") && !strings.ContainsAny(value, "\r\n\x00")
}

// formatNumber writes a number as Lua's tostring does.
func formatNumber(v float64) string { return strconv.FormatFloat(v, 'g', 14, 64) }

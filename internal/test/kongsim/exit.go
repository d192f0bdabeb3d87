package kongsim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
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
	var args pb.ExitArgs
	if err := proto.Unmarshal(b, &args); err != nil {
		return nil, errBadMessage
	}
	e := &Exit{Status: int(args.Status), Body: args.Body}
	if e.Status < 100 || e.Status > 599 {
		return nil, fmt.Errorf("code must be a number between 100 and 599, not %d", e.Status)
	}
	for name, value := range args.Headers.GetFields() {
		values := []*structpb.Value{value}
		if list := value.GetListValue(); list != nil {
			values = list.Values
		}
		for _, v := range values {
			text := v.GetStringValue()
			if text == "" || name == "" || strings.ContainsAny(name, "\r\n\x00: ") || strings.ContainsAny(text, "\r\n\x00") {
				return nil, fmt.Errorf("header %q of kong.response.exit cannot be sent", name)
			}
			e.Headers = append(e.Headers, Header{name, text})
		}
	}
	slices.SortStableFunc(e.Headers, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
	return e, nil
}

// formatNumber writes a number as Lua's tostring does.
func formatNumber(v float64) string { return strconv.FormatFloat(v, 'g', 14, 64) }

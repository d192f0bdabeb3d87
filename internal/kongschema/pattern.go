package kongschema

import (
	"fmt"
	"regexp"
	"strings"
)

var luaClasses = map[byte]string{'w': "0-9A-Za-z", 'd': "0-9", 'a': "A-Za-z", 'u': "A-Z", 'l': "a-z", 's': `\s`}

// compile translates a Lua pattern of classes, sets, *, +, ? and anchors into a regular
// expression.
func compile(lua string) (*regexp.Regexp, error) {
	var out strings.Builder
	out.WriteString("(?s)")
	inSet := false
	for i := 0; i < len(lua); i++ {
		switch c := lua[i]; {
		case c == '%' && i+1 < len(lua):
			i++
			class, known := luaClasses[lua[i]]
			switch {
			case known && inSet:
				out.WriteString(class)
			case known:
				out.WriteString("[" + class + "]")
			case lua[i] >= '0' && lua[i] <= '9' || lua[i] >= 'A' && lua[i] <= 'Z' || lua[i] >= 'a' && lua[i] <= 'z':
				return nil, fmt.Errorf("%%%c in the Lua pattern %q is not known here", lua[i], lua)
			default:
				out.WriteString(`\` + lua[i:i+1])
			}
		case c == '[':
			inSet = true
			out.WriteByte(c)
		case c == ']':
			inSet = false
			out.WriteByte(c)
		case c == '-' && !inSet || strings.IndexByte("%(){}|", c) >= 0:
			return nil, fmt.Errorf("%c in the Lua pattern %q is not known here", c, lua)
		case c == '\\':
			out.WriteString(`\\`)
		default:
			out.WriteByte(c)
		}
	}
	return regexp.Compile(out.String())
}

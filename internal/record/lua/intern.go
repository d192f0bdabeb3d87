package lua

import (
	"strings"

	glua "github.com/yuin/gopher-lua"
)

// interner gives equal short strings one value, because many of a message's come again with
// the next one, and a string in an LValue takes an allocation.
type interner [256]glua.LValue

const maxInterned = 40 // bytes

func (in *interner) value(s string) glua.LValue {
	if len(s) > maxInterned {
		return glua.LString(s)
	}
	h := uint32(2166136261) // FNV-1a
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	slot := &in[(h^h>>8^h>>16)%uint32(len(in))]
	if v, ok := (*slot).(glua.LString); ok && string(v) == s {
		return *slot
	}
	v := glua.LString(strings.Clone(s)) // it would hold the whole message
	*slot = v
	return v
}

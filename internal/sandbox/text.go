package sandbox

import (
	"strings"

	glua "github.com/yuin/gopher-lua"
)

// text is a string that is being made. It charges for its memory before it takes it.
type text struct {
	l *glua.LState
	b strings.Builder
}

// room makes room for n more bytes.
func (t *text) room(n int) {
	if have := t.b.Cap() - t.b.Len(); have < n {
		Charge(t.l, 1+t.b.Len()/256, int64(2*t.b.Cap()+n)) // what Grow takes
		t.b.Grow(n)
	}
}

func (t *text) byte(c byte) {
	t.room(1)
	t.b.WriteByte(c)
}

func (t *text) string(s string) {
	t.room(len(s))
	t.b.WriteString(s)
}

func (t *text) bytes(b []byte) {
	t.room(len(b))
	t.b.Write(b)
}

// push pushes the finished string.
func (t *text) push() int {
	Charge(t.l, 1+t.b.Len()/256, 16)
	t.l.Push(glua.LString(t.b.String()))
	return 1
}

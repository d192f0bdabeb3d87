package record

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// pointer is a JSON pointer (RFC 6901): its reference tokens, unescaped.
type pointer []string

// newPointer returns the pointer that text stands for. A text that does not begin with "/"
// is the name of a member; the empty text is the whole body.
func newPointer(text string) (pointer, error) {
	if text == "" {
		return nil, nil
	}
	if text[0] != '/' {
		return pointer{text}, nil
	}
	p := pointer(strings.Split(text[1:], "/"))
	for i, token := range p {
		bare := strings.ReplaceAll(strings.ReplaceAll(token, "~0", ""), "~1", "")
		if strings.Contains(bare, "~") {
			return nil, fmt.Errorf("%q is not a JSON pointer: ~ is written ~0, and / within a name ~1", text)
		}
		p[i] = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
	}
	return p, nil
}

// find returns the JSON text of the value in s that p points to, nil if there is none. Of
// the members of an object with the same name the last one counts, as in the message. All of
// s is read: the error says that it is not JSON.
func (p pointer) find(s []byte) ([]byte, error) {
	if !utf8.Valid(s) {
		return nil, ErrJSONText
	}
	i := skipSpace(s, 0)
	var value []byte
	var end int
	if len(p) > 0 {
		value, end = child(s, i, p[0])
		p = p[1:]
	} else if end = skipValue(s, i); end <= len(s) {
		value = s[i:end]
	}
	if end = skipSpace(s, end); end < len(s) {
		return nil, ErrJSON
	}
	if err := jsonError(s, end); err != nil {
		return nil, err
	}
	for _, token := range p {
		if value == nil {
			break
		}
		value, _ = child(value, 0, token)
	}
	return value, nil
}

// child returns the member or element, named by token, of the value that begins at s[i], nil
// if there is none, and the position after that value, as a skip function does.
func child(s []byte, i int, token string) (value []byte, end int) {
	if i >= len(s) || s[i] != '{' && s[i] != '[' {
		return nil, skipValue(s, i)
	}
	c := newCursor(s, i, MaxNesting-1)
	index := -1
	if !c.object {
		index = arrayIndex(token)
	}
	for n := 0; ; n++ {
		name, v, ok := c.next()
		if !ok {
			return value, c.i
		}
		if n == index || c.object && sameName(name, token) {
			value = v
		}
	}
}

// arrayIndex returns the index that a reference token is, -1 if it is none.
func arrayIndex(token string) int {
	n, err := strconv.Atoi(token)
	if err != nil || strconv.Itoa(n) != token || n < 0 {
		return -1
	}
	return n
}

// sameName reports whether a name, with its escapes, is that text.
func sameName(name []byte, text string) bool {
	if bytes.IndexByte(name, '\\') < 0 {
		return string(name) == text
	}
	var buffer [64]byte
	return string(appendUnescaped(buffer[:0], name)) == text
}

// scalar returns the text of a JSON value: a string without its quotes, and whether it may
// have escapes; a number, true or false as it is written. It is not ok for null, objects and
// arrays.
func scalar(value []byte) (text []byte, escaped, ok bool) {
	if len(value) == 0 {
		return nil, false, false
	}
	switch value[0] {
	case 'n', '{', '[':
		return nil, false, false
	case '"':
		text = value[1 : len(value)-1]
		return text, bytes.IndexByte(text, '\\') >= 0, true
	}
	return value, false, true
}

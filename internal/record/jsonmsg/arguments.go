package jsonmsg

import (
	"bytes"

	"kafka-upstream/internal/record/media"
)

// maxArguments is how many pairs of a query or form, and how many parts of a
// multipart body, become arguments. Those beyond are only in uri and body.
const maxArguments = media.MaxPairs

// appendArguments appends the object that a query or a form stands for. Pairs
// are split at "&" alone and at their first "="; a name without "=" has the
// value true; a pair without a name counts for the limit, and is dropped.
func appendArguments(dst, query []byte) []byte {
	if len(query) == 0 {
		return append(dst, "{}"...)
	}
	o := newObject()
	defer o.free()
	for n := 0; n < maxArguments && len(query) > 0; n++ {
		var pair []byte // as media.CutPair has it, which takes longer
		pair, query, _ = bytes.Cut(query, ampersand)
		name, value, hasValue := bytes.Cut(pair, equals)
		if len(name) == 0 {
			continue
		}
		kind := trueValue
		if hasValue {
			kind = formValue
		}
		o.add(o.utf8Name(o.decode(name)), value, kind)
	}
	return o.appendTo(dst)
}

var (
	ampersand = []byte{'&'}
	equals    = []byte{'='}
)

// decode returns s as media.AppendDecoded does. The result is s, or in o.text.
func (o *object) decode(s []byte) []byte {
	if !media.Encoded(s) {
		return s
	}
	from := len(o.text)
	o.text = media.AppendDecoded(o.text, s)
	return o.text[from:]
}

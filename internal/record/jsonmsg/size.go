package jsonmsg

import (
	"encoding/base64"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"

	"kafka-upstream/internal/record/media"
	"kafka-upstream/internal/request"
)

// Size estimates the length of the message of r, in bytes: least is a lower bound if the
// message can be made at all, and most is how much memory to allocate. The message is
// longer than most only if arguments grow by their encoding, such as those of a form made
// of control characters.
//
// Size reads the whole body, which pays for a large one: [Append] then writes into memory
// of the right size, and nothing is copied.
func Size(r *request.Request, parts request.Fields) (least, most int) {
	const around = 256 // names of fields, quotes, and what appendEscaped may write beyond
	least, most = 2, around
	if parts.Method {
		most += 2 * len(r.Method)
	}
	if parts.Headers {
		for _, h := range r.Headers {
			most += 2*(len(h.Name)+len(h.Value)) + len(`"":"",`)
		}
	}
	if parts.URI {
		most += 3*len(r.URI) + 3*len(r.Query)
	}
	if !parts.Body {
		return least, most
	}
	kind := media.KindOf(r.Headers)
	body, lossy := base64.StdEncoding.EncodedLen(len(r.Body)), 3*len(r.Body)
	if kind != media.Binary && utf8.Valid(r.Body) {
		body = escapedLen(r.Body)
		lossy = body
	}
	arguments := 0
	switch kind {
	case media.JSON:
		arguments = len(r.Body)
	case media.Form, media.Multipart:
		arguments = lossy
	}
	return least + body, most + body + arguments
}

// escapedLen returns how many bytes [appendEscaped] makes of s.
func escapedLen(s []byte) int {
	n := len(s)
	for len(s) >= 8 {
		const ones = 0x0101010101010101
		w := binary.LittleEndian.Uint64(s)
		if zeros(w&(ones*0xe0)) == 0 { // no control character
			n += bits.OnesCount64(zeros(w^ones*'"') | zeros(w^ones*'\\'))
		} else {
			for _, c := range s[:8] {
				n += int(escapes[c]>>56) - 1
			}
		}
		s = s[8:]
	}
	for _, c := range s {
		n += int(escapes[c]>>56) - 1
	}
	return n
}

// zeros sets the top bit of each byte of a word that is zero, and no other bit.
func zeros(w uint64) uint64 {
	const low = 0x7f7f7f7f7f7f7f7f // no sum of these carries into the next byte
	return ^(w&low + low | w | low)
}

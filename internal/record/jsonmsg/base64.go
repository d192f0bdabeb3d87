package jsonmsg

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
)

// base64Pairs holds what each twelve bits become, as it lies in memory.
var base64Pairs = func() (table [1 << 12]uint16) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range table {
		table[i] = uint16(alphabet[i>>6]) | uint16(alphabet[i&63])<<8
	}
	return table
}()

// appendBase64 appends the standard base64 of s (RFC 4648, section 4), of which
// all that goes to a multiple of six bytes is done by words: twice as fast as by
// bytes, and a large body is mostly this.
func appendBase64(dst, s []byte) []byte {
	n := len(dst)
	dst = slices.Grow(dst, base64.StdEncoding.EncodedLen(len(s))+1)
	out := dst[n:cap(dst)]
	for len(s) >= 8 && len(out) >= 8 {
		w := binary.BigEndian.Uint64(s) // six bytes of it are taken
		binary.LittleEndian.PutUint64(out, uint64(base64Pairs[w>>52])|
			uint64(base64Pairs[w>>40&0xfff])<<16|
			uint64(base64Pairs[w>>28&0xfff])<<32|
			uint64(base64Pairs[w>>16&0xfff])<<48)
		s, out = s[6:], out[8:]
	}
	return base64.StdEncoding.AppendEncode(dst[:cap(dst)-len(out)], s)
}

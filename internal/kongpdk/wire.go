package kongpdk

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"

	"kafka-upstream/internal/request"
)

// Kong's replies are read at wire level, because they hold bytes: the generated messages
// reject a path or a header that is not UTF-8, and all headers with it. It also saves maps and
// strings.

var errReply = errors.New("Kong's reply is not the expected protobuf message")

// field cuts the first field off the message b, which is not empty. v is nil if the field has
// no length: such fields are skipped.
func field(b []byte) (num protowire.Number, v, rest []byte, err error) {
	if len(b) > 2 && b[0] < 0x80 && b[0]&7 == byte(protowire.BytesType) && b[0] >= 1<<3 {
		// A small number, and a length of one or two bytes, as nearly all fields have.
		n, from := int(b[1]), 2
		if n >= 0x80 {
			n, from = n&0x7f|int(b[2])<<7, 3
		}
		if end := from + n; b[from-1] < 0x80 && end <= len(b) {
			return protowire.Number(b[0] >> 3), b[from:end:end], b[end:], nil
		}
	}
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 {
		return 0, nil, nil, errReply
	}
	b = b[n:]
	if typ != protowire.BytesType {
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return 0, nil, nil, errReply
		}
		return num, nil, b[n:], nil
	}
	v, n = protowire.ConsumeBytes(b)
	if n < 0 {
		return 0, nil, nil, errReply
	}
	return num, v, b[n:], nil
}

// parseText reads a String or ByteString.
func parseText(b []byte) (text []byte, err error) {
	for len(b) > 0 {
		num, v, rest, err := field(b)
		if err != nil {
			return text, err
		}
		if num == 1 && v != nil {
			text = v
		}
		b = rest
	}
	return text, nil
}

// parseBody reads a RawBodyResult: content, or the path of a file, or why there
// is neither.
func parseBody(b []byte) (content, path, reason []byte, err error) {
	for len(b) > 0 {
		num, v, rest, err := field(b)
		if err != nil {
			return content, path, reason, err
		}
		b = rest
		if v == nil {
			continue
		}
		switch num { // a oneof: the last one counts
		case 1:
			content, path, reason = v, nil, nil
		case 2:
			content, path, reason = nil, v, nil
		case 3:
			content, path, reason = nil, nil, v
			if len(v) == 0 {
				reason = noReason
			}
		}
	}
	return content, path, reason, nil
}

var noReason = []byte("no reason given")

// appendHeaders appends the headers in a google.protobuf.Struct: each field is
// a name and a Value, which is a string or a list of strings.
func appendHeaders(h []request.Header, b []byte) ([]request.Header, error) {
	for len(b) > 0 {
		num, entry, rest, err := field(b)
		if err != nil {
			return h, err
		}
		b = rest
		if num != 1 || entry == nil {
			continue
		}
		var name, value []byte
		for len(entry) > 0 {
			num, v, rest, err := field(entry)
			if err != nil {
				return h, err
			}
			entry = rest
			switch {
			case v == nil:
			case num == 1:
				name = v
			case num == 2:
				value = v
			}
		}
		if h, err = appendValue(h, name, value, true); err != nil {
			return h, err
		}
	}
	return h, nil
}

// appendValue appends the strings in a google.protobuf.Value. It skips a list in a list, which
// headers cannot have.
func appendValue(h []request.Header, name, value []byte, list bool) ([]request.Header, error) {
	const (
		stringValue = 3
		listValue   = 6
	)
	for len(value) > 0 {
		num, v, rest, err := field(value)
		if err != nil {
			return h, err
		}
		value = rest
		switch {
		case v == nil:
		case num == stringValue:
			h = append(h, request.Header{Name: name, Value: v})
		case num == listValue && list:
			for len(v) > 0 {
				num, item, rest, err := field(v)
				if err != nil {
					return h, err
				}
				v = rest
				if num != 1 || item == nil {
					continue
				}
				if h, err = appendValue(h, name, item, false); err != nil {
					return h, err
				}
			}
		}
	}
	return h, nil
}

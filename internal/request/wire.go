package request

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// Kong's replies are read at wire level, because what they hold is bytes: the
// generated messages refuse a path or a header that is not UTF-8, with all the
// headers beside it. It also saves the maps and strings between.

var errReply = errors.New("Kong's reply is not the protobuf message it should be")

// fields calls f for each field of the message b that has a length, and passes
// over the others.
func fields(b []byte, f func(num protowire.Number, v []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errReply
		}
		b = b[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return errReply
			}
			b = b[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return errReply
		}
		b = b[n:]
		if err := f(num, v); err != nil {
			return err
		}
	}
	return nil
}

// parseText reads a String or ByteString.
func parseText(b []byte) (text []byte, err error) {
	err = fields(b, func(num protowire.Number, v []byte) error {
		if num == 1 {
			text = v
		}
		return nil
	})
	return text, err
}

// parseBody reads a RawBodyResult: content, or the path of a file, or why there
// is neither.
func parseBody(b []byte) (content, path, reason []byte, err error) {
	err = fields(b, func(num protowire.Number, v []byte) error {
		switch num { // a oneof: the last one counts
		case 1:
			content, path, reason = v, nil, nil
		case 2:
			content, path, reason = nil, v, nil
		case 3:
			content, path, reason = nil, nil, v
			if len(v) == 0 {
				reason = []byte("no reason given")
			}
		}
		return nil
	})
	return content, path, reason, err
}

// appendHeaders appends the headers in a google.protobuf.Struct: each field is
// a name and a Value, which is a string or a list of strings.
func appendHeaders(h []Header, b []byte) ([]Header, error) {
	err := fields(b, func(num protowire.Number, entry []byte) error {
		if num != 1 {
			return nil
		}
		var name, value []byte
		err := fields(entry, func(num protowire.Number, v []byte) error {
			switch num {
			case 1:
				name = v
			case 2:
				value = v
			}
			return nil
		})
		if err != nil {
			return err
		}
		h, err = appendValue(h, name, value, true)
		return err
	})
	return h, err
}

// appendValue appends what a google.protobuf.Value holds. A list in a list,
// which headers cannot have, is passed over.
func appendValue(h []Header, name, value []byte, list bool) ([]Header, error) {
	const (
		stringValue = 3
		listValue   = 6
	)
	err := fields(value, func(num protowire.Number, v []byte) (err error) {
		switch {
		case num == stringValue:
			h = append(h, Header{name, v})
		case num == listValue && list:
			return fields(v, func(num protowire.Number, v []byte) (err error) {
				if num == 1 {
					h, err = appendValue(h, name, v, false)
				}
				return err
			})
		}
		return nil
	})
	return h, err
}

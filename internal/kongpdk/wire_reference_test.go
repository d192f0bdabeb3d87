package kongpdk

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"kafka-upstream/internal/request"
)

// The same as wire.go, the simple way: FuzzWireIsReadAsByTheReference compares.

func referenceFields(b []byte, f func(num protowire.Number, v []byte) error) error {
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

func referenceText(b []byte) (text []byte, err error) {
	err = referenceFields(b, func(num protowire.Number, v []byte) error {
		if num == 1 {
			text = v
		}
		return nil
	})
	return text, err
}

func referenceBody(b []byte) (content, path, reason []byte, err error) {
	err = referenceFields(b, func(num protowire.Number, v []byte) error {
		switch num {
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

func referenceHeaders(b []byte) (h []request.Header, err error) {
	var value func(name, v []byte, list bool) error
	value = func(name, v []byte, list bool) error {
		return referenceFields(v, func(num protowire.Number, v []byte) error {
			switch {
			case num == 3:
				h = append(h, request.Header{Name: name, Value: v})
			case num == 6 && list:
				return referenceFields(v, func(num protowire.Number, v []byte) error {
					if num == 1 {
						return value(name, v, false)
					}
					return nil
				})
			}
			return nil
		})
	}
	err = referenceFields(b, func(num protowire.Number, entry []byte) error {
		if num != 1 {
			return nil
		}
		var name, v []byte
		err := referenceFields(entry, func(num protowire.Number, f []byte) error {
			switch num {
			case 1:
				name = f
			case 2:
				v = f
			}
			return nil
		})
		if err != nil {
			return err
		}
		return value(name, v, true)
	})
	return h, err
}

func FuzzWireIsReadAsByTheReference(f *testing.F) {
	f.Add([]byte("\x0a\x0f\x0a\x05x-lat\x12\x06\x1a\x04caf\xe9"))
	f.Add([]byte("\x0a\x15\x0a\x03x-a\x12\x0e2\x0c\x0a\x03\x1a\x01a\x0a\x05\x1a\x01b\x20\x00"))
	f.Add([]byte("\x0a\x00\x12\x00\x1a\x00\x0a"))
	f.Add([]byte("\x1a\x00"))
	f.Add([]byte("\x08\x01\x0b\x0c\x0a\x80\x00\x0a\x81\x00x\x0a\x80\x80\x00"))
	f.Add([]byte("\x0a\xff\xff\xff\xff\x0f\x02\x01x"))
	f.Add([]byte("\x0a\xac\x02" + strings.Repeat("x", 300)))
	f.Fuzz(func(t *testing.T, b []byte) {
		text, err := parseText(b)
		wantText, wantErr := referenceText(b)
		if !same(text, wantText) || err != wantErr {
			t.Errorf("text: got %q, %v, want %q, %v", text, err, wantText, wantErr)
		}
		content, path, reason, err := parseBody(b)
		wantContent, wantPath, wantReason, wantErr := referenceBody(b)
		if !same(content, wantContent) || !same(path, wantPath) || !same(reason, wantReason) || err != wantErr {
			t.Errorf("body: got %q, %q, %q, %v, want %q, %q, %q, %v", content, path, reason, err, wantContent, wantPath, wantReason, wantErr)
		}
		h, err := appendHeaders(nil, b)
		want, wantErr := referenceHeaders(b)
		if len(h)+len(want) > 0 && !reflect.DeepEqual(h, want) || err != wantErr {
			t.Errorf("headers: got %q, %v, want %q, %v", h, err, want, wantErr)
		}
	})
}

func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

package jsonmsg

import "kafka-upstream/internal/record/media"

// appendMultipart appends the object that a multipart/form-data body stands for
// (RFC 7578): the name of each part with the part's content, files too. A part without a
// name, or one that is not form-data, is left out.
func appendMultipart(dst, body, contentType []byte) ([]byte, error) {
	boundary := media.Boundary(contentType)
	if boundary == nil {
		return dst, errNoBoundary
	}
	o := newObject()
	defer o.free()
	delimiter := o.keep(func(text []byte) []byte { return media.AppendDelimiter(text, boundary) })
	var parts media.Parts
	if !parts.Start(body, delimiter) {
		return dst, errUnclosed
	}
	for n := 0; !parts.Closed(); n++ {
		name, content, ok := parts.Next()
		if !ok {
			return dst, errUnclosed
		}
		if n >= maxArguments {
			continue // only the closing boundary is still to be seen
		}
		if len(name) > 0 {
			o.add(o.utf8Name(name), content, bytesValue)
		}
	}
	return o.appendTo(dst), nil
}

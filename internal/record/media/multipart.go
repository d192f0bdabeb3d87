package media

import "bytes"

// Parts goes through a multipart/form-data body (RFC 7578), from one boundary to the next.
//
// Parts are found in the body, not copied out of it: mime/multipart hands out
// readers, and a name that comes again later forces all contents to be held. What
// that package accepts has the same parts here (FuzzMultipart compares them):
// lines end with CRLF, or with LF in the whole body if they do after the first
// boundary; what stands before the first and after the closing boundary counts
// for nothing; folded header lines are unfolded. But nothing is refused
// except a body without its boundaries: what is no header line is passed over,
// and a part without a name, or one that is not form-data, has an empty name.
// A Content-Transfer-Encoding does not count (RFC 7578, section 4.7).
type Parts struct {
	body      []byte
	at        int    // where the body is still to be read
	delimiter []byte // line end, "--" and boundary
	bareLF    bool   // lines end with LF, and so delimiter begins with it
	closed    bool   // the closing boundary was seen
}

// Boundary returns the boundary of a multipart body, by its Content-Type, nil if it has none
// that can be used.
func Boundary(contentType []byte) []byte {
	boundary, _ := Parameter(contentType, "boundary")
	if len(boundary) == 0 || bytes.ContainsAny(boundary, "\r\n") {
		return nil
	}
	return boundary
}

// AppendDelimiter appends to dst what separates the parts of a body with that boundary.
func AppendDelimiter(dst, boundary []byte) []byte {
	return append(append(dst, "\r\n--"...), boundary...)
}

// Start begins with the first part of body. It reports false if there is none.
func (p *Parts) Start(body, delimiter []byte) bool {
	*p = Parts{body: body, delimiter: delimiter}
	return p.preamble()
}

// Closed reports whether there are no more parts.
func (p *Parts) Closed() bool { return p.closed }

// Next returns the name and the content of the next part. It is not ok if the body ends
// before the closing boundary.
func (p *Parts) Next() (name, content []byte, ok bool) {
	disposition, content, ok := p.next()
	if !ok {
		return nil, nil, false
	}
	kind, _, _ := bytes.Cut(disposition, semicolon)
	if EqualFold(trimSpace(kind), "form-data") {
		name, _ = Parameter(disposition, "name")
	}
	return name, content, true
}

// preamble goes behind the first boundary, and sees how lines end.
func (p *Parts) preamble() bool {
	if p.boundary(0, true) {
		return true
	}
	bare := p.delimiter[1:]
	for at := 0; ; {
		i := bytes.Index(p.body[at:], bare)
		if i < 0 {
			return false
		}
		at += i + 1
		if p.boundary(at, true) {
			return true
		}
	}
}

// next returns the Content-Disposition of the part that begins here, and the
// part's content, and goes behind the boundary after it. It is not ok if there
// is none.
func (p *Parts) next() (disposition, content []byte, ok bool) {
	seen := false
	for {
		if p.boundary(p.at, false) {
			return disposition, nil, true // within the header: no content
		}
		line, ok := p.line()
		if !ok {
			return nil, nil, false
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, colon)
		if !seen && EqualFold(name, "content-disposition") {
			disposition, seen = p.unfold(value), true
		}
	}

	from := p.at
	if p.boundary(from, false) {
		return disposition, nil, true
	}
	for at := from; ; {
		i := bytes.Index(p.body[at:], p.delimiter)
		if i < 0 {
			return nil, nil, false
		}
		end := at + i
		at = end + len(p.delimiter)
		if p.boundary(end+p.lineEnd(), false) {
			return disposition, p.body[from:end], true
		}
	}
}

// line reads one line and returns it without its end. In a header both line
// ends are good.
func (p *Parts) line() (line []byte, ok bool) {
	n := bytes.IndexByte(p.body[p.at:], '\n')
	if n < 0 {
		return nil, false
	}
	line = bytes.TrimSuffix(p.body[p.at:p.at+n], cr)
	p.at += n + 1
	return line, true
}

// unfold returns the value of a header, whose first line was read, with the
// lines that continue it.
func (p *Parts) unfold(value []byte) []byte {
	value = trimSpace(value)
	for folded := false; p.at < len(p.body) && (p.body[p.at] == ' ' || p.body[p.at] == '\t'); folded = true {
		more, ok := p.line()
		if !ok {
			break
		}
		if !folded {
			value = bytes.Clone(value) // it lies in the body
		}
		value = append(append(value, ' '), trimSpace(more)...)
	}
	return value
}

// lineEnd returns the length of a line's end.
func (p *Parts) lineEnd() int {
	if p.bareLF {
		return 1
	}
	return 2
}

// boundary tells whether the line at that place is a boundary, and goes behind
// it if so. White space may follow it, and two hyphens make it the closing one;
// anything else makes the line one of the content. The first sets the line end.
func (p *Parts) boundary(at int, first bool) bool {
	rest, ok := bytes.CutPrefix(p.body[at:], p.delimiter[p.lineEnd():])
	if !ok {
		return false
	}
	rest, closing := bytes.CutPrefix(rest, hyphens)
	rest = bytes.TrimLeft(rest, " \t")
	switch {
	case len(rest) == 0 && closing:
	case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n' && !p.bareLF:
		rest = rest[2:]
	case len(rest) > 0 && rest[0] == '\n' && (p.bareLF || first):
		rest = rest[1:]
		if !p.bareLF {
			p.bareLF, p.delimiter = true, p.delimiter[1:]
		}
	default:
		return false
	}
	p.at = len(p.body) - len(rest)
	p.closed = closing
	return true
}

var (
	colon   = []byte{':'}
	cr      = []byte{'\r'}
	hyphens = []byte("--")
)

package companion

import (
	"encoding/binary"
	"math"

	"kafka-upstream/internal/request"
)

// Bits of a kindNeeds: which parts of a request its configuration needs.
const (
	needMethod = 1 << iota
	needURI
	needQuery
	needHeaders // all of them
	needBody    // and the headers that say what it is: content-type and content-encoding
)

// appendNeeds appends the frame that answers configuration number with what it needs: the
// number (uint32), the bits (uint32), the largest body (uint32), how many facts (uint32), and
// for each its call and its name, as texts.
func appendNeeds(b []byte, number uint32, f request.Fields) []byte {
	bits := uint32(0)
	for _, need := range []struct {
		is  bool
		bit uint32
	}{
		{f.Method, needMethod}, {f.URI, needURI}, {f.Query || f.URI, needQuery}, {f.Headers, needHeaders}, {f.Body, needBody},
	} {
		if need.is {
			bits |= need.bit
		}
	}
	from := len(b)
	b = appendHeader(b, header{kind: kindNeeds})
	b = binary.LittleEndian.AppendUint32(b, number)
	b = binary.LittleEndian.AppendUint32(b, bits)
	b = binary.LittleEndian.AppendUint32(b, uint32(min(f.MaxBody, math.MaxInt32)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Facts)))
	for _, fact := range f.Facts {
		b = appendText(appendText(b, fact.Call), fact.Name)
	}
	return setSize(b, from)
}

// appendWelcome appends the first frame to a worker: the version of the frames (uint32), and
// the release, a text.
func appendWelcome(b []byte, release string) []byte {
	from := len(b)
	b = binary.LittleEndian.AppendUint32(appendHeader(b, header{kind: kindWelcome}), version)
	return setSize(appendText(b, release), from)
}

// parseHello reads the first frame of a worker, which is the same as the first frame to it.
func parseHello(b []byte) (frames uint32, release []byte, err error) {
	p := reader{b: b}
	frames, release = p.uint32(), p.text()
	if frames == version {
		err = p.err("first frame")
	} // else there may be more
	return frames, release, err
}

// setSize completes the header of the frame that begins at b[from].
func setSize(b []byte, from int) []byte {
	binary.LittleEndian.PutUint32(b[from:], uint32(len(b)-from-headerSize))
	return b
}

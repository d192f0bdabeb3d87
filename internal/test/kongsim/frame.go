package kongsim

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxFrame bounds what one frame of a plugin server may claim to hold. Kong
// itself has no bound; a stand-in that runs in somebody's tests needs one.
const maxFrame = 64 << 20

// errClosed is what Kong's socket says when the plugin server closed it. Its
// text decides: an error that contains "closed" makes Kong retry the event.
var errClosed = errors.New("closed")

// readFrame reads a little-endian uint32 length and that many bytes, into buf if it is
// large enough. Memory grows with the bytes that arrive, not with the length that is
// claimed.
func readFrame(r *bufio.Reader, buf []byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, readError(err)
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	if n > maxFrame {
		return nil, fmt.Errorf("the plugin server sent a frame of %d bytes where at most %d are allowed: it does not speak Kong's protocol", n, maxFrame)
	}
	b := bytes.NewBuffer(buf[:0])
	if _, err := io.CopyN(b, r, n); err != nil {
		return nil, readError(err)
	}
	return b.Bytes(), nil
}

func readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errClosed
	}
	return err
}

// writeFrame writes length and bytes in two writes, as Kong does.
func writeFrame(w io.Writer, b []byte) error {
	var head [4]byte
	binary.LittleEndian.PutUint32(head[:], uint32(len(b)))
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	if len(b) == 0 {
		return nil
	}
	_, err := w.Write(b)
	return err
}

// Field numbers of RpcCall and its commands (pluginsocket.proto).
const (
	cmdStartInstance = 33
	cmdCloseInstance = 35
	cmdHandleEvent   = 36
)

// appendCall encodes an RpcCall. Kong encodes a Lua table, whose order is
// anybody's guess, so rnd decides what comes first, on both levels.
func appendCall(b []byte, rnd *rand.Rand, sequence int64, command protowire.Number, fields ...[]byte) []byte {
	if len(fields) == 2 && rnd.IntN(2) == 0 {
		fields[0], fields[1] = fields[1], fields[0]
	}
	seq := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(sequence))
	size := 0
	for _, f := range fields {
		size += len(f)
	}
	first := rnd.IntN(2) == 0
	if first {
		b = append(b, seq...)
	}
	b = protowire.AppendTag(b, command, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	for _, f := range fields {
		b = append(b, f...)
	}
	if !first {
		b = append(b, seq...)
	}
	return b
}

func stringField(n protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, n, protowire.BytesType), s)
}

func int32Field(n protowire.Number, v int32) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), uint64(int64(v)))
}

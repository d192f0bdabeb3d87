package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// The files of format version 1. All numbers are little-endian. docs/decisions/spool.md says why.
//
//	<Dir>/<id>/                     a process's directory, locked as long as it lives
//	<Dir>/<id>/<id>-<key>.segment   a head, and entries
//	<Dir>/<id>/<id>-<key>.done      which of the segment's records are done with
//
// Ids and keys are 16 hexadecimal digits; ids ascend. The key is random, and secret to clients:
// its upper half is the mark that each entry begins with, its lower half goes into checksums.
const (
	version  = 1
	headSize = 4096 // of a segment's head

	segmentSuffix = ".segment"
	doneSuffix    = ".done"
)

var (
	segmentMagic = [8]byte{'k', 'u', '-', 's', 'p', 'o', 'o', 'l'}
	doneMagic    = [8]byte{'k', 'u', '-', 'd', 'o', 'n', 'e', '\n'}
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
	order        = binary.LittleEndian
)

// note says that a segment of the same directory holds nothing valid from end on: a write or
// an fsync failed there, and its records were reported as not stored.
type note struct {
	segment uint64
	end     int64
}

// head is the head of a segment:
//
//	 0 magic     [8]byte
//	 8 version   uint32
//	12 headSize  uint32
//	16 directory uint64
//	24 id        uint64
//	32 key       uint64
//	40 notes     uint32, their number
//	48 notes     {segment, end uint64}
//	4092 CRC-32C of all that
//
// Later versions keep the first 16 bytes.
type head struct {
	directory, id, key uint64
	notes              []note
}

const (
	headNotes = 48
	maxNotes  = (headSize - headNotes - 4) / 16
)

func (h *head) append(b []byte) []byte {
	at := len(b)
	b = append(b, make([]byte, headSize)...)
	p := b[at:]
	copy(p, segmentMagic[:])
	order.PutUint32(p[8:], version)
	order.PutUint32(p[12:], headSize)
	order.PutUint64(p[16:], h.directory)
	order.PutUint64(p[24:], h.id)
	order.PutUint64(p[32:], h.key)
	order.PutUint32(p[40:], uint32(len(h.notes)))
	for i, n := range h.notes {
		order.PutUint64(p[headNotes+16*i:], n.segment)
		order.PutUint64(p[headNotes+16*i+8:], uint64(n.end))
	}
	order.PutUint32(p[headSize-4:], crc32.Checksum(p[:headSize-4], castagnoli))
	return b
}

// headVersion returns the version of a segment's head, or 0 if b does not begin with one.
func headVersion(b []byte) uint32 {
	if len(b) < 16 || !bytes.Equal(b[:8], segmentMagic[:]) {
		return 0
	}
	return order.Uint32(b[8:])
}

// parse reports whether b is an intact head of this version.
func (h *head) parse(b []byte) bool {
	if len(b) != headSize || headVersion(b) != version || order.Uint32(b[12:]) != headSize ||
		order.Uint32(b[headSize-4:]) != crc32.Checksum(b[:headSize-4], castagnoli) {
		return false
	}
	n := order.Uint32(b[40:])
	if n > maxNotes {
		return false
	}
	h.directory, h.id, h.key = order.Uint64(b[16:]), order.Uint64(b[24:]), order.Uint64(b[32:])
	for i := range int(n) {
		h.notes = append(h.notes, note{order.Uint64(b[headNotes+16*i:]), int64(order.Uint64(b[headNotes+16*i+8:]))})
	}
	return true
}

// entryHead is what each entry begins with:
//
//	 0 mark     uint32, the upper half of the segment's key
//	 4 check    uint32, CRC-32C of what follows, begun with the lower half of the key
//	 8 payload  uint32, CRC-32C of the payload
//	12 length   uint32, of the payload
//	16 group    uint32, number of the commit group in the segment, from 1
//	20 index    uint32, of the entry in its group
//	24 queue    uint32, number of the queue in the segment
//	28 number   uint32, of the record among those of its queue in the segment
//	32 kind     uint8
//	33 flags    uint8
//	34 reserved uint16
type entryHead struct {
	payload, length, group, index, queue, number uint32
	kind, flags                                  uint8
}

const (
	entryHeadSize = 36

	kindRecord = 1
	kindBatch  = 2

	flagLast = 1 // of its group: the group is complete
)

// mark and seed are the halves of a segment's key.
func mark(key uint64) uint32 { return uint32(key >> 32) }
func seed(key uint64) uint32 { return uint32(key) }

// put writes the head to the first bytes of p.
func (h *entryHead) put(p []byte, key uint64) {
	_ = p[entryHeadSize-1]
	order.PutUint32(p, mark(key))
	order.PutUint32(p[8:], h.payload)
	order.PutUint32(p[12:], h.length)
	order.PutUint32(p[16:], h.group)
	order.PutUint32(p[20:], h.index)
	order.PutUint32(p[24:], h.queue)
	order.PutUint32(p[28:], h.number)
	p[32], p[33], p[34], p[35] = h.kind, h.flags, 0, 0
	order.PutUint32(p[4:], crc32.Update(seed(key), castagnoli, p[8:entryHeadSize]))
}

// parse reports whether p begins with an intact head of an entry.
func (h *entryHead) parse(p []byte, key uint64) bool {
	if len(p) < entryHeadSize || order.Uint32(p) != mark(key) ||
		order.Uint32(p[4:]) != crc32.Update(seed(key), castagnoli, p[8:entryHeadSize]) {
		return false
	}
	h.payload, h.length = order.Uint32(p[8:]), order.Uint32(p[12:])
	h.group, h.index = order.Uint32(p[16:]), order.Uint32(p[20:])
	h.queue, h.number = order.Uint32(p[24:]), order.Uint32(p[28:])
	h.kind, h.flags = p[32], p[33]
	return h.group > 0 && h.number < 1<<31
}

// size is that of the entry.
func (h *entryHead) size() int64 { return entryHeadSize + int64(h.length) }

// doneEntry is an entry of a done file: the records of a queue from from to, but not including,
// to are done with. It is 16 bytes long: queue, from, to uint32, and their CRC-32C, begun with
// the lower half of the segment's key. The file begins with a head of 16 bytes: magic, version,
// and the CRC-32C of both, begun likewise.
type doneEntry struct{ queue, from, to uint32 }

const doneSize = 16

func appendDoneHead(b []byte, key uint64) []byte {
	at := len(b)
	b = append(b, doneMagic[:]...)
	b = order.AppendUint32(b, version)
	return order.AppendUint32(b, crc32.Update(seed(key), castagnoli, b[at:]))
}

func (e doneEntry) append(b []byte, key uint64) []byte {
	at := len(b)
	b = order.AppendUint32(b, e.queue)
	b = order.AppendUint32(b, e.from)
	b = order.AppendUint32(b, e.to)
	return order.AppendUint32(b, crc32.Update(seed(key), castagnoli, b[at:]))
}

func (e *doneEntry) parse(b []byte, key uint64) bool {
	if order.Uint32(b[12:]) != crc32.Update(seed(key), castagnoli, b[:12]) {
		return false
	}
	e.queue, e.from, e.to = order.Uint32(b), order.Uint32(b[4:]), order.Uint32(b[8:])
	return e.from < e.to && e.to <= 1<<31
}

// segmentName returns the name of a segment's file, without the suffix.
func segmentName(id, key uint64) string { return fmt.Sprintf("%016x-%016x", id, key) }

// parseSegmentName returns the id and the key in the name of a segment or done file.
func parseSegmentName(name, suffix string) (id, key uint64, ok bool) {
	name, ok = strings.CutSuffix(name, suffix)
	if !ok || len(name) != 33 || name[16] != '-' {
		return 0, 0, false
	}
	id, ok = parseID(name[:16])
	key, ok2 := parseID(name[17:])
	return id, key, ok && ok2 && mark(key) != 0
}

func directoryName(id uint64) string { return fmt.Sprintf("%016x", id) }

// parseID is the inverse of directoryName.
func parseID(s string) (uint64, bool) {
	if len(s) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 16, 64)
	return n, err == nil && directoryName(n) == s
}

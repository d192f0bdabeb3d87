package spool

import (
	"bytes"
	"hash/crc32"
	"io"
)

const readSize = 256 << 10

// window reads a file in large pieces.
type window struct {
	file File
	buf  []byte
	at   int64 // offset of buf[0]
	n    int   // valid bytes of buf
	end  int64 // nothing behind it is read

	failed bool // a read has failed
}

// bytes returns n bytes of the file at the offset, valid until the next call. The error is
// io.ErrUnexpectedEOF if they go beyond the end. n is bounded by the file's length before
// memory is taken.
func (w *window) bytes(off int64, n int64) ([]byte, error) {
	if off < 0 || n > w.end-off {
		return nil, io.ErrUnexpectedEOF
	}
	if off >= w.at && off+n <= w.at+int64(w.n) {
		return w.buf[off-w.at:][:n:n], nil
	}
	if int64(cap(w.buf)) < n {
		w.buf = make([]byte, max(n, readSize))
	}
	w.buf = w.buf[:cap(w.buf)]
	want := min(int64(len(w.buf)), w.end-off)
	got, err := w.file.ReadAt(w.buf[:want], off)
	w.at, w.n = off, got
	if int64(got) >= n {
		return w.buf[:n:n], nil
	}
	if err == nil || err == io.EOF {
		return nil, io.ErrUnexpectedEOF
	}
	w.failed = true
	// One bad sector must not hide what is before it.
	got, err2 := w.file.ReadAt(w.buf[:n], off)
	w.n = got
	if int64(got) >= n {
		return w.buf[:n:n], nil
	}
	if err2 != nil && err2 != io.EOF {
		err = err2
	}
	return nil, err
}

// find returns the offset of the next entry whose head is intact, at off or behind it, or end.
// Sectors that cannot be read are passed over.
func (w *window) find(off int64, key uint64) int64 {
	var m [4]byte
	order.PutUint32(m[:], mark(key))
	for off+entryHeadSize <= w.end {
		n := min(int64(readSize), w.end-off)
		b, err := w.bytes(off, n)
		if err != nil {
			n = min(4096-off%4096, w.end-off)
			if b, err = w.bytes(off, n); err != nil {
				off += n
				continue
			}
		}
		i := 0
		for len(b)-i >= entryHeadSize {
			k := bytes.Index(b[i:], m[:])
			if k < 0 {
				i = len(b) - len(m) + 1
				break
			}
			i += k
			if len(b)-i < entryHeadSize {
				break
			}
			var h entryHead
			if h.parse(b[i:], key) {
				return off + int64(i)
			}
			i++
		}
		off += int64(max(i, 1))
	}
	return w.end
}

// walk reads a part's records from its cursor on.
type walk struct {
	part  *part
	key   uint64
	next  uint32 // the first number that was not passed
	count uint32
	last  int64
	skip  ranges

	offset int64 // of the cursor
	out    []Stored
	lost   []span
}

// pass moves the cursor to a record's number: those between are lost, but for those in skip.
func (w *walk) pass(number uint32) {
	for from := w.next; from < number; {
		i := w.skip.search(from)
		to := number
		if i < len(w.skip) {
			if w.skip[i].from <= from {
				from = w.skip[i].to
				continue
			}
			to = min(to, w.skip[i].from)
		}
		w.lost = append(w.lost, span{from, to})
		from = to
	}
	w.next = max(w.next, number)
}

// read reads at most maxRecords, and maxBytes of them or a single larger one.
func (w *walk) read(f File, maxRecords int, maxBytes int64) error {
	view := window{file: f, end: w.last, buf: takeBuffer()}
	defer func() { giveBuffer(view.buf) }()
	var size int64
	for w.next < w.count && len(w.out) < maxRecords {
		if w.offset >= w.last {
			w.pass(w.count)
			return nil
		}
		b, err := view.bytes(w.offset, min(entryHeadSize, w.last-w.offset))
		if err != nil {
			return w.stop(err)
		}
		var h entryHead
		if !h.parse(b, w.key) || h.size() > w.last-w.offset {
			w.offset = view.find(w.offset+1, w.key)
			continue
		}
		if h.kind != kindRecord || h.queue != w.part.number || h.number < w.next || h.number >= w.count || w.skip.contains(h.number) {
			w.offset += h.size()
			continue
		}
		if len(w.out) > 0 && size+int64(h.length) > maxBytes {
			return nil
		}
		b, err = view.bytes(w.offset+entryHeadSize, int64(h.length))
		if err != nil {
			return w.stop(err)
		}
		// A damaged one is lost when another is passed, or the end.
		if r, ok := decodeRecord(b, &h, w.part.queue.name); ok {
			w.pass(h.number)
			g := w.part.segment
			w.out = append(w.out, Stored{Position{g.directory.id, g.id, h.queue, h.number}, r})
			size += int64(h.length)
			w.next++
		}
		w.offset += h.size()
	}
	return nil
}

// stop ends a read: an error comes only if it has nothing to return, so that the next read
// meets it again.
func (w *walk) stop(err error) error {
	if len(w.out) > 0 || len(w.lost) > 0 {
		return nil
	}
	return err
}

// giveUp passes what could not be read: a block, or all if the file cannot be opened.
func (w *walk) giveUp(all bool) {
	if all {
		w.offset = w.last
	} else {
		w.offset = min(w.offset+4096-w.offset%4096, w.last)
	}
	if w.offset >= w.last {
		w.pass(w.count)
	}
}

// decodeRecord returns the record of an entry, in memory of its own.
func decodeRecord(payload []byte, h *entryHead, name queueName) (Record, bool) {
	if crc32.Checksum(payload, castagnoli) != h.payload {
		return Record{}, false
	}
	d := decoder{b: payload}
	destination, topic := d.names()
	if d.bad || string(destination) != name.destination || string(topic) != name.topic {
		return Record{}, false
	}
	d.b = bytes.Clone(d.b)
	return d.record()
}

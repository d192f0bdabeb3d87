package spool

import (
	"bytes"
	"cmp"
	"errors"
	"hash/crc32"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// scanned is an adopted segment as it is read.
type scanned struct {
	segment    *segment
	parts      map[uint32]*scannedPart
	numbered   []*scannedPart
	batches    map[scannedLane]*scannedBatch // the last one of each lane
	damaged    uint64                        // records, as far as gaps in their numbers show them
	skipped    int64                         // bytes
	damageAt   int64                         // the first of them
	cut        int64                         // bytes
	unreadable bool                          // the disk has refused to read a place
	names      queueName
}

type scannedPart struct {
	name        queueName
	number      uint32
	count       uint32
	live        uint32 // records that are intact and not done with
	first, last int64
	done        ranges // those that are missing too
}

type scannedBatch struct {
	sentBatch
	name queueName
}

// scannedLane names a lane before there is a Queue.
type scannedLane struct {
	name queueName
	laneKey
}

// found is an intact entry, until its group turns out to be complete.
type found struct {
	head  entryHead
	at    int64
	name  queueName
	batch *scannedBatch
}

// maxQueues bounds the numbers of queues in a segment, which come from a file.
const maxQueues = 1 << 20

// scanDirectory reads all segments of a directory, in order. It reports false if it was
// interrupted by Close.
func (s *Spool) scanDirectory(d *directory) ([]*scanned, bool) {
	names, err := s.fs.Names(d.path)
	if err != nil {
		s.fault()
		s.log.Error("could not read a directory of the spool, whose records stay there", slog.String("directory", d.path), slog.Any("error", err))
		return nil, true
	}
	slices.Sort(names)
	var files []*segment
	headed := uint64(0) // the newest segment with an intact head
	voids := map[uint64]int64{}
	known := map[string]bool{}
	for _, name := range names {
		id, key, ok := parseSegmentName(name, segmentSuffix)
		if !ok {
			continue
		}
		known[strings.TrimSuffix(name, segmentSuffix)] = true
		g := &segment{directory: d, id: id, key: key, sealed: true, synced: true,
			parts: map[*Queue]*part{}, lanes: map[*lane]struct{}{}}
		h, ok, err := s.readHead(g)
		if err != nil {
			s.fault()
			s.log.Error("could not open a file of the spool, whose records stay there", slog.String("file", g.path(segmentSuffix)), slog.Any("error", err))
			continue
		}
		if ok {
			headed = max(headed, id)
			g.notes = h.notes
			for _, v := range h.notes {
				if end, ok := voids[v.segment]; !ok || v.end < end {
					voids[v.segment] = v.end
				}
			}
		}
		files = append(files, g)
	}
	var out []*scanned
	for _, g := range files {
		if s.janitor.ended() {
			return nil, false
		}
		end := g.size
		if v, ok := voids[g.id]; ok {
			end = max(min(end, v), 0)
		}
		// A later segment was begun only when the last group of this one was complete.
		if c := s.scanSegment(g, end, g.id >= headed); c != nil {
			out = append(out, c)
		}
	}
	for _, name := range names {
		if base, ok := strings.CutSuffix(name, doneSuffix); ok && !known[base] {
			_ = s.fs.Remove(filepath.Join(d.path, name))
		}
	}
	return out, true
}

// openScanned opens a file, and waits until it can while too many are open: without its done file,
// all records of a segment would be sent again.
func (s *Spool) openScanned(name string) (File, error) {
	for {
		f, err := s.fs.Open(name)
		if !isShortage(err) || errors.Is(err, syscall.EACCES) {
			return f, err
		}
		s.fault()
		if !s.janitor.pause() {
			return nil, err
		}
	}
}

// readHead returns the head of a segment, and whether it is intact.
func (s *Spool) readHead(g *segment) (h head, ok bool, err error) {
	f, err := s.openScanned(g.path(segmentSuffix))
	if err != nil {
		return h, false, err
	}
	defer f.Close()
	if g.size, err = f.Size(); err != nil {
		return h, false, err
	}
	b := make([]byte, headSize)
	n, _ := f.ReadAt(b, 0)
	ok = n == headSize && h.parse(b) && h.id == g.id && h.key == g.key
	return h, ok, nil
}

// scanSegment reads a segment up to end; the last group of the newest one may be incomplete.
func (s *Spool) scanSegment(g *segment, end int64, newest bool) *scanned {
	f, err := s.openScanned(g.path(segmentSuffix))
	if err != nil {
		s.fault()
		s.log.Error("could not open a file of the spool, whose records stay there", slog.String("file", g.path(segmentSuffix)), slog.Any("error", err))
		return nil
	}
	defer f.Close()
	c := &scanned{segment: g, parts: map[uint32]*scannedPart{}, batches: map[scannedLane]*scannedBatch{}}
	c.read(f, end, newest)
	s.cut(c, f)
	s.readDone(c)
	return c
}

// cut ends the file behind its last complete group, and makes it durable: what was written, but
// not synced, by a process that was killed is used from now on.
func (s *Spool) cut(c *scanned, f File) {
	g := c.segment
	var err error
	if !c.unreadable { // what cannot be read now may be good
		if err = f.Truncate(g.end); err == nil {
			g.size = g.end
		}
	}
	if err == nil {
		err = f.Sync()
	}
	s.mu.Lock()
	s.stats.damaged += c.damaged
	s.stats.damagedBytes += uint64(c.skipped)
	s.stats.cutBytes += uint64(c.cut)
	if err != nil {
		s.stats.failures++
	}
	s.mu.Unlock()
	name := slog.String("file", g.path(segmentSuffix))
	if err != nil {
		s.log.Warn("could not cut or sync a file of the spool", name, slog.Any("error", err))
	}
	if c.unreadable || c.skipped > 0 {
		s.log.Error("a file of the spool is damaged: what could be read is sent, the rest is lost; check the disk",
			name, slog.Int64("offset", c.damageAt), slog.Int64("bytes", c.skipped), slog.Uint64("records", c.damaged))
	}
	if c.cut > 0 && !c.unreadable {
		s.log.Info("cut off the end of a file of the spool, whose writing was interrupted before its records were acknowledged",
			name, slog.Int64("offset", g.end), slog.Int64("bytes", c.cut))
	}
}

// read reads a segment's entries up to end. The last group of the newest segment counts only if
// it is complete: it may have been interrupted.
func (c *scanned) read(f File, end int64, newest bool) {
	g := c.segment
	view := window{file: f, end: end, buf: takeBuffer()}
	defer func() { giveBuffer(view.buf) }()
	g.end = min(headSize, end)
	var group []found
	var number uint32 // of the group
	whole := true     // the entries of the group are 0 to len(group)-1
	accept := func() {
		for _, e := range group {
			c.accept(e)
		}
		if k := len(group); k > 0 {
			g.end = group[k-1].at + group[k-1].head.size()
		}
		group = group[:0]
	}
	var damage []span64
	at := int64(headSize)
	for at < end {
		var h entryHead
		b, err := view.bytes(at, min(entryHeadSize, end-at))
		if err != nil || !h.parse(b, g.key) || h.size() > end-at || h.group < number {
			next := view.find(at+1, g.key)
			if next < end {
				damage = append(damage, span64{at, next})
			}
			at = next
			continue
		}
		if h.group > number {
			accept()
			number, whole = h.group, true
		}
		e, ok := c.parse(&view, &h, at)
		if ok && h.index == uint32(len(group)) {
			group = append(group, e)
		} else if whole = false; ok {
			group = append(group, e)
		} else {
			damage = append(damage, span64{at, at + h.size()})
		}
		at += h.size()
	}
	if k := len(group); k > 0 && (!newest || whole && group[k-1].head.flags&flagLast != 0) {
		accept()
	}
	for _, d := range damage {
		if d.from < g.end {
			c.damageAt = cmp.Or(c.damageAt, d.from)
			c.skipped += min(d.to, g.end) - d.from
		}
	}
	c.cut = usedBytes(&view, g.end, g.size)
	c.unreadable = view.failed
}

type span64 struct{ from, to int64 }

// zeros is what the reserved rest of a segment is.
var zeros [readSize]byte

// usedBytes returns how many bytes there are from from to the last one that is not zero.
func usedBytes(view *window, from, size int64) int64 {
	view.end, view.n = size, 0
	used := int64(0)
	for at := from; at < size; {
		n := min(readSize, size-at)
		b, err := view.bytes(at, n)
		if err != nil {
			return size - from
		}
		if !bytes.Equal(b, zeros[:len(b)]) {
			used = at + int64(len(bytes.TrimRight(b, "\x00"))) - from
		}
		at += n
	}
	return used
}

// parse returns an entry whose payload is intact.
func (c *scanned) parse(view *window, h *entryHead, at int64) (found, bool) {
	b, err := view.bytes(at+entryHeadSize, int64(h.length))
	if err != nil || h.payload != crc32.Checksum(b, castagnoli) || h.queue >= maxQueues {
		return found{}, false
	}
	d := decoder{b: b}
	destination, topic := d.names()
	if d.bad {
		return found{}, false
	}
	e := found{head: *h, at: at}
	if c.names.destination == string(destination) && c.names.topic == string(topic) {
		e.name = c.names // the usual case: no allocation
	} else {
		e.name = queueName{string(destination), string(topic)}
		c.names = e.name
	}
	switch h.kind {
	case kindRecord:
		return e, d.isRecord()
	case kindBatch:
		batch, places, ok := d.batch()
		e.batch = &scannedBatch{sentBatch: sentBatch{batch: batch, places: places}, name: e.name}
		return e, ok
	}
	return found{}, false
}

// accept adds an entry of a complete group.
func (c *scanned) accept(e found) {
	if e.batch != nil {
		e.batch.at = e.at
		c.batches[scannedLane{e.name, laneKey{e.batch.batch.Partition, e.batch.batch.ProducerID}}] = e.batch
		return
	}
	p := c.parts[e.head.queue]
	if p == nil {
		p = &scannedPart{name: e.name, number: e.head.queue, first: e.at}
		c.parts[e.head.queue] = p
	}
	if p.name != e.name || e.head.number < p.count {
		c.damaged++
		return
	}
	if missing := e.head.number - p.count; missing > 0 {
		c.damaged += uint64(missing)
		p.done.add(p.count, e.head.number)
	}
	p.count = e.head.number + 1
	p.live++
	p.last = e.at + e.head.size()
}

// readDone takes out the records that the done file says are done with.
func (s *Spool) readDone(c *scanned) {
	defer c.number()
	g := c.segment
	f, err := s.openScanned(g.path(doneSuffix))
	if err != nil {
		return // mostly there is none
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		s.fault()
		return
	}
	view := window{file: f, end: size, buf: takeBuffer()}
	defer func() { giveBuffer(view.buf) }()
	b, err := view.bytes(0, 16)
	if err != nil || string(b) != string(appendDoneHead(nil, g.key)) {
		s.log.Warn("a file of the spool that says which records are done with is damaged: they may be sent again", slog.String("file", g.path(doneSuffix)))
		return
	}
	g.doneEnd = 16
	for at := int64(16); at+doneSize <= size; at += doneSize {
		b, err := view.bytes(at, doneSize)
		if err != nil {
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				s.fault()
			}
			break
		}
		var e doneEntry
		if !e.parse(b, g.key) {
			continue
		}
		g.doneEnd = at + doneSize
		if p := c.parts[e.queue]; p != nil {
			p.live -= uint32(p.done.add(e.from, min(e.to, p.count)))
		}
	}
	g.synced = false
}

// number orders the parts by the numbers of their queues. Two numbers for one queue, which no
// writer makes, are damage: the second is dropped.
func (c *scanned) number() {
	numbers := make([]uint32, 0, len(c.parts))
	for n := range c.parts {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	seen := map[queueName]bool{}
	for _, n := range numbers {
		p := c.parts[n]
		if seen[p.name] {
			c.damaged += uint64(p.live)
			continue
		}
		seen[p.name] = true
		c.numbered = append(c.numbered, p)
	}
}

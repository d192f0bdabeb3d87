package spool

import "math"

// The payloads of entries. Both begin with the names of the queue, so that an entry can be
// understood without any other:
//
//	names:  destination, topic: each a uint16 length and its bytes
//	record: timestamp int64; key, value; uint32 number of headers, each a name and a value
//	batch:  partition int32, producer id int64, epoch int16, sequence int32;
//	        uint32 number of spans, each {directory, segment uint64; from, to uint32}
//
// Byte strings have a uint32 length, which is 1<<32-1 for none.
const none = math.MaxUint32

func appendNames(b []byte, name queueName) []byte {
	b = order.AppendUint16(b, uint16(len(name.destination)))
	b = append(b, name.destination...)
	b = order.AppendUint16(b, uint16(len(name.topic)))
	return append(b, name.topic...)
}

func appendBytes(b, v []byte) []byte {
	if v == nil {
		return order.AppendUint32(b, none)
	}
	b = order.AppendUint32(b, uint32(len(v)))
	return append(b, v...)
}

// payloadSize is what appendRecord appends, names included.
func (r *Record) payloadSize(name queueName) int64 {
	return int64(4+len(name.destination)+len(name.topic)+8+4+4+4+8*len(r.Headers)) + r.size()
}

func appendRecord(b []byte, r *Record) []byte {
	b = order.AppendUint64(b, uint64(r.Timestamp))
	b = appendBytes(b, r.Key)
	b = appendBytes(b, r.Value)
	b = order.AppendUint32(b, uint32(len(r.Headers)))
	for i := range r.Headers {
		h := &r.Headers[i]
		b = order.AppendUint32(b, uint32(len(h.Key)))
		b = append(b, h.Key...)
		b = appendBytes(b, h.Value)
	}
	return b
}

// decoder reads a payload. It returns zero values after bad was set.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint16() uint16 {
	if v := d.take(2); v != nil {
		return order.Uint16(v)
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	if v := d.take(4); v != nil {
		return order.Uint32(v)
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if v := d.take(8); v != nil {
		return order.Uint64(v)
	}
	return 0
}

// bytes returns a byte string, which is part of the payload.
func (d *decoder) bytes() []byte {
	n := d.uint32()
	if n == none || d.bad {
		return nil
	}
	return d.take(uint64(n))
}

// names returns those of the queue; they are part of the payload.
func (d *decoder) names() (destination, topic []byte) {
	destination = d.take(uint64(d.uint16()))
	topic = d.take(uint64(d.uint16()))
	return destination, topic
}

// record returns the rest of a record's payload, whose slices are part of it.
func (d *decoder) record() (r Record, ok bool) {
	r.Timestamp = int64(d.uint64())
	r.Key = d.bytes()
	r.Value = d.bytes()
	n := d.uint32()
	if d.bad || uint64(n)*8 > uint64(len(d.b)) {
		return Record{}, false
	}
	if n > 0 {
		r.Headers = make([]Header, n)
	}
	for i := range r.Headers {
		r.Headers[i] = Header{Key: string(d.take(uint64(d.uint32()))), Value: d.bytes()}
	}
	return r, !d.bad && len(d.b) == 0
}

// isRecord reports whether the rest of a payload is a record.
func (d *decoder) isRecord() bool {
	d.uint64()
	d.bytes()
	d.bytes()
	n := d.uint32()
	if uint64(n)*8 > uint64(len(d.b)) {
		return false
	}
	for range n {
		d.take(uint64(d.uint32()))
		d.bytes()
	}
	return !d.bad && len(d.b) == 0
}

// place is records of a queue in a segment.
type place struct {
	segmentKey
	span
}

const (
	batchSize = 4 + 8 + 2 + 4 + 4
	placeSize = 24
)

func appendBatch(b []byte, batch *Batch, places []place) []byte {
	b = order.AppendUint32(b, uint32(batch.Partition))
	b = order.AppendUint64(b, uint64(batch.ProducerID))
	b = order.AppendUint16(b, uint16(batch.Epoch))
	b = order.AppendUint32(b, uint32(batch.Sequence))
	b = order.AppendUint32(b, uint32(len(places)))
	for _, p := range places {
		b = order.AppendUint64(b, p.directory)
		b = order.AppendUint64(b, p.segment)
		b = order.AppendUint32(b, p.from)
		b = order.AppendUint32(b, p.to)
	}
	return b
}

// batch returns the rest of a batch's payload.
func (d *decoder) batch() (b Batch, places []place, ok bool) {
	b.Partition = int32(d.uint32())
	b.ProducerID = int64(d.uint64())
	b.Epoch = int16(d.uint16())
	b.Sequence = int32(d.uint32())
	n := d.uint32()
	if d.bad || uint64(n)*placeSize != uint64(len(d.b)) {
		return Batch{}, nil, false
	}
	places = make([]place, n)
	for i := range places {
		places[i] = place{segmentKey{d.uint64(), d.uint64()}, span{d.uint32(), d.uint32()}}
		if places[i].from >= places[i].to {
			return Batch{}, nil, false
		}
	}
	return b, places, true
}

// places returns the positions as few spans, in the same order.
func places(positions []Position) []place {
	var out []place
	for _, p := range positions {
		key := segmentKey{p.directory, p.segment}
		if k := len(out) - 1; k >= 0 && out[k].segmentKey == key && out[k].to == p.number {
			out[k].to++
			continue
		}
		out = append(out, place{key, span{p.number, p.number + 1}})
	}
	return out
}

package kafkatest

import (
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fakeConn notes the requests that kfake reads from a connection, and holds them
// up. Its fields are kfake's reading goroutine's.
type fakeConn struct {
	net.Conn
	f      *Fake
	gone   chan struct{} // closed with the connection, by whoever closes it
	once   sync.Once
	number int    // 0 before the first request that counts
	buf    []byte // the beginning of a request
	broken bool   // what came is no Kafka request

	last kmsg.Key // of the last request that counts; guarded by f.mu
}

func (c *fakeConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.broken {
		c.buf = append(c.buf, p[:n]...)
		if c.takeRequests() != nil {
			c.broken, c.buf = true, nil
			c.f.mu.Lock()
			c.f.unread = true
			c.f.mu.Unlock()
		}
	}
	return n, err
}

func (c *fakeConn) Write(p []byte) (int, error) {
	c.f.mu.Lock()
	cut := c.f.cuts > 0 && c.number > 0 && c.last == kmsg.Produce
	if cut {
		c.f.cuts--
	}
	c.f.mu.Unlock()
	if !cut {
		return c.Conn.Write(p)
	}
	_, _ = c.Conn.Write(p[:len(p)/2])
	_ = c.Close()
	return 0, net.ErrClosed
}

func (c *fakeConn) Close() error {
	c.f.mu.Lock()
	delete(c.f.conns, c)
	c.f.mu.Unlock()
	c.once.Do(func() { close(c.gone) })
	return c.Conn.Close()
}

// takeRequests notes the requests that have arrived whole. It returns when none is
// held up, so that kfake has not yet read the end of one that is.
func (c *fakeConn) takeRequests() error {
	for len(c.buf) >= 4 {
		size := int(binary.BigEndian.Uint32(c.buf))
		if size > maxRequest {
			return errors.New("no length of a request")
		}
		if len(c.buf) < 4+size {
			c.buf = slices.Grow(c.buf, 4+size-len(c.buf))
			return nil
		}
		r, err := parseRequest(c.buf[4 : 4+size])
		if err != nil {
			return err
		}
		if wait := c.note(r); wait != nil {
			wait(c.gone)
		}
		c.buf = append(c.buf[:0], c.buf[4+size:]...)
	}
	return nil
}

// maxRequest is the longest request that is taken for one, which Kafka's own
// brokers limit as well (socket.request.max.bytes). The first bytes of a TLS
// connection make a greater length.
const maxRequest = 100 << 20

// note returns what holds the request up, if anything does.
func (c *fakeConn) note(r request) (wait func(gone <-chan struct{})) {
	if r.clientID == clientID {
		return nil
	}
	f := c.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.number == 0 {
		f.accepted++
		c.number = f.accepted
	}
	f.requests[r.key]++
	c.last = r.key
	if r.produce != nil {
		r.produce.At = time.Now()
		r.produce.Broker = c.LocalAddr().String()
		r.produce.Conn = c.number
		f.produces = append(f.produces, *r.produce)
	}
	return f.holds[r.key]
}

type request struct {
	key      kmsg.Key
	clientID string
	produce  *Produce // unless nil: without when and where from
}

// parseRequest reads a request without its length.
func parseRequest(body []byte) (request, error) {
	in := kbin.Reader{Src: body}
	key, version, correlation, client := in.Int16(), in.Int16(), in.Int32(), in.NullableString()
	if err := in.Complete(); err != nil {
		return request{}, err
	}
	r := request{key: kmsg.Key(key)}
	if client != nil {
		r.clientID = *client
	}
	if r.key != kmsg.Produce {
		return r, nil
	}
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(version)
	if req.IsFlexible() {
		kmsg.SkipTags(&in)
	}
	if err := req.ReadFrom(in.Src); err != nil {
		return request{}, err
	}
	r.produce = &Produce{
		CorrelationID: correlation,
		ClientID:      r.clientID,
		Version:       version,
		Acks:          req.Acks,
		Timeout:       time.Duration(req.TimeoutMillis) * time.Millisecond,
		Bytes:         4 + len(body),
	}
	for _, topic := range req.Topics {
		for _, p := range topic.Partitions {
			batches, err := parseBatches(p.Records)
			if err != nil {
				return request{}, err
			}
			for _, b := range batches {
				b.Topic, b.topicID, b.Partition = topic.Topic, topic.TopicID, p.Partition
				r.produce.Batches = append(r.produce.Batches, b)
			}
		}
	}
	return r, nil
}

func parseBatches(records []byte) ([]Batch, error) {
	var batches []Batch
	for len(records) > 0 {
		const lengthEnd = 12 // after the first offset (8 bytes) and the length (4)
		if len(records) < lengthEnd {
			return nil, errors.New("a record batch ends in its header")
		}
		end := lengthEnd + int64(binary.BigEndian.Uint32(records[8:]))
		if end > int64(len(records)) {
			return nil, errors.New("a record batch is longer than its partition's records")
		}
		var b kmsg.RecordBatch
		if err := b.ReadFrom(records[:end]); err != nil {
			return nil, err
		}
		batches = append(batches, Batch{
			Records:    int(b.NumRecords),
			Bytes:      int(end),
			Codec:      int8(b.Attributes & 7),
			ProducerID: b.ProducerID,
			Epoch:      b.ProducerEpoch,
			Sequence:   b.FirstSequence,
		})
		records = records[end:]
	}
	return batches, nil
}

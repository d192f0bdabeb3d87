//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// broker is a Kafka broker that keeps nothing: it counts the records that it is
// sent and acknowledges them. It knows topics t0, t1, … and is the leader of all
// their partitions.
type broker struct {
	topics, partitions int
	delay              time.Duration // before a Produce request is answered
	lose               int64         // records that are acknowledged and not counted
	away               bool          // until it is told to come

	port     int
	listener net.Listener
	count    struct{ records, bytes, requests atomic.Int64 }
}

// counted is what a broker has been sent.
type counted struct {
	Records, Requests int64
	Bytes             int64 // of record batches
	CPU               time.Duration
}

// brokerMain is the broker in a process of its own. It prints its address, and
// for each line on stdin what it has counted, until stdin ends. The line "come"
// makes a broker come that is away.
func brokerMain(args []string, stdin io.Reader, stdout io.Writer) error {
	var b broker
	f := flag.NewFlagSet("broker", flag.ContinueOnError)
	f.IntVar(&b.topics, "topics", 1, "number of topics")
	f.IntVar(&b.partitions, "partitions", 10, "number of partitions of each topic")
	f.DurationVar(&b.delay, "delay", 0, "time before a Produce request is answered")
	f.Int64Var(&b.lose, "lose", 0, "records that are acknowledged and not counted")
	f.BoolVar(&b.away, "away", false, "refuse connections until the line \"come\"")
	if err := f.Parse(args); err != nil {
		return err
	}
	fd, err := b.bind()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	defer func() {
		cancel()
		serving.Wait()
	}()
	come := func() error {
		if err := b.listen(fd); err != nil {
			return err
		}
		serving.Go(func() { b.serve(ctx) })
		return nil
	}
	if !b.away {
		if err := come(); err != nil {
			return err
		}
	}
	fmt.Fprintln(stdout, net.JoinHostPort(brokerHost, strconv.Itoa(b.port)))
	in := bufio.NewScanner(stdin)
	for in.Scan() {
		if in.Text() == "come" {
			if err := come(); err != nil {
				return err
			}
		}
		line, err := json.Marshal(b.counted())
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s\n", line)
	}
	return in.Err()
}

const brokerHost = "127.0.0.1"

// bind takes a port. Until it is listened on, connections to it are refused.
func (b *broker) bind() (fd int, err error) {
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	var name syscall.Sockaddr
	if err == nil {
		name, err = syscall.Getsockname(fd)
	}
	if err != nil {
		return fd, fmt.Errorf("taking a port: %w", err)
	}
	b.port = name.(*syscall.SockaddrInet4).Port
	return fd, nil
}

func (b *broker) listen(fd int) error {
	if err := syscall.Listen(fd, 1024); err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	f := os.NewFile(uintptr(fd), "broker")
	defer f.Close() // the listener has its own
	var err error
	b.listener, err = net.FileListener(f)
	return err
}

func (b *broker) counted() counted {
	cpu, _ := cpuTime(0)
	return counted{Records: b.count.records.Load(), Requests: b.count.requests.Load(), Bytes: b.count.bytes.Load(), CPU: cpu}
}

// serve answers clients until the context ends.
func (b *broker) serve(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { b.listener.Close() })
	defer stop()
	var clients sync.WaitGroup
	for {
		c, err := b.listener.Accept()
		if err != nil {
			break
		}
		clients.Go(func() {
			defer c.Close()
			stop := context.AfterFunc(ctx, func() { c.Close() })
			defer stop()
			b.client(c)
		})
	}
	clients.Wait()
}

// response is one that is sent when its time has come.
type response struct {
	due   time.Time
	bytes []byte
}

// client answers the requests of one connection in their order. A delay of one
// does not add to that of the next.
func (b *broker) client(c net.Conn) {
	responses := make(chan response, 1024)
	var writing sync.WaitGroup
	writing.Go(func() {
		for r := range responses {
			if wait := time.Until(r.due); wait > 0 {
				time.Sleep(wait)
			}
			if _, err := c.Write(r.bytes); err != nil {
				c.Close() // so that reading ends too
			}
		}
	})
	in := bufio.NewReaderSize(c, 256<<10)
	var buf []byte
	for {
		request, err := readRequest(in, buf)
		if err != nil {
			break
		}
		buf = request
		answer, err := b.answer(request)
		if err != nil {
			break
		}
		if answer == nil { // acks=0
			continue
		}
		r := response{bytes: answer}
		if b.delay > 0 && kmsg.Key(binary.BigEndian.Uint16(request)) == kmsg.Produce {
			r.due = time.Now().Add(b.delay)
		}
		responses <- r
	}
	close(responses)
	writing.Wait()
}

// maxRequest bounds a request.
const maxRequest = 128 << 20

func readRequest(in *bufio.Reader, buf []byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n < 10 || n > maxRequest {
		return nil, fmt.Errorf("a request of %d bytes", n)
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	_, err := io.ReadFull(in, buf[:n])
	return buf[:n], err
}

// versions are the requests that are answered, up to those versions: the last
// ones of the encoding without tagged fields.
var versions = map[kmsg.Key]int16{kmsg.Produce: 8, kmsg.Metadata: 8, kmsg.ApiVersions: 2, kmsg.InitProducerID: 1}

// answer returns the response to a request, nil if none is wanted.
func (b *broker) answer(request []byte) ([]byte, error) {
	key, version := kmsg.Key(binary.BigEndian.Uint16(request)), int16(binary.BigEndian.Uint16(request[2:]))
	body := request[8:]
	client := int(int16(binary.BigEndian.Uint16(body)))
	if body = body[2:]; client > len(body) {
		return nil, errors.New("a client id that is longer than its request")
	}
	body = body[max(client, 0):]

	var resp kmsg.Response
	newest, known := versions[key]
	switch {
	case key == kmsg.ApiVersions:
		r := kmsg.NewPtrApiVersionsResponse()
		if version > newest {
			version, r.ErrorCode = 0, 35 // UNSUPPORTED_VERSION
		}
		for k, newest := range versions {
			oldest := int16(0)
			if k == kmsg.Produce {
				oldest = 3 // record batches
			}
			r.ApiKeys = append(r.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: int16(k), MinVersion: oldest, MaxVersion: newest})
		}
		resp = r
	case !known || version > newest:
		return nil, fmt.Errorf("%s version %d", key.Name(), version)
	case key == kmsg.Produce:
		req := kmsg.NewPtrProduceRequest()
		req.SetVersion(version)
		if err := req.UnsafeReadFrom(body); err != nil {
			return nil, err
		}
		r, err := b.produce(req)
		if err != nil {
			return nil, err
		}
		if req.Acks == 0 {
			return nil, nil
		}
		resp = r
	case key == kmsg.Metadata:
		req := kmsg.NewPtrMetadataRequest()
		req.SetVersion(version)
		if err := req.ReadFrom(body); err != nil {
			return nil, err
		}
		resp = b.metadata(req)
	case key == kmsg.InitProducerID:
		r := kmsg.NewPtrInitProducerIDResponse()
		r.ProducerID = 1
		resp = r
	}
	resp.SetVersion(version)
	out := append(make([]byte, 4, 256), request[4:8]...) // length, correlation id
	out = resp.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out, nil
}

func (b *broker) metadata(req *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	r := kmsg.NewPtrMetadataResponse()
	r.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 1, Host: brokerHost, Port: int32(b.port)}}
	r.ControllerID = 1
	topic := func(name string) {
		t := kmsg.MetadataResponseTopic{Topic: &name}
		for p := range b.partitions {
			t.Partitions = append(t.Partitions, kmsg.MetadataResponseTopicPartition{
				Partition: int32(p), Leader: 1, LeaderEpoch: 1, Replicas: []int32{1}, ISR: []int32{1}})
		}
		r.Topics = append(r.Topics, t)
	}
	for _, t := range req.Topics {
		if t.Topic != nil {
			topic(*t.Topic)
		}
	}
	if req.Topics == nil { // all of them
		for i := range b.topics {
			topic(topicName(i))
		}
	}
	return r
}

// topicName is the name of the i-th topic.
func topicName(i int) string { return "t" + strconv.Itoa(i) }

// produce counts the records of a request.
func (b *broker) produce(req *kmsg.ProduceRequest) (*kmsg.ProduceResponse, error) {
	r := kmsg.NewPtrProduceResponse()
	for _, t := range req.Topics {
		topic := kmsg.ProduceResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			records, err := recordsIn(p.Records)
			if err != nil {
				return nil, err
			}
			b.count.records.Add(records)
			b.count.bytes.Add(int64(len(p.Records)))
			partition := kmsg.NewProduceResponseTopicPartition()
			partition.Partition = p.Partition
			topic.Partitions = append(topic.Partitions, partition)
		}
		r.Topics = append(r.Topics, topic)
	}
	if b.count.requests.Add(1) == 1 {
		b.count.records.Add(-b.lose)
	}
	return r, nil
}

// recordsIn returns how many records the batches say that they hold.
func recordsIn(batches []byte) (n int64, err error) {
	const (
		lengthAt, magicAt, countAt, header = 8, 16, 57, 61
		beforeLength                       = 12 // what the length does not count
	)
	for len(batches) > 0 {
		if len(batches) > magicAt && batches[magicAt] < 2 { // a message of before Kafka 0.11, as lua-resty-kafka sends them
			size := beforeLength + int64(binary.BigEndian.Uint32(batches[lengthAt:]))
			if size > int64(len(batches)) {
				return n, fmt.Errorf("a message of %d bytes in %d", size, len(batches))
			}
			n++
			batches = batches[size:]
			continue
		}
		if len(batches) < header || batches[magicAt] != 2 {
			return n, errors.New("no record batch of version 2")
		}
		size := beforeLength + int64(binary.BigEndian.Uint32(batches[lengthAt:]))
		if size < header || size > int64(len(batches)) {
			return n, fmt.Errorf("a record batch of %d bytes in %d", size, len(batches))
		}
		n += int64(binary.BigEndian.Uint32(batches[countAt:]))
		batches = batches[size:]
	}
	return n, nil
}

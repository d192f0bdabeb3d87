//go:build unix

package producer

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The benchmarks measure what a record costs this process, so the broker is
// another one: this test binary, started again to acknowledge all it is sent. It
// does as little as it can, and counts the records.

const acknowledgerEnv = "PRODUCER_TEST_ACKNOWLEDGER"

func init() {
	if os.Getenv(acknowledgerEnv) == "" {
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go acknowledge(c, l.Addr().(*net.TCPAddr))
		}
	}()
	// Each line that comes is the question how many records came.
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(acknowledged.Load())
	}
	os.Exit(0)
}

var acknowledged atomic.Int64

type acknowledger struct {
	address string
	in      io.Writer
	out     *bufio.Scanner
}

func startAcknowledger(t testing.TB) *acknowledger {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), acknowledgerEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	a := &acknowledger{in: in, out: bufio.NewScanner(out)}
	if !a.out.Scan() {
		t.Fatal("the acknowledger did not start")
	}
	a.address = a.out.Text()
	return a
}

// records returns how many it has acknowledged.
func (a *acknowledger) records(t testing.TB) (n int64) {
	t.Helper()
	fmt.Fprintln(a.in)
	if !a.out.Scan() {
		t.Fatal("the acknowledger has ended")
	}
	fmt.Sscan(a.out.Text(), &n)
	return n
}

func acknowledge(c net.Conn, self *net.TCPAddr) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 64<<10)
	var size [4]byte
	var body []byte
	for {
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint32(size[:]))
		if cap(body) < n {
			body = make([]byte, n)
		}
		body = body[:n]
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		request := kmsg.RequestForKey(int16(binary.BigEndian.Uint16(body)))
		request.SetVersion(int16(binary.BigEndian.Uint16(body[2:])))
		from := 10 + max(int(int16(binary.BigEndian.Uint16(body[8:]))), 0) // after the client id
		if request.IsFlexible() {
			from++ // tagged fields of the header
		}
		if err := request.ReadFrom(body[from:]); err != nil {
			panic(err)
		}
		answer := append(make([]byte, 4, 256), body[4:8]...)
		if a := respond(request, self); a != nil {
			a.SetVersion(request.GetVersion())
			if a.IsFlexible() {
				answer = append(answer, 0) // tagged fields of the header
			}
			answer = a.AppendTo(answer)
			binary.BigEndian.PutUint32(answer, uint32(len(answer)-4))
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}
}

func respond(request kmsg.Request, self *net.TCPAddr) kmsg.Response {
	switch request := request.(type) {
	case *kmsg.ApiVersionsRequest:
		answer := request.ResponseKind().(*kmsg.ApiVersionsResponse)
		for key, version := range map[kmsg.Key]int16{kmsg.Produce: 8, kmsg.Metadata: 8, kmsg.InitProducerID: 4, kmsg.ApiVersions: 0} {
			answer.ApiKeys = append(answer.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: int16(key), MaxVersion: version})
		}
		return answer
	case *kmsg.InitProducerIDRequest:
		answer := request.ResponseKind().(*kmsg.InitProducerIDResponse)
		answer.ProducerID = acknowledged.Load()
		return answer
	case *kmsg.MetadataRequest:
		answer := request.ResponseKind().(*kmsg.MetadataResponse)
		answer.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 1, Host: self.IP.String(), Port: int32(self.Port)}}
		for _, asked := range request.Topics {
			topic := kmsg.NewMetadataResponseTopic()
			topic.Topic = asked.Topic
			for i := range int32(10) {
				p := kmsg.NewMetadataResponseTopicPartition()
				p.Partition, p.Leader, p.Replicas, p.ISR = i, 1, []int32{1}, []int32{1}
				topic.Partitions = append(topic.Partitions, p)
			}
			answer.Topics = append(answer.Topics, topic)
		}
		return answer
	case *kmsg.ProduceRequest:
		answer := request.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range request.Topics {
			t := kmsg.NewProduceResponseTopic()
			t.Topic = topic.Topic
			for _, partition := range topic.Partitions {
				const count = 57 // where a batch has the number of its records
				acknowledged.Add(int64(binary.BigEndian.Uint32(partition.Records[count:])))
				p := kmsg.NewProduceResponseTopicPartition()
				p.Partition = partition.Partition
				t.Partitions = append(t.Partitions, p)
			}
			answer.Topics = append(answer.Topics, t)
		}
		if request.Acks == 0 {
			return nil
		}
		return answer
	default:
		panic(fmt.Sprintf("a request that nobody makes: %T", request))
	}
}

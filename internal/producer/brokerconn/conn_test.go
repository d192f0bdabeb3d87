package brokerconn

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"kafka-upstream/internal/test/testcert"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const address = "broker.example:9092"

// pipe returns a connection in memory, and the broker's side of it.
func pipe(t *testing.T, o Options) (*Conn, net.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	if o.Broker = address; o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	c := New(ours, o)
	t.Cleanup(func() { _, _ = c.Close(), theirs.Close() })
	return c, theirs
}

// dial returns a TCP connection, and the broker's side of it.
func dial(t *testing.T, o Options) (*Conn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if o.Broker == "" {
		o.Broker = l.Addr().String()
	}
	o.Timeout = 10 * time.Second
	c := New(ours, o)
	t.Cleanup(func() { _, _ = c.Close(), theirs.Close() })
	return c, theirs.(*net.TCPConn)
}

// readRequest reads a request, without its size.
func readRequest(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

// answering has a broker answer requests by f, which returns what is to be written
// whole, until f returns nil or the connection ends.
func answering(broker net.Conn, f func(key kmsg.Key, version int16, correlation int32) []byte) {
	for {
		b, err := readRequest(broker)
		if err != nil {
			return
		}
		answer := f(kmsg.Key(binary.BigEndian.Uint16(b)), int16(binary.BigEndian.Uint16(b[2:])), int32(binary.BigEndian.Uint32(b[4:])))
		if answer == nil {
			return
		}
		if len(answer) == 0 { // to acks 0
			continue
		}
		if _, err := broker.Write(answer); err != nil {
			return
		}
	}
}

func healthy(key kmsg.Key, version int16, correlation int32) []byte {
	return frame(correlation, answerTo(key, version).AppendTo(nil))
}

func producing(acks int16) *produce.Request {
	r := &produce.Request{Acks: acks, Topics: []produce.RequestTopic{{Topic: "t", Partitions: []produce.RequestPartition{{Partition: 3}}}}}
	records := make([]kafka.Record, 5)
	for i := range records {
		records[i].Value = kafka.NewBytes(bytes.Repeat([]byte("x"), 30_000))
	}
	r.Topics[0].Partitions[0].RecordSet = protocol.RecordSet{Version: 2, Records: kafka.NewRecordReader(records...)}
	return r
}

func ask(c *Conn, version int16, correlation int32, r protocol.Message) error {
	_, err := protocol.RoundTrip(struct {
		io.Reader
		io.Writer
	}{c, c}, version, correlation, "kafka-upstream", r)
	return err
}

func TestAnswersReachKafkaGo(t *testing.T) {
	for _, o := range []Options{{}, {TLS: &tls.Config{InsecureSkipVerify: true}}} {
		c, broker := dial(t, o)
		var server net.Conn = broker
		if o.TLS != nil {
			server = tls.Server(broker, testcert.New("authority").ServerConfig("127.0.0.1"))
		}
		go answering(server, healthy)
		for i, r := range []protocol.Message{
			new(apiversions.Request),
			&saslhandshake.Request{Mechanism: "PLAIN"}, &saslauthenticate.Request{AuthBytes: []byte("login")},
			&metadata.Request{TopicNames: []string{"t"}}, producing(1), producing(-1),
			&metadata.Request{TopicNames: []string{"t", "u"}},
		} {
			if err := ask(c, newest(int16(r.ApiKey())), int32(i), r); err != nil {
				t.Errorf("%T: %v", r, err)
			}
		}
	}
}

func TestPeerThatIsNotKafkaIsToldByWhatItSays(t *testing.T) {
	random := make([]byte, 64)
	source := rand.NewChaCha8([32]byte{1})
	for random[0] < 7 {
		_, _ = source.Read(random)
	}
	for _, c := range []struct{ name, says, want string }{
		{"HTTP", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", `it begins with "HTTP/1.1 400"`},
		{"SMTP", "220 mail.example ESMTP\r\n", `it begins with "220 mail.exa"`},
		{"SSH", "SSH-2.0-OpenSSH_9.2\r\n", `it begins with "SSH-2.0-Open"`},
		{"Redis", "-ERR unknown command\r\n", `it begins with "-ERR unknown"`},
		{"PostgreSQL", "E\x00\x00\x00\x8aSFATAL", `it begins with "E\x00\x00\x00\x8aSFATAL"`},
		{"MySQL", "\x4a\x00\x00\x00\x0a8.0.36\x00", `it begins with "J\x00\x00\x00\n8.0.36\x00"`},
		{"TLS alert", "\x15\x03\x03\x00\x02\x02\x50", `it begins with "\x15\x03\x03\x00\x02\x02P", as TLS does: set security.ssl`},
		{"-1", "\xff\xff\xff\xff", `it begins with "\xff\xff\xff\xff"`},
		{"-1, and more", "\xff\xff\xff\xff\xff\xff\xff\xff", `it begins with "\xff\xff\xff\xff`},
		{"2 GiB", "\x7f\xff\xff\xff\x00\x00\x00\x01", `it begins with "\x7f\xff\xff\xff`},
		{"100 MiB and a byte", "\x06\x40\x00\x01\x00\x00\x00\x01", `it begins with "\x06@\x00\x01`},
		{"nothing but a size", "\x00\x00\x00\x00", `it begins with "\x00\x00\x00\x00"`},
		{"too short for an id", "\x00\x00\x00\x03\x00\x00\x00\x01", `it begins with "\x00\x00\x00\x03`},
		{"random", string(random), "the answer is not Kafka's"},
		{"one letter", "E", `it begins with "E"`},
		{"another request's answer", string(frame(2, []byte("\x00\x00\x00\x00\x00\x00"))), "is for request 2 where 1 waits"},
		{"the request itself", "\x00\x00\x00\x18\x00\x12\x00\x00\x00\x00\x00\x01\x00\x0ekafka-upstream", "is for request 1179648 where 1 waits"},
		{"a frame of zeros", "\x00\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x00\x00", "ends too early"},
		{"2³¹ elements", string(frame(1, append([]byte{0, 0, 0x7f, 0xff, 0xff, 0xff}, make([]byte, 90)...))), "announces 2147483647 elements in 90 bytes"},
		{"a body too many", string(frame(1, append(answerTo(kmsg.ApiVersions, 0).AppendTo(nil), "more"...))), "has 4 bytes too many"},
		{"too large for what was asked", "\x00\x10\x00\x00\x00\x00\x00\x01", "has 1048576 bytes, and 65536 are the most that are taken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, broker := dial(t, Options{Broker: address})
			go func() {
				defer broker.Close()
				if _, err := readRequest(broker); err == nil {
					_, _ = io.WriteString(broker, c.says)
				}
			}()
			err := ask(conn, 0, 1, new(apiversions.Request))
			e, ok := errors.AsType[*Error](err)
			if !ok || !e.NotKafka() || !e.Unsent() || e.Stale() {
				t.Fatalf("%v", err)
			}
			if got := e.Error(); !strings.HasPrefix(got, "broker "+address+": the answer is not Kafka's: ") || !strings.Contains(got, c.want) {
				t.Errorf("%s\nwant %s", got, c.want)
			}
			if _, again := conn.Read(make([]byte, 1)); again != error(e) {
				t.Errorf("read again: %v", again)
			}
			if _, again := conn.Write(make([]byte, 1)); again != error(e) {
				t.Errorf("written again: %v", again)
			}
		})
	}
}

func TestPlaintextWhereTLSIsExpectedSaysWhatCame(t *testing.T) {
	conn, broker := dial(t, Options{Broker: address, TLS: &tls.Config{InsecureSkipVerify: true}})
	go func() {
		_, _ = broker.Read(make([]byte, 1<<10))
		_, _ = io.WriteString(broker, "HTTP/1.1 400 Bad Request\r\n\r\n")
	}()
	err := ask(conn, 0, 1, new(apiversions.Request))
	e, ok := errors.AsType[*Error](err)
	if !ok || !e.NotKafka() || !e.Unsent() || !strings.Contains(e.Error(), address) || !strings.Contains(e.Error(), `it begins with "HTTP/"`) || !strings.Contains(e.Error(), "security.ssl") {
		t.Errorf("%v", err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); !ok {
		t.Error("it is no TLS error any more")
	}
}

func TestCertificateThatIsNotTrustedIsNoOtherError(t *testing.T) {
	conn, broker := dial(t, Options{Broker: address, TLS: new(tls.Config)})
	go func() { _ = tls.Server(broker, testcert.New("authority").ServerConfig("broker.example")).Handshake() }()
	err := ask(conn, 0, 1, new(apiversions.Request))
	e, ok := errors.AsType[*Error](err)
	if !ok || e.NotKafka() || e.Unsent() || !strings.Contains(e.Error(), address) {
		t.Errorf("%v", err)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
		t.Errorf("%v is no error of a certificate", err)
	}
}

func TestHostThatWasDialledIsCheckedAgainstTheCertificate(t *testing.T) {
	authority := testcert.New("authority")
	for name, good := range map[string]bool{"broker.example": true, "other.example": false} {
		conn, broker := dial(t, Options{Broker: address, TLS: &tls.Config{RootCAs: authority.Pool()}})
		go answering(tls.Server(broker, authority.ServerConfig(name)), healthy)
		if err := ask(conn, 0, 1, new(apiversions.Request)); (err == nil) != good {
			t.Errorf("certificate for %s: %v", name, err)
		}
	}
}

func TestEndOfAConnectionNamesTheBroker(t *testing.T) {
	for name, says := range map[string]string{
		"at once":          "",
		"within a size":    "\x00\x00",
		"within an answer": "\x00\x00\x00\x20\x00\x00\x00\x01\x00",
	} {
		t.Run(name, func(t *testing.T) {
			conn, broker := dial(t, Options{Broker: address})
			go func() {
				defer broker.Close()
				if _, err := readRequest(broker); err == nil {
					_, _ = io.WriteString(broker, says)
				}
			}()
			err := ask(conn, 0, 1, new(apiversions.Request))
			e, ok := errors.AsType[*Error](err)
			if !ok || e.NotKafka() || !e.Unsent() || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%v", err)
			}
			if got := e.Error(); !strings.Contains(got, address) || !strings.Contains(got, "EOF") {
				t.Error(got)
			}
		})
	}
}

func TestResetNamesTheBrokerAndStaysAReset(t *testing.T) {
	conn, broker := dial(t, Options{})
	go func() {
		if _, err := readRequest(broker); err == nil {
			_ = broker.SetLinger(0)
			_ = broker.Close()
		}
	}()
	err := ask(conn, 8, 1, producing(1))
	if e, ok := errors.AsType[*Error](err); !ok || e.Unsent() || !errors.Is(err, syscall.ECONNRESET) || !strings.Contains(e.Error(), conn.RemoteAddr().String()) {
		t.Errorf("%v", err)
	}
}

// What a broker says of a produce request that it may have carried out is no reason to
// take the records for unsent.
func TestRequestWithRecordsIsNeverUnsentOnceItWasWritten(t *testing.T) {
	for name, says := range map[string]string{"HTTP": "HTTP/1.1 400 Bad Request\r\n", "end": "", "nonsense": string(frame(1, []byte("nonsense")))} {
		t.Run(name, func(t *testing.T) {
			conn, broker := dial(t, Options{})
			go func() {
				defer broker.Close()
				if _, err := readRequest(broker); err == nil {
					_, _ = io.WriteString(broker, says)
				}
			}()
			err := ask(conn, 8, 1, producing(1))
			if e, ok := errors.AsType[*Error](err); !ok || e.Unsent() || e.Stale() {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAnswerMustBeWholeWithinTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait = 7 * time.Second // before the answer begins
		conn, broker := pipe(t, Options{Timeout: 10 * time.Second})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			if _, err := readRequest(broker); err != nil {
				return
			}
			time.Sleep(wait)
			for _, b := range healthy(kmsg.ApiVersions, 0, 1) {
				if _, err := broker.Write([]byte{b}); err != nil {
					return
				}
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
					return
				}
			}
		}()
		began := time.Now()
		err := ask(conn, 0, 1, new(apiversions.Request))
		e, ok := errors.AsType[*Error](err)
		if !ok || !errors.Is(err, os.ErrDeadlineExceeded) || !e.Unsent() || e.NotKafka() || !strings.Contains(e.Error(), "did not finish an answer") {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took != wait+10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestSilenceEndsByTheEarlierOfTimeoutAndDeadline(t *testing.T) {
	for _, c := range []struct{ timeout, deadline, want time.Duration }{
		{10 * time.Second, 0, 10 * time.Second},
		{10 * time.Second, time.Minute, 10 * time.Second},
		{10 * time.Second, 3 * time.Second, 3 * time.Second},
	} {
		for _, reads := range []bool{true, false} { // else the peer does not even take the request
			synctest.Test(t, func(t *testing.T) {
				conn, broker := pipe(t, Options{Timeout: c.timeout})
				if c.deadline > 0 {
					_ = conn.SetDeadline(time.Now().Add(c.deadline))
				}
				if reads {
					go func() { _, _ = readRequest(broker) }()
				}
				began := time.Now()
				err := ask(conn, 0, 1, new(apiversions.Request))
				if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, os.ErrDeadlineExceeded) || !e.Unsent() || !strings.Contains(e.Error(), address) {
					t.Errorf("%v", err)
				}
				if took := time.Since(began); took != c.want {
					t.Errorf("%+v: it took %v", c, took)
				}
			})
		}
	}
}

func TestMemoryGrowsWithWhatCameAndNotWithWhatIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const came = 10_000
		conn, broker := pipe(t, Options{})
		done := make(chan error)
		go func() { done <- ask(conn, 8, 1, &metadata.Request{TopicNames: []string{"t"}}) }()
		if _, err := readRequest(broker); err != nil {
			t.Fatal(err)
		}
		begins := binary.BigEndian.AppendUint32(nil, 8<<20) // the most that an answer may have
		begins = binary.BigEndian.AppendUint32(begins, 1)
		if _, err := broker.Write(append(begins, make([]byte, came-8)...)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := cap(conn.buf); len(conn.buf) != came || n > 3*came {
			t.Errorf("%d bytes are held for %d", n, len(conn.buf))
		}
		_ = broker.Close()
		if err := <-done; !errors.Is(err, io.ErrUnexpectedEOF) || conn.buf != nil {
			t.Errorf("%v, and %d bytes are held still", err, cap(conn.buf))
		}
	})
}

func TestIdleConnectionKeepsNoLargeBuffer(t *testing.T) {
	conn, broker := pipe(t, Options{})
	go answering(broker, func(key kmsg.Key, version int16, correlation int32) []byte {
		answer := answerTo(key, version).(*kmsg.MetadataResponse)
		p := answer.Topics[0].Partitions[0]
		answer.Topics[0].Partitions = nil
		for i := range int32(10_000) {
			p.Partition = i
			answer.Topics[0].Partitions = append(answer.Topics[0].Partitions, p)
		}
		return frame(correlation, answer.AppendTo(nil))
	})
	if err := ask(conn, 8, 1, &metadata.Request{TopicNames: []string{"t"}}); err != nil {
		t.Fatal(err)
	}
	if n := cap(conn.buf); n > keptBuffer {
		t.Errorf("%d bytes", n)
	}
}

// warm asks for metadata, so that the connection has been in use. What is written to it
// after that is read once, and not answered.
func warm(t *testing.T, conn *Conn, broker net.Conn) {
	t.Helper()
	answers := 0
	go answering(broker, func(key kmsg.Key, version int16, correlation int32) []byte {
		if answers++; answers > 2 {
			return nil
		}
		return healthy(key, version, correlation)
	})
	for i, r := range []protocol.Message{new(apiversions.Request), &metadata.Request{TopicNames: []string{"t"}}} {
		if err := ask(conn, newest(int16(r.ApiKey())), int32(i), r); err != nil {
			t.Fatal(err)
		}
	}
}

// arrived waits until what the broker has done is to be seen here.
func arrived(t *testing.T, conn *Conn, want peerState) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); conn.peer.state() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing has arrived")
		}
	}
}

func TestConnectionOverTLSOutlivesSessionTickets(t *testing.T) {
	authority := testcert.New("authority")
	conn, broker := dial(t, Options{Broker: "127.0.0.1:9092", TLS: &tls.Config{RootCAs: authority.Pool()}})
	server := tls.Server(broker, authority.ServerConfig("127.0.0.1"))
	warm(t, conn, server)
	// A record of which the client takes no notice but for what follows: as a ticket
	// that came late, it is there to be read.
	if _, err := server.Write(healthy(kmsg.Produce, 8, 9)); err != nil {
		t.Fatal(err)
	}
	arrived(t, conn, readable)
	if err := ask(conn, 8, 9, producing(1)); err != nil {
		t.Error(err)
	}
}

func TestBytesThatNobodyAskedForEndTheConnection(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		conn, broker := dial(t, Options{})
		warm(t, conn, broker)
		if _, err := broker.Write(frame(9, []byte("an answer to nobody's request"))); err != nil {
			t.Fatal(err)
		}
		arrived(t, conn, readable)
		unasked(t, ask(conn, 8, 9, producing(1)))
	})
	t.Run("with an answer", func(t *testing.T) {
		conn, broker := pipe(t, Options{})
		go answering(broker, func(key kmsg.Key, version int16, correlation int32) []byte {
			return append(healthy(key, version, correlation), healthy(key, version, correlation+1)...)
		})
		if err := ask(conn, 8, 1, &metadata.Request{TopicNames: []string{"t"}}); err != nil {
			t.Fatal(err)
		}
		unasked(t, ask(conn, 8, 2, &metadata.Request{TopicNames: []string{"t"}}))
	})
}

func unasked(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || !e.NotKafka() || !e.Unsent() || !e.Stale() || !strings.Contains(e.Error(), `sent bytes that were not requested: "\x00\x00`) {
		t.Errorf("%v", err)
	}
}

func TestOnlyRequestsWhoseAnswersAreKnownAreWritten(t *testing.T) {
	head := func(key kmsg.Key, version int16, rest ...byte) []byte {
		b := binary.BigEndian.AppendUint16(nil, uint16(key))
		b = binary.BigEndian.AppendUint16(b, uint16(version))
		b = append(b, 0, 0, 0, 1, 0, 1, 'x')
		b = append(b, rest...)
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
	}
	for name, b := range map[string][]byte{
		"another API":         head(kmsg.Fetch, 4),
		"a newer version":     head(kmsg.Produce, 9),
		"SASL without frames": head(kmsg.SASLHandshake, 0),
		"no request":          []byte("GET / HTTP/1.1\r\n\r\n"),
		"two partitions":      head(kmsg.Produce, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0),
		"too short":           {0, 0},
	} {
		conn, broker := pipe(t, Options{})
		_ = broker.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if n, err := conn.Write(b); n != 0 || err == nil {
			t.Errorf("%s: %d bytes were written, %v", name, n, err)
		} else if name == "SASL without frames" && !strings.Contains(err.Error(), "before 1.0") {
			t.Error(err)
		}
		if n, _ := broker.Read(make([]byte, 1)); n != 0 {
			t.Errorf("%s: something was sent", name)
		}
	}
}

func BenchmarkProduceRoundTrip(b *testing.B) {
	for _, guarded := range []bool{false, true} {
		b.Run(map[bool]string{false: "bare", true: "guarded"}[guarded], func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			answer := healthy(kmsg.Produce, 8, 1)
			go func() {
				broker, err := l.Accept()
				if err != nil {
					return
				}
				defer broker.Close()
				buf := make([]byte, 64<<10)
				for {
					if _, err := io.ReadFull(broker, buf[:4]); err != nil {
						return
					}
					if _, err := io.ReadFull(broker, buf[:binary.BigEndian.Uint32(buf)]); err != nil {
						return
					}
					if _, err := broker.Write(answer); err != nil {
						return
					}
				}
			}()
			nc, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer nc.Close()
			var request bytes.Buffer
			r := producing(1)
			r.Topics[0].Partitions[0].RecordSet.Records = kafka.NewRecordReader(slices.Repeat([]kafka.Record{{}}, 200)...)
			if err := protocol.WriteRequest(&request, 8, 1, "kafka-upstream", r); err != nil {
				b.Fatal(err)
			}
			if guarded {
				nc = New(nc, Options{Broker: address, Timeout: 10 * time.Second})
			}
			got := make([]byte, 4<<10)
			b.ReportAllocs()
			for b.Loop() {
				deadline := time.Now().Add(10 * time.Second) // as kafka-go does
				_ = nc.SetDeadline(deadline)
				if _, err := nc.Write(request.Bytes()); err != nil {
					b.Fatal(err)
				}
				if n, err := nc.Read(got); err != nil || n != len(answer) {
					b.Fatal(n, err)
				}
				_ = nc.SetDeadline(time.Time{})
			}
		})
	}
}

// A broker that limits sessions closes the connection at the first request after the end, and what
// was sent with acks 0 would be lost.
func TestNothingIsSentOnceALoginsSessionIsAboutToEnd(t *testing.T) {
	const never = 1000 * time.Hour
	for _, tc := range []struct {
		version  int16
		lifetime int64 // in milliseconds
		until    time.Duration
	}{
		{1, 2000, 1800 * time.Millisecond},
		{1, 3_600_000, time.Hour - 30*time.Second},
		{1, 1, 900 * time.Microsecond},
		{1, 0, never},
		{1, -1, never},
		{1, math.MinInt64, never},
		{1, math.MaxInt64, never},
		{0, 2000, never},
	} {
		for _, acks := range []int16{0, 1} {
			t.Run(fmt.Sprintf("%d ms in version %d, acks %d", tc.lifetime, tc.version, acks), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					conn, broker := pipe(t, Options{})
					var seen []kmsg.Key
					go answering(broker, func(key kmsg.Key, version int16, correlation int32) []byte {
						seen = append(seen, key)
						if key == kmsg.SASLAuthenticate {
							r := kmsg.NewPtrSASLAuthenticateResponse()
							r.Version, r.SessionLifetimeMillis = version, tc.lifetime
							return frame(correlation, r.AppendTo(nil))
						}
						if key == kmsg.Produce && acks == 0 {
							return []byte{}
						}
						return healthy(key, version, correlation)
					})
					began := time.Now()
					if err := ask(conn, tc.version, 1, new(saslauthenticate.Request)); err != nil {
						t.Fatal(err)
					}
					if err := ask(conn, 8, 2, &metadata.Request{TopicNames: []string{"t"}}); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Until(began.Add(tc.until - 1)))
					if err := ask(conn, 8, 3, producing(acks)); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					time.Sleep(time.Until(began.Add(tc.until)))
					err := ask(conn, 8, 4, producing(acks))
					synctest.Wait()
					if tc.until == never {
						if err != nil || len(seen) != 4 {
							t.Errorf("%v, the broker saw %v", err, seen)
						}
						return
					}
					if e, ok := errors.AsType[*Error](err); !ok || !e.Unsent() || !e.Stale() || len(seen) != 3 {
						t.Errorf("%v, the broker saw %v", err, seen)
					}
				})
			})
		}
	}
}

// Otherwise a session that is too short for a request would be begun again and again.
func TestFirstRequestOfASessionIsSentAtAnyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, broker := pipe(t, Options{})
		go answering(broker, func(key kmsg.Key, version int16, correlation int32) []byte {
			if key == kmsg.SASLAuthenticate {
				r := kmsg.NewPtrSASLAuthenticateResponse()
				r.Version, r.SessionLifetimeMillis = version, 1
				return frame(correlation, r.AppendTo(nil))
			}
			return healthy(key, version, correlation)
		})
		if err := ask(conn, 1, 1, new(saslauthenticate.Request)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := ask(conn, 8, 2, producing(1)); err != nil {
			t.Error(err)
		}
	})
}

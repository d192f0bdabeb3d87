//go:build unix

package producer

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/test/testcert"
)

// scripted is a listener that behaves as a test says: at first as the peer, and as a
// Kafka broker with a topic of 10 partitions once healed.
type scripted struct {
	net.Listener
	healed  atomic.Bool
	address *net.TCPAddr

	mu    sync.Mutex
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// answers makes what a broker writes for a request; nil is the end.
type answers func(request kmsg.Request, correlation []byte) []byte

func startScripted(t *testing.T, peer func(net.Conn)) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{Listener: l, address: l.Addr().(*net.TCPAddr), conns: make(map[net.Conn]bool)}
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[c] = true
			s.mu.Unlock()
			s.wg.Go(func() {
				defer s.end(c)
				if s.healed.Load() {
					answer(c, s.right)
				} else {
					peer(c)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.mu.Lock()
		for c := range s.conns {
			_ = c.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

func (s *scripted) end(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	_ = c.Close()
}

func (s *scripted) addrs() []string { return []string{s.Addr().String()} }

// heal has the listener be a broker from now on. Those who are connected have to come
// again.
func (s *scripted) heal() {
	s.healed.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

// right is what a broker answers.
func (s *scripted) right(request kmsg.Request, correlation []byte) []byte {
	return framed(correlation, respond(request, s.address), request.GetVersion())
}

func framed(correlation []byte, r kmsg.Response, version int16) []byte {
	r.SetVersion(version)
	b := r.AppendTo(append(make([]byte, 4), correlation...))
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// answer serves a connection by f.
func answer(c net.Conn, f answers) {
	var size [4]byte
	for {
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		request := kmsg.RequestForKey(int16(binary.BigEndian.Uint16(body)))
		request.SetVersion(int16(binary.BigEndian.Uint16(body[2:])))
		if err := request.ReadFrom(body[10+max(int16(binary.BigEndian.Uint16(body[8:])), 0):]); err != nil {
			return
		}
		b := f(request, body[4:8])
		if b == nil {
			return
		}
		if len(b) == 0 {
			continue
		}
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// says is a peer that writes a text, and then reads what comes.
func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = io.WriteString(c, text)
		_, _ = io.Copy(io.Discard, c)
	}
}

// answering is a peer that frames the body for the request that it reads, whatever it is.
func answering(body string) func(net.Conn) {
	return func(c net.Conn) {
		answer(c, func(_ kmsg.Request, correlation []byte) []byte {
			b := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
			return append(append(b, correlation...), body...)
		})
	}
}

// metadata is a broker that alters what it knows of the cluster.
func metadata(alter func(*kmsg.MetadataResponse)) func(net.Conn) {
	return func(c net.Conn) {
		answer(c, func(request kmsg.Request, correlation []byte) []byte {
			r := respond(request, c.LocalAddr().(*net.TCPAddr))
			if m, ok := r.(*kmsg.MetadataResponse); ok {
				alter(m)
			}
			return framed(correlation, r, request.GetVersion())
		})
	}
}

// peers are those that listen where a Kafka broker should, and a part of what the error
// says of them.
func peers(t *testing.T) map[string]struct {
	peer func(net.Conn)
	want string
} {
	type peer = struct {
		peer func(net.Conn)
		want string
	}
	web := &http.Server{Handler: http.NotFoundHandler()}
	t.Cleanup(func() { _ = web.Close() })
	secure := testcert.New("authority").ServerConfig("127.0.0.1")
	const alien = "the answer is not Kafka's: it begins with "
	return map[string]peer{
		"HTTP": {says("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"), alien + `"HTTP/1.1 400"`},
		"HTTP that waits for the end of a line": {func(c net.Conn) {
			l := &once{c: c, over: make(chan struct{})}
			_ = web.Serve(l)
			<-l.over
		}, "i/o timeout"},
		"TLS that tells": {says("\x15\x03\x03\x00\x02\x02\x50"), "as TLS does: set security.ssl"},
		"TLS that ends": {func(c net.Conn) {
			_ = tls.Server(c, secure).Handshake()
		}, ""}, // EOF or reset
		"SMTP":          {says("220 mail.example ESMTP\r\n"), alien + `"220 mail.exa"`},
		"SSH":           {says("SSH-2.0-OpenSSH_9.2\r\n"), alien + `"SSH-2.0-Open"`},
		"Redis":         {says("-ERR unknown command\r\n"), alien + `"-ERR unknown"`},
		"FF FF FF FF":   {says("\xff\xff\xff\xff"), alien + `"\xff\xff\xff\xff"`},
		"size of 2 GiB": {says("\x7f\xff\xff\xff\x00\x00\x00\x01"), alien},
		"random bytes": {func(c net.Conn) {
			_, _ = io.CopyN(c, rand.NewChaCha8([32]byte(make([]byte, 32))), 1<<20)
		}, "the answer is not Kafka's"},
		"silence":             {says(""), "i/o timeout"},
		"end":                 {func(net.Conn) {}, ""}, // EOF or reset
		"one byte at a time":  {trickle, "did not finish an answer"},
		"frame of nonsense":   {answering("nonsense, well framed"), "the answer is not Kafka's: ApiVersions "},
		"2³¹ elements":        {answering("\x00\x00\x7f\xff\xff\xff" + strings.Repeat("\x00", 100)), "announces 2147483647 elements in 100 bytes"},
		"nobody's answer":     {says("\x00\x00\x00\x0a\x00\x00\x00\x63\x00\x00\x00\x00\x00\x00"), "is for request 99 where "},
		"ApiVersions refused": {answering("\x00\x23\x00\x00\x00\x00"), "[35] Unsupported Version"},
	}
}

// once is a listener with one connection, which is over when it is closed.
type once struct {
	c    net.Conn
	over chan struct{}
	end  sync.Once
	took bool
}

func (l *once) Accept() (net.Conn, error) {
	if l.took {
		return nil, net.ErrClosed
	}
	l.took = true
	return &onceConn{l.c, l}, nil
}
func (l *once) Close() error   { return nil }
func (l *once) Addr() net.Addr { return l.c.LocalAddr() }

type onceConn struct {
	net.Conn
	l *once
}

func (c *onceConn) Close() error {
	defer c.l.end.Do(func() { close(c.l.over) })
	return c.Conn.Close()
}

// trickle answers, a byte every 20 ms.
func trickle(c net.Conn) {
	answer(c, func(request kmsg.Request, correlation []byte) []byte {
		b := framed(correlation, respond(request, c.LocalAddr().(*net.TCPAddr)), request.GetVersion())
		for len(b) > 0 {
			if _, err := c.Write(b[:1]); err != nil {
				return nil
			}
			b = b[1:]
			time.Sleep(20 * time.Millisecond) // its pace
		}
		return nil
	})
}

// cause waits until the producer cannot deliver, for a reason with these texts.
func cause(t *testing.T, p *Producer, want ...string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		log := topicOf(p).log
		log.mu.Lock()
		if log.cause != "" {
			got = log.cause
		}
		log.mu.Unlock()
		found := got != ""
		for _, w := range want {
			found = found && strings.Contains(got, w)
		}
		if found {
			return
		}
	}
	t.Fatalf("the reason is %q, want %q", got, want)
}

// impatient has few and short attempts.
func impatient(o *Options) {
	o.Timeout = 300 * time.Millisecond
	o.MaxAttempts = 1
	o.Backoff = 20 * time.Millisecond
}

// Where somebody else listens than a Kafka broker, be it at a bootstrap server's address
// or where the cluster says that a broker is, records wait as for a broker that is away,
// and other producers take no notice.
func TestPeerThatIsNotKafkaIsABrokerThatIsAway(t *testing.T) {
	for name, c := range peers(t) {
		t.Run(name, func(t *testing.T) {
			for _, advertised := range []bool{false, true} {
				t.Run(map[bool]string{false: "bootstrap", true: "advertised"}[advertised], func(t *testing.T) {
					t.Parallel()
					sick := startScripted(t, c.peer)
					servers := sick.addrs()
					if advertised {
						servers = startScripted(t, metadata(func(r *kmsg.MetadataResponse) {
							r.Brokers[0].Port = int32(sick.address.Port)
						})).addrs()
					}
					well := startScripted(t, nil)
					well.heal()
					p, other := newTestProducer(t, servers, impatient), newTestProducer(t, well.addrs(), impatient)
					send(t, p, "x")
					send(t, other, "y")
					cause(t, p, c.want, sick.Addr().String())
					if s := settled(t, other); s.Delivered != 1 {
						t.Errorf("the other producer: %+v", s)
					}
					if s := p.totals(); s.Buffered != 1 || s.Failed != 0 {
						t.Errorf("%+v", s)
					}
					sick.heal()
					if s := settled(t, p); s.Delivered != 1 {
						t.Errorf("healed: %+v", s)
					}
				})
			}
		})
	}
}

func TestPeerThatIsNotKafkaUsesUpTheAttemptsOfWhoWaits(t *testing.T) {
	for name, c := range peers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sick := startScripted(t, c.peer)
			p := newTestProducer(t, sick.addrs(), func(o *Options) {
				o.Async = false
				o.Timeout = 300 * time.Millisecond
				o.MaxAttempts = 2
				o.Backoff = 20 * time.Millisecond
			})
			err := p.Send(t.Context(), record("x"))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), sick.Addr().String()) {
				t.Errorf("%v, want %q of %v", err, c.want, sick.Addr())
			}
			if s := settled(t, p); s.Failed != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestPeerWithoutTLSIsABrokerThatIsAway(t *testing.T) {
	authority := testcert.New("authority")
	for name, c := range map[string]struct {
		peer func(net.Conn)
		want string
	}{
		"HTTP": {func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1<<10))
			says("HTTP/1.1 400 Bad Request\r\n\r\n")(c)
		}, `it begins with "HTTP/", and security.ssl is true`},
		"silence": {says(""), "i/o timeout"},
		"end":     {func(c net.Conn) { _, _ = c.Read(make([]byte, 4)) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sick := startScripted(t, c.peer)
			p := newProducer(testOptions(sick.addrs(), impatient), Access{TLS: &tls.Config{RootCAs: authority.Pool()}}, &PoolOptions{Log: discard}, new(pendingLines))
			defer func() {
				p.close(expired(t), errAbandoned)
			}()
			send(t, p, "x")
			cause(t, p, c.want, sick.Addr().String())
			if s := p.totals(); s.Buffered != 1 || s.Failed != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestMetadataThatCannotBeIsABrokerThatIsAway(t *testing.T) {
	for name, c := range map[string]struct {
		alter func(*kmsg.MetadataResponse)
		want  string
	}{
		"comma in a host":      {func(r *kmsg.MetadataResponse) { r.Brokers[0].Host = "127.0.0.1,127.0.0.1" }, `the host "127.0.0.1,127.0.0.1"`},
		"two hosts":            {func(r *kmsg.MetadataResponse) { r.Brokers[0].Host = "a:1,b" }, `the host "a:1,b"`},
		"no host":              {func(r *kmsg.MetadataResponse) { r.Brokers[0].Host = "" }, `the host ""`},
		"line feed in a host":  {func(r *kmsg.MetadataResponse) { r.Brokers[0].Host = "a\nb" }, `the host "a\nb"`},
		"port 0":               {func(r *kmsg.MetadataResponse) { r.Brokers[0].Port = 0 }, "the port 0"},
		"negative broker":      {func(r *kmsg.MetadataResponse) { r.Brokers[0].NodeID = -7 }, "the id -7"},
		"negative partitions":  {func(r *kmsg.MetadataResponse) { r.Topics[0].Partitions[0].Partition = -1 }, "the number -1"},
		"partition twice":      {func(r *kmsg.MetadataResponse) { r.Topics[0].Partitions[0].Partition = 1 }, "the number 1"},
		"another topic":        {func(r *kmsg.MetadataResponse) { r.Topics[0].Topic = kmsg.StringPtr("u") }, "a topic that was not asked for"},
		"a million partitions": {millionPartitions, "are the most that are taken"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sick := startScripted(t, metadata(c.alter))
			p := newTestProducer(t, sick.addrs(), func(o *Options) { impatient(o); o.Timeout = 10 * time.Second })
			send(t, p, "x")
			cause(t, p, c.want, sick.Addr().String())
			if s := p.totals(); s.Buffered != 1 {
				t.Errorf("%+v", s)
			}
			sick.heal()
			if s := settled(t, p); s.Delivered != 1 {
				t.Errorf("healed: %+v", s)
			}
		})
	}
}

func millionPartitions(r *kmsg.MetadataResponse) {
	r.Topics[0].Partitions = make([]kmsg.MetadataResponseTopicPartition, 1e6)
	for i := range r.Topics[0].Partitions {
		r.Topics[0].Partitions[i] = kmsg.MetadataResponseTopicPartition{Partition: int32(i), Leader: 1}
	}
}

func TestMillionPartitionsTakeNoMemory(t *testing.T) {
	m := kmsg.NewPtrMetadataResponse()
	m.Topics = []kmsg.MetadataResponseTopic{{Topic: kmsg.StringPtr("t")}}
	millionPartitions(m)
	var text []byte // encoded once, for the test's own memory is measured too
	sick := startScripted(t, func(c net.Conn) {
		answer(c, func(request kmsg.Request, correlation []byte) []byte {
			if _, ok := request.(*kmsg.MetadataRequest); ok {
				if _, err := c.Write(append(text[:4:4], correlation...)); err != nil {
					return nil
				}
				return text[8:]
			}
			return framed(correlation, respond(request, c.LocalAddr().(*net.TCPAddr)), request.GetVersion())
		})
	})
	m.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 1, Host: "127.0.0.1", Port: int32(sick.address.Port)}}
	text = framed(make([]byte, 4), m, 8)
	m = nil
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p := newTestProducer(t, sick.addrs(), impatient)
	send(t, p, "x")
	cause(t, p, fmt.Sprintf("has %d bytes", len(text)-4))
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("%d MiB were allocated", grown>>20)
	}
}

func TestApiVersionsRefusedOnceDelaysTheRecord(t *testing.T) {
	for _, async := range []bool{true, false} {
		var asked atomic.Int32
		s := startScripted(t, func(c net.Conn) {
			answer(c, func(request kmsg.Request, correlation []byte) []byte {
				r := respond(request, c.LocalAddr().(*net.TCPAddr))
				if v, ok := r.(*kmsg.ApiVersionsResponse); ok && asked.Add(1) == 1 {
					v.ErrorCode, v.ApiKeys = 35, nil
				}
				return framed(correlation, r, request.GetVersion())
			})
		})
		attempts := 2
		if async {
			attempts = 1
		}
		p := newTestProducer(t, s.addrs(), func(o *Options) { o.Async = async; o.MaxAttempts = attempts })
		send(t, p, "x")
		if s := settled(t, p); s.Delivered != 1 || asked.Load() < 2 {
			t.Errorf("async %v: %+v", async, s)
		}
	}
}

// What is not acknowledged for the partition it was written to is not delivered, and is
// tried again.
func TestProduceAnswerForAnotherPartitionIsNoDelivery(t *testing.T) {
	for name, alter := range map[string]func(*kmsg.ProduceResponse){
		"another partition": func(r *kmsg.ProduceResponse) { r.Topics[0].Partitions[0].Partition++ },
		"another topic":     func(r *kmsg.ProduceResponse) { r.Topics[0].Topic = "u" },
		"no partition":      func(r *kmsg.ProduceResponse) { r.Topics[0].Partitions = nil },
		"no topic":          func(r *kmsg.ProduceResponse) { r.Topics = nil },
		"partition twice": func(r *kmsg.ProduceResponse) {
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, r.Topics[0].Partitions...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, attempts := range []int{1, 3} {
				var asked atomic.Int32
				s := startScripted(t, func(c net.Conn) {
					answer(c, func(request kmsg.Request, correlation []byte) []byte {
						r := respond(request, c.LocalAddr().(*net.TCPAddr))
						if v, ok := r.(*kmsg.ProduceResponse); ok && asked.Add(1) < 3 {
							alter(v)
						}
						return framed(correlation, r, request.GetVersion())
					})
				})
				p := newTestProducer(t, s.addrs(), func(o *Options) { o.MaxAttempts = attempts; o.Backoff = time.Millisecond })
				send(t, p, "x")
				stats := settled(t, p)
				if delivered := attempts == 3; (stats.Delivered == 1) != delivered || int(asked.Load()) != attempts {
					t.Errorf("%d attempts: %+v after %d requests", attempts, stats, asked.Load())
				}
				if news := p.pending.next(); attempts == 1 && (!strings.Contains(news, s.Addr().String()) || !strings.Contains(news, "not Kafka's: Produce is for")) {
					t.Errorf("Kong's error log reads %q", news)
				}
			}
		})
	}
}

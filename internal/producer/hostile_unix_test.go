//go:build unix

package producer

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"reflect"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kafka-upstream/internal/producer/cluster"
)

// hostile is a broker in memory whose answers are altered: fields of well-formed ones,
// bytes of their frames, and what is sent beside them.
type hostile struct {
	// source returns where the alterations of the next answer come from, nil for an
	// answer as it should be. Connections call it at the same time.
	source func(key kmsg.Key) chooser
	// altered is called when an answer by a source was read, or refused. It may be nil.
	altered func()
	answers atomic.Int64 // that were altered
	wg      sync.WaitGroup
}

// chooser makes the choices of an alteration.
type chooser interface{ IntN(n int) int }

var hostileAddress = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9092}

func (h *hostile) dialContext(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	h.wg.Go(func() {
		defer theirs.Close()
		h.serve(theirs)
	})
	return ours, nil
}

func (h *hostile) serve(c net.Conn) {
	answer(c, func(request kmsg.Request, correlation []byte) []byte {
		r := hostileResponse(request)
		by := h.source(kmsg.Key(request.Key()))
		if by == nil {
			return framed(correlation, r, request.GetVersion())
		}
		h.answers.Add(1)
		b, goOn := alter(by, correlation, r, request.GetVersion())
		_, err := c.Write(b)
		if h.altered != nil {
			h.altered()
		}
		if err != nil || !goOn {
			return nil
		}
		return []byte{}
	})
}

func hostileResponse(request kmsg.Request) kmsg.Response {
	switch r := request.ResponseKind().(type) {
	case *kmsg.ProduceResponse:
		topic, p := kmsg.NewProduceResponseTopic(), kmsg.NewProduceResponseTopicPartition()
		asked := request.(*kmsg.ProduceRequest).Topics[0]
		topic.Topic, p.Partition = asked.Topic, asked.Partitions[0].Partition
		topic.Partitions = append(topic.Partitions, p)
		r.Topics = append(r.Topics, topic)
		return r
	case *kmsg.SASLHandshakeResponse:
		r.SupportedMechanisms = []string{"PLAIN"}
		return r
	case *kmsg.SASLAuthenticateResponse:
		r.SASLAuthBytes = []byte("welcome")
		return r
	case *kmsg.ApiVersionsResponse:
		for key, last := range map[kmsg.Key]int16{kmsg.Produce: 8, kmsg.Metadata: 8, kmsg.ApiVersions: 2, kmsg.SASLHandshake: 1, kmsg.SASLAuthenticate: 1} {
			r.ApiKeys = append(r.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: int16(key), MaxVersion: last})
		}
		return r
	}
	return respond(request, hostileAddress)
}

// alter makes the bytes of an answer that is not as it should be, and says whether the
// connection goes on after it.
func alter(by chooser, correlation []byte, r kmsg.Response, version int16) (b []byte, goOn bool) {
	goOn = true
	how := by.IntN(16)
	if how < 8 {
		for range 1 + by.IntN(3) {
			alterField(by, reflect.ValueOf(r).Elem())
		}
	}
	b = framed(correlation, r, version)
	switch {
	case how < 8:
	case how < 14:
		for range 1 + by.IntN(3) {
			b = alterBytes(by, b)
		}
		if len(b) >= 8 && by.IntN(4) > 0 { // so that what is wrong lies deeper
			binary.BigEndian.PutUint32(b, uint32(len(b)-4))
			copy(b[4:8], correlation)
		}
	case how == 14:
		texts := []string{"HTTP/1.1 400 Bad Request\r\n\r\n", "\xff\xff\xff\xff", "\x15\x03\x03\x00\x02\x02\x50", "SSH-2.0-x\r\n", "", "\x7f\xff\xff\xff\x00\x00\x00\x01"}
		b = []byte(texts[by.IntN(len(texts))])
		goOn = false
	default: // more than was asked for
		b = append(b, b[:by.IntN(len(b)+1)]...)
	}
	if by.IntN(8) == 0 {
		goOn = false
	}
	if whole := len(b) >= 4 && uint32(len(b)-4) >= binary.BigEndian.Uint32(b); !whole && by.IntN(200) > 0 {
		goOn = false // else the rest is waited for, which takes its time
	}
	return b, goOn
}

var (
	oddNumbers = []int64{0, 1, -1, 2, 7, 100, math.MaxInt8, math.MaxInt16, math.MinInt16, 1 << 16, 1e6, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64}
	oddTexts   = []string{"", ",", "127.0.0.1,127.0.0.1", "a b", "a\nb", "[::1]", "::1", "::1%,", "\x00", "ä", "t", "u", "host:1", string(make([]byte, 300))}
)

// alterField alters one field of a message, somewhere in it.
func alterField(by chooser, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if n := v.NumField(); n > 0 {
			if f := v.Field(by.IntN(n)); f.CanSet() {
				alterField(by, f)
			}
		}
	case reflect.Slice:
		switch n, how := v.Len(), by.IntN(8); {
		case n > 0 && how < 4:
			alterField(by, v.Index(by.IntN(n)))
		case n > 0 && how == 4: // one twice
			v.Set(reflect.Append(v, v.Index(by.IntN(n))))
		case n > 0 && how == 5:
			v.SetLen(n - 1)
		case how == 6:
			v.SetZero()
		default: // many, seldom very many
			many := 1 + by.IntN(50)
			if by.IntN(2000) == 0 {
				many = 20_000 + by.IntN(20_000)
				v.SetZero() // so that the test itself takes less memory
			}
			more := reflect.MakeSlice(v.Type(), many, many)
			for i := range many { // as partitions are numbered
				if e := more.Index(i); e.Kind() == reflect.Struct {
					if f := e.FieldByName("Partition"); f.IsValid() && f.CanInt() {
						f.SetInt(int64(v.Len() + i))
					}
				}
			}
			if v.Len() > 0 {
				more = reflect.AppendSlice(v, more)
			}
			v.Set(more)
		}
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		alterField(by, v.Elem())
	case reflect.String:
		v.SetString(oddTexts[by.IntN(len(oddTexts))])
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(oddNumbers[by.IntN(len(oddNumbers))]) // of which it takes what it can
	case reflect.Uint8:
		v.SetUint(uint64(by.IntN(256)))
	}
}

func alterBytes(by chooser, b []byte) []byte {
	at := by.IntN(len(b) + 1)
	switch by.IntN(5) {
	case 0:
		return b[:at]
	case 1:
		return slices.Insert(b, at, byte(by.IntN(256)))
	case 2:
		if at < len(b) {
			b[at] ^= 1 << by.IntN(8)
		}
	case 3:
		if at+2 <= len(b) {
			binary.BigEndian.PutUint16(b[at:], uint16(oddNumbers[by.IntN(len(oddNumbers))]))
		}
	case 4:
		if at+4 <= len(b) {
			binary.BigEndian.PutUint32(b[at:], uint32(oddNumbers[by.IntN(len(oddNumbers))]))
		}
	}
	return b
}

// plainLogin is SASL PLAIN.
type plainLogin struct{}

func (plainLogin) Name() string { return "PLAIN" }
func (l plainLogin) Start(context.Context) (sasl.StateMachine, []byte, error) {
	return l, []byte("\x00user\x00password"), nil
}
func (plainLogin) Next(context.Context, []byte) (bool, []byte, error) { return true, nil, nil }

// victims are producers that send records to the broker as fast as it takes them, one
// with a login and one without, and that never pause.
func (h *hostile) victims(t testing.TB) []*Producer {
	t.Helper()
	var producers []*Producer
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for _, login := range []sasl.Mechanism{nil, plainLogin{}} {
		p := newTestProducer(t, []string{hostileAddress.String()}, func(o *Options) {
			o.MaxAttempts = 2
			o.Backoff = 0
			o.BatchRecords = 1
			o.BufferRecords = 20
			o.Timeout = 50 * time.Millisecond
		})
		setOptions(p, func(o *cluster.Options) { o.MinPause, o.Dial, o.SASL = time.Microsecond, h.dialContext, login })
		producers = append(producers, p)
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if p.Send(context.Background(), record("x")) != nil {
					time.Sleep(50 * time.Microsecond) // its buffer is full
				}
			}
		})
	}
	t.Cleanup(func() {
		close(stop)
		wg.Wait()
	})
	return producers
}

// heapNow is what the heap's objects take, with those that are not swept yet.
func heapNow() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// alteredEnv is how many altered answers TestAlteredAnswersDoNoHarm makes: 10 million of
// them take some 20 minutes.
const alteredEnv = "PRODUCER_TEST_ALTERED_ANSWERS"

// Whatever brokers answer, the process goes on, in bounded memory, and delivers once
// they are as they should be.
func TestAlteredAnswersDoNoHarm(t *testing.T) {
	const most = 64 << 20 // above the start
	total := int64(20_000)
	if n, err := strconv.ParseInt(os.Getenv(alteredEnv), 10, 64); err == nil {
		total = n
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var number atomic.Uint64
	var done atomic.Bool
	h := &hostile{source: func(kmsg.Key) chooser {
		if by := rand.New(rand.NewPCG(seed, number.Add(1))); !done.Load() && by.IntN(3) == 0 {
			return by
		}
		return nil
	}}
	t.Cleanup(h.wg.Wait)
	runtime.GC()
	start, began := heapNow(), time.Now()
	peak := start
	producers := h.victims(t)
	moved, last := time.Now(), int64(0)
	for n := int64(0); n < total; n = h.answers.Load() {
		if n != last {
			moved, last = time.Now(), n
		} else if time.Since(moved) > time.Minute {
			t.Fatalf("hangs after %d answers", n)
		}
		if now := heapNow(); now > peak {
			if peak = now; peak > start+most {
				t.Fatalf("the heap has %d MiB more than at the start, after %d answers", (peak-start)>>20, n)
			}
		}
		time.Sleep(time.Millisecond) // of a few dozen answers
	}
	took := time.Since(began)
	done.Store(true)
	for _, p := range producers {
		before := p.totals().Delivered
		eventually(t, "a record is delivered", func() bool { return p.totals().Delivered > before })
	}
	t.Logf("%d altered answers in %v, the heap had %d MiB at the start and %d MiB more at its peak", h.answers.Load(), took.Round(time.Millisecond), start>>20, (peak-start)>>20)
	for _, p := range producers {
		t.Logf("%+v", p.totals())
	}
}

// script makes choices by bytes, and the first one when there are no more.
type script []byte

func (s *script) IntN(n int) int {
	v := 0
	for left := n - 1; left > 0 && len(*s) > 0; left >>= 8 {
		v = v<<8 | int((*s)[0])
		*s = (*s)[1:]
	}
	return v % n
}

// FuzzAnswers alters one answer to a producer by the input: that to the kind of request
// that its first byte says.
func FuzzAnswers(f *testing.F) {
	keys := []kmsg.Key{kmsg.ApiVersions, kmsg.Metadata, kmsg.Produce, kmsg.SASLHandshake, kmsg.SASLAuthenticate}
	var next atomic.Pointer[struct {
		key kmsg.Key
		by  script
	}]
	over := make(chan struct{}, 1)
	h := &hostile{
		source: func(key kmsg.Key) chooser {
			if n := next.Load(); n != nil && n.key == key && next.CompareAndSwap(n, nil) {
				return &n.by
			}
			return nil
		},
		altered: func() { over <- struct{}{} },
	}
	f.Cleanup(h.wg.Wait)
	producers := h.victims(f)
	for i := range 256 {
		f.Add([]byte{byte(i), byte(i >> 1), byte(i >> 2), byte(i * 7), byte(i * 13), byte(i * 31), byte(i * 61)})
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		before := heapNow()
		next.Store(&struct {
			key kmsg.Key
			by  script
		}{keys[int(b[0])%len(keys)], b[1:]})
		for late := time.After(time.Minute); ; {
			for _, p := range producers { // for all but records it takes new connections
				p.cluster.CloseIdleConnections()
			}
			select {
			case <-over:
				if now := heapNow(); now > before+64<<20 {
					t.Errorf("the heap has grown by %d MiB", (now-before)>>20)
				}
				return
			case <-time.After(20 * time.Millisecond):
			case <-late:
				t.Fatal("hangs")
			}
		}
	})
}

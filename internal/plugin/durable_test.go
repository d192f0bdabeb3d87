package plugin

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/record/registry"
	"kafka-upstream/internal/request"
	"kafka-upstream/internal/spool"
	"kafka-upstream/internal/test/disk"
)

// startDurable returns the handler of a durable configuration, whose producer never reaches a
// broker, with its disk. limit is that of the spool.
func startDurable(t *testing.T, limit int64, settings string) (Handler, *disk.Disk, *producer.Pool) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	d := disk.New()
	s, err := spool.Open(spool.Options{Dir: t.TempDir(), Limit: limit, Log: log, FS: d})
	if err != nil {
		t.Fatal(err)
	}
	pool := producer.NewPool(producer.PoolOptions{Log: log, Spool: s, Security: func(context.Context, producer.Options) (producer.Access, error) { return producer.Access{}, nil }})
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		pool.Close(ctx)
		_ = s.Close()
	})
	schemas := registry.NewPool(registry.Env{Log: log})
	t.Cleanup(schemas.Close)
	h := New(Options{Pool: pool, Schemas: schemas, Log: log}).Start([]byte(`{"topic":"t","bootstrap_servers":[{"host":"127.0.0.1","port":1}],"producer_async_durable":true` + settings + `}`))
	t.Cleanup(h.Close)
	return h, d, pool
}

// begin has the handler handle a request, whose answer comes later.
func begin(t *testing.T, h Handler) <-chan Response {
	t.Helper()
	d := new(door)
	h.Handle(t.Context(), d, &request.Request{Body: []byte("x")})
	if d.deferred == nil {
		t.Fatal("the answer is not deferred")
	}
	return d.deferred
}

func answerOf(t *testing.T, h Handler) Response {
	t.Helper()
	select {
	case a := <-begin(t, h):
		return a
	case <-time.After(20 * time.Second):
		t.Fatal("no answer within 20 s")
		panic("unreachable")
	}
}

// eventually handles requests until one is answered so.
func eventually(t *testing.T, h Handler, want Reason) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		a := answerOf(t, h)
		if a.Reason == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("answered %s, not %s", a.Reason, want)
		}
	}
}

func TestDurableRequestIsAnsweredOnceItsRecordIsOnTheDisk(t *testing.T) {
	h, d, pool := startDurable(t, 0, "")
	syncing, release := make(chan struct{}, 10), make(chan struct{})
	d.OnSync(func() error {
		syncing <- struct{}{}
		<-release
		return nil
	})
	first := begin(t, h)
	<-syncing
	second := begin(t, h) // in the next group
	select {
	case a := <-first:
		t.Fatalf("answered %d before the fsync has returned", a.Status)
	case a := <-second:
		t.Fatalf("answered %d before the fsync has begun", a.Status)
	case <-time.After(20 * time.Millisecond):
	}
	if s, _ := pool.SpoolStats(); s.Records != 0 {
		t.Errorf("the spool has %d records", s.Records)
	}
	close(release)
	for _, answer := range []<-chan Response{first, second} {
		if a := <-answer; a.Status != 200 || a.Reason != Sent {
			t.Errorf("%+v", a)
		}
	}
	if s, _ := pool.SpoolStats(); s.Records != 2 {
		t.Errorf("the spool has %d records", s.Records)
	}
}

// A record whose fsync failed is answered 503, and not delivered. The disk is tried again.
func TestDiskThatFailsIsAnswered503(t *testing.T) {
	for name, fail := range map[string]func(d *disk.Disk, err error){
		"fsync": func(d *disk.Disk, err error) { d.OnSync(func() error { return err }) },
		"write": func(d *disk.Disk, err error) { d.FailWrites(err) },
	} {
		for _, row := range []struct {
			err  error
			want Reason
		}{{syscall.EIO, SpoolFailed}, {syscall.ENOSPC, SpoolFull}} {
			t.Run(name+" "+row.err.Error(), func(t *testing.T) {
				h, d, pool := startDurable(t, 0, "")
				if a := answerOf(t, h); a.Status != 200 {
					t.Fatalf("before: %+v", a)
				}
				fail(d, row.err)
				var log []string
				for range 2 {
					a := answerOf(t, h)
					log = append(log, a.Log...)
					if a.Reason != row.want || a.Status != 503 || a.Headers[1].Name != "Retry-After" {
						t.Errorf("%+v", a)
					}
				}
				if s, _ := pool.SpoolStats(); s.Records != 1 {
					t.Errorf("the spool has %d records", s.Records)
				}
				if n := pool.Stats().Topics[0].Rejected; n[producer.SpoolFull]+n[producer.SpoolFailed] != 2 {
					t.Errorf("rejected are %v", n)
				}
				if len(log) != 1 || !strings.Contains(log[0], "records to topic t rejected since") || !strings.Contains(log[0], "spool") {
					t.Errorf("Kong's error log has %q", log)
				}
				fail(d, nil)
				d.OnSync(nil)
				eventually(t, h, Sent)
			})
		}
	}
}

func TestSpoolThatIsFullIsAnswered503(t *testing.T) {
	h, _, pool := startDurable(t, 1<<20, `,"producer_request_limits_bytes_per_request":10000000`)
	n := 0
	for ; ; n++ {
		d := new(door)
		h.Handle(t.Context(), d, &request.Request{Body: make([]byte, 10<<10)})
		if a := <-d.deferred; a.Reason == SpoolFull {
			break
		} else if a.Reason != Sent {
			t.Fatalf("%+v", a)
		}
	}
	if s, _ := pool.SpoolStats(); s.Records != n || s.Bytes > 1<<20 || n < 10 {
		t.Errorf("%d records were accepted, and the spool has %d in %d bytes", n, s.Records, s.Bytes)
	}
}

func TestDurableConfigurationNeedsASpool(t *testing.T) {
	_, h := started(t, `"producer_async_durable":true`, nil)
	a := h.Handle(t.Context(), new(door), new(request.Request))
	if a.Reason != BadConfig || !strings.Contains(strings.Join(a.Log, ""), "start the plugin server with -spool and a directory") {
		t.Errorf("%+v", a)
	}
}

// A fault while a request is answered must not end the goroutine that writes to the disk.
func TestPanicWhileAnsweringConcernsOneRequest(t *testing.T) {
	h, _, _ := startDurable(t, 0, "")
	var faults atomic.Int32
	d := &faulty{door: new(door), faults: &faults}
	h.Handle(t.Context(), d, new(request.Request))
	if a := <-d.answers; a.Reason != Panic || faults.Load() != 1 {
		t.Errorf("%+v after %d panics", a, faults.Load())
	}
	if a := answerOf(t, h); a.Reason != Sent {
		t.Errorf("the next request: %+v", a)
	}
}

// faulty is a door that panics at the first answer.
type faulty struct {
	*door
	faults  *atomic.Int32
	answers chan Response
}

func (d *faulty) Defer() Deferred {
	d.answers = make(chan Response, 1)
	return d
}

func (d *faulty) Answer(a Response) {
	if d.faults.Add(1) == 1 {
		panic(errors.New("of a test"))
	}
	d.faults.Store(1)
	d.answers <- a
}

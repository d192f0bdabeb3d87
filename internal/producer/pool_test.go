package producer

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/config"
	"kafka-upstream/internal/kafkatest"
)

func acquire(t *testing.T, p *Pool, c *config.Config) *Handle {
	t.Helper()
	h, err := p.Acquire(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func producers(p *Pool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.entries)
}

func TestSameDigestSharesAProducer(t *testing.T) {
	pool := NewPool(plain, nil, slog.New(slog.DiscardHandler))
	brokers := []string{closedPort(t)}
	a := acquire(t, pool, configOf(t, brokers, map[string]any{"cluster_name": "one"}))
	b := acquire(t, pool, configOf(t, brokers, map[string]any{"cluster_name": "two", "forward_uri": true}))
	c := acquire(t, pool, configOf(t, brokers, map[string]any{"producer_request_acks": -1}))
	if a.Producer != b.Producer || a.Producer == c.Producer {
		t.Errorf("producers are %p, %p, %p", a.Producer, b.Producer, c.Producer)
	}
	pool.Close(t.Context())
}

func TestProducerIsClosedAMinuteAfterItsLastUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(plain, nil, slog.New(slog.DiscardHandler))
		cfg := configOf(t, []string{"127.0.0.1:1"}, nil)
		a, b := acquire(t, pool, cfg), acquire(t, pool, cfg)
		a.Release()
		a.Release() // once is enough
		time.Sleep(10 * idleTime)
		if producers(pool) != 1 {
			t.Fatal("closed while an instance has it")
		}
		b.Release()
		time.Sleep(idleTime / 2)
		c := acquire(t, pool, cfg) // as after a change in Kong
		time.Sleep(2 * idleTime)
		if producers(pool) != 1 || c.Producer != a.Producer {
			t.Fatal("closed while an instance has it again")
		}
		c.used.Store(int64(time.Since(c.made) + idleTime/2)) // a request that came late
		c.Release()
		time.Sleep(idleTime + time.Second)
		if producers(pool) != 1 {
			t.Fatal("closed less than a minute after the last record")
		}
		time.Sleep(idleTime)
		synctest.Wait()
		if producers(pool) != 0 {
			t.Error("not closed")
		}
		if err := c.Send(t.Context(), record("x")); !errors.Is(err, ErrClosed) {
			t.Errorf("Send: %v", err)
		}
		if d := acquire(t, pool, cfg); d.Producer == c.Producer {
			t.Error("a closed producer was given out")
		}
		pool.Close(t.Context())
	})
}

func TestPoolCloseDrainsAllAndRefusesAfterwards(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	pool := NewPool(plain, nil, slog.New(slog.DiscardHandler))
	var handles []*Handle
	for i := range 3 {
		h := acquire(t, pool, configOf(t, f.Addrs(), map[string]any{"producer_async_flush_timeout": 3600000, "keepalive": i}))
		send(t, h.Producer, "x")
		handles = append(handles, h)
	}
	if left := pool.Close(t.Context()); left != 0 {
		t.Errorf("%d left", left)
	}
	if s := pool.Stats(); s.Delivered != 3 {
		t.Errorf("%+v", s)
	}
	for _, h := range append(handles, acquire(t, pool, configOf(t, f.Addrs(), nil))) {
		if err := h.Send(t.Context(), record("x")); !errors.Is(err, ErrClosed) {
			t.Errorf("Send: %v", err)
		}
	}
}

func TestErrorOfSecurityIsTheCallersAndPasses(t *testing.T) {
	bad := errors.New("no certificate")
	pool := NewPool(func(context.Context, *config.Config) (Access, error) { return Access{}, bad }, nil, slog.New(slog.DiscardHandler))
	cfg := configOf(t, []string{"127.0.0.1:1"}, nil)
	if _, err := pool.Acquire(t.Context(), cfg); !errors.Is(err, bad) {
		t.Errorf("error is %v", err)
	}
	bad = nil
	acquire(t, pool, cfg)
	pool.Close(t.Context())
}

func TestAccessIsReleasedWithItsProducer(t *testing.T) {
	released, failed := 0, make(chan error, 100)
	pool := NewPool(func(context.Context, *config.Config) (Access, error) {
		return Access{Failed: func(err error) {
			select {
			case failed <- err:
			default:
			}
		}, Release: func() { released++ }}, nil
	}, nil, slog.New(slog.DiscardHandler))
	h := acquire(t, pool, configOf(t, []string{closedPort(t)}, nil))
	send(t, h.Producer, "x")
	<-failed // told of what goes wrong, so that a certificate may be looked at again
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	pool.Close(ctx)
	if released != 1 {
		t.Errorf("released %d times", released)
	}
}

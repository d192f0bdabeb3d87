package producer

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"golang.org/x/sys/unix"

	"kafka-upstream/internal/producer/cluster"
	"kafka-upstream/internal/test/kafkatest"
)

// Records that were not sent are tried again as they are: kafka-go's reader of them can
// be read but once, and takes the next attempt for one without records.
func TestRecordsOfARequestThatWasNotSentAreSentWithTheNext(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	for _, acks := range []int{-1, 0, 1} {
		for _, async := range []bool{true, false} {
			topic := fmt.Sprintf("t%d%v", acks+1, async)
			if err := f.CreateTopic(topic, 1, nil); err != nil {
				t.Fatal(err)
			}
			dropping := new(dropping)
			p := newTestProducer(t, f.Addrs(), func(o *Options) {
				o.Async, o.Acks, o.MaxAttempts, o.Timeout = async, acks, 1, 5*time.Second
			})
			setOptions(p, func(o *cluster.Options) { o.Dial = dropping.dialContext })
			const rounds, each = 10, 5
			for i := range rounds {
				var wg sync.WaitGroup
				for range each {
					r := record(fmt.Sprint(i))
					r.Topic = topic
					wg.Go(func() {
						if err := p.Send(t.Context(), r); err != nil {
							t.Errorf("acks %d, async %v: %v", acks, async, err)
						}
					})
				}
				wg.Wait()
				settled(t, p)
				f.Records(t, topic, (i+1)*each) // the broker is done with the connections
				f.DropConnections()
				dropping.wait(t)
			}
			if s := settled(t, p); s.Delivered != rounds*each {
				t.Errorf("acks %d, async %v: %+v", acks, async, s)
			}
		}
	}
}

// dropping keeps the connections that were dialled, to see when their ends arrive.
type dropping struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (d *dropping) dialContext(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		d.mu.Lock()
		d.conns = append(d.conns, nc)
		d.mu.Unlock()
	}
	return nc, err
}

// wait returns when the end of each connection has arrived here.
func (d *dropping) wait(t *testing.T) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, nc := range d.conns {
		eventually(t, "the connection has ended", func() bool { return ended(nc) })
	}
	d.conns = nil
}

// ended reports whether the end of a connection has arrived, or it was closed here.
func ended(nc net.Conn) (over bool) {
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		_, _ = unix.Poll(fds, 0)
		over = fds[0].Revents != 0
	})
	return over || err != nil
}

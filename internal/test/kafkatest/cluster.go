package kafkatest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kafka-upstream/internal/test/child"
)

const (
	startDeadline = 60 * time.Second // for a cluster, or a broker that comes back, to be ready
	stopGrace     = 20 * time.Second // for a broker to end after SIGTERM
)

// Cluster is a running Apache Kafka. Its methods may be called concurrently,
// except that of one broker's Kill, Stop and Restart one comes after the other.
type Cluster struct {
	Version   string
	StartTime time.Duration // from the call of Start to ready, formatting included

	cfg     Config
	install install
	dir     string
	lease   *child.Lease
	brokers []*broker
}

type broker struct {
	id    int
	dir   string
	addrs map[Listener]string

	mu      sync.Mutex
	proc    *child.Process // nil before the first start
	logFrom int64          // where in the log its output begins
}

// Start starts a cluster, and ends it and throws its data away at the end of t.
// It fails t with the tail of the brokers' logs where a cluster is not ready
// within 60 s; the tails are also logged where t fails later.
func Start(t testing.TB, cfg Config) *Cluster {
	t.Helper()
	c, err := start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.tails(nil))
		}
		c.close()
	})
	c.logStart(t)
	return c
}

func (c *Cluster) logStart(t testing.TB) {
	t.Helper()
	t.Logf("Apache Kafka %s with %d broker(s) was ready after %v", c.Version, len(c.brokers), c.StartTime.Round(time.Millisecond))
}

// errPortTaken means that another program was faster than a broker.
var errPortTaken = errors.New("a port was taken")

func start(cfg Config) (*Cluster, error) {
	if cfg.Version == "" {
		cfg.Version = Versions[0]
	}
	switch cfg.Brokers {
	case 0:
		cfg.Brokers = 1
	case 1, 3:
	default:
		return nil, fmt.Errorf("kafkatest starts 1 or 3 brokers, not %d", cfg.Brokers)
	}
	in, err := findInstall(cfg.Version)
	if err != nil {
		return nil, err
	}
	in.flags = cfg.jvmFlags()
	begin := time.Now()
	for range 5 {
		c := &Cluster{Version: cfg.Version, cfg: cfg, install: in}
		err = c.start()
		if err == nil {
			c.StartTime = time.Since(begin)
			return c, nil
		}
		err = fmt.Errorf("Apache Kafka %s did not start: %w%s", cfg.Version, err, c.tails(nil))
		c.close()
		if !errors.Is(err, errPortTaken) {
			break
		}
	}
	return nil, err
}

func (c *Cluster) start() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), startDeadline)
	defer cancel()
	if c.dir, err = os.MkdirTemp("", "kafkatest-"); err != nil {
		return err
	}
	listeners := c.cfg.listeners()
	if c.lease, err = child.LeasePorts(c.cfg.Brokers * len(listeners)); err != nil {
		return err
	}
	var addrs []map[Listener]string
	for id := range c.cfg.Brokers {
		a := make(map[Listener]string)
		for i, l := range listeners {
			a[l] = net.JoinHostPort("127.0.0.1", strconv.Itoa(c.lease.Ports[id*len(listeners)+i]))
		}
		addrs = append(addrs, a)
		c.brokers = append(c.brokers, &broker{id: id, dir: filepath.Join(c.dir, strconv.Itoa(id)), addrs: a})
	}

	id := make([]byte, 16)
	rand.Read(id)
	id[0] &= 0x7f // in base64 no "-" comes first, which kafka-storage takes for a flag
	clusterID := base64.RawURLEncoding.EncodeToString(id)
	errs := make(chan error)
	for _, b := range c.brokers {
		go func() {
			err := c.cfg.writeFiles(b.id, b.dir, addrs)
			if err == nil {
				err = c.format(b, clusterID)
			}
			if err == nil {
				err = c.run(b)
			}
			errs <- err
		}()
	}
	for range c.brokers {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		return err
	}
	if err := c.waitReady(ctx, c.brokers...); err != nil {
		return err
	}
	return c.addUsers(ctx)
}

// format is kafka-storage's: it gives the data directory its ids and the
// metadata that a new cluster starts from.
func (c *Cluster) format(b *broker, clusterID string) error {
	log, err := b.openLog()
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := c.install.command(nil, "kafka.tools.StorageTool", "format",
		"--cluster-id", clusterID, "--config", filepath.Join(b.dir, "server.properties"))
	cmd.Stdout, cmd.Stderr = log, log
	p, err := child.Start(cmd)
	if err != nil {
		return err
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("formatting broker %d's storage: %w", b.id, err)
	}
	return nil
}

func (c *Cluster) run(b *broker) error {
	log, err := b.openLog()
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	properties := filepath.Join(b.dir, "server.properties")
	var flags []string
	if c.cfg.archive {
		flags = []string{"-XX:ArchiveClassesAtExit=" + c.newArchive()}
	}
	cmd := c.install.command(flags, "kafka.Kafka", properties)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := child.Start(cmd)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.proc, b.logFrom = p, from
	b.mu.Unlock()
	return nil
}

func (b *broker) process() *child.Process {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.proc
}

func (b *broker) running() bool {
	p := b.process()
	return p != nil && !p.Ended()
}

// Addrs are the addresses (host:port) of the brokers' listener l, in the order
// of their ids and whether they run or not. It panics where the cluster was not
// configured with such a listener.
func (c *Cluster) Addrs(l Listener) []string {
	var addrs []string
	for _, b := range c.brokers {
		a, ok := b.addrs[l]
		if !ok {
			panic(fmt.Sprintf("kafkatest: the cluster has no listener %s", l))
		}
		addrs = append(addrs, a)
	}
	return addrs
}

// Kill ends broker i by SIGKILL and returns when it is gone. The others see so
// after 3 s (broker.session.timeout.ms), and choose new leaders then.
func (c *Cluster) Kill(t testing.TB, i int) {
	t.Helper()
	b := c.runningBroker(t, i)
	b.process().Kill()
}

// Stop ends broker i in order: by SIGTERM, on which it hands its partitions
// over, and by SIGKILL after 20 s. It returns when the broker is gone.
func (c *Cluster) Stop(t testing.TB, i int) {
	t.Helper()
	b := c.runningBroker(t, i)
	if !b.process().Stop(stopGrace) {
		t.Logf("broker %d had to be killed: it did not end within %v of SIGTERM", i, stopGrace)
	}
}

func (c *Cluster) runningBroker(t testing.TB, i int) *broker {
	t.Helper()
	b := c.brokers[i]
	if !b.running() {
		t.Fatalf("broker %d is not running", i)
	}
	return b
}

// Restart starts broker i again after Kill or Stop, on the same ports with the
// same data, and returns when all running brokers know it. Its replicas may
// still lag behind then: see [Cluster.WaitInSync].
func (c *Cluster) Restart(t testing.TB, i int) {
	t.Helper()
	b := c.brokers[i]
	if b.running() {
		t.Fatalf("broker %d is running already", i)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startDeadline)
	defer cancel()
	for {
		err := c.run(b)
		if err == nil {
			err = c.waitReady(ctx, b)
		}
		if err == nil {
			return
		}
		if p := b.process(); p != nil {
			p.Kill()
		}
		// The port is ours among tests; another program will leave it.
		if !errors.Is(err, errPortTaken) || !pause(ctx) {
			t.Fatalf("broker %d did not come back: %v%s", i, err, c.tails(nil))
		}
	}
}

// close ends the brokers without ado, for their data goes too.
func (c *Cluster) close() {
	var wg sync.WaitGroup
	for _, b := range c.brokers {
		if p := b.process(); p != nil {
			wg.Go(p.Kill)
		}
	}
	wg.Wait()
	os.RemoveAll(c.dir)
	if c.lease != nil {
		c.lease.Release()
	}
}

// pause waits a moment between two looks at something; false means that ctx
// has ended.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(50 * time.Millisecond):
		return true
	}
}

// newClient is a client of the PLAINTEXT listener whose requests [Fake] does
// not count.
func newClient(seeds []string, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(seeds...),
		kgo.ClientID(clientID),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
	}, opts...)...)
}

package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	yaml "go.yaml.in/yaml/v4"
)

// ownConfig is the configuration if -config is not set.
//
//go:embed kong.yml
var ownConfig []byte

const (
	ownTopic   = "kong-upstream"
	partitions = 10
)

// kafka is the cluster that the records go to, and a consumer that prints them.
type kafka struct {
	addresses []string
	cluster   *kfake.Cluster // nil with -bootstrap
	client    *kgo.Client
	out       *console
	since     time.Time // older records are not printed

	mu     sync.Mutex
	topics []string
	// next is the offset after the last printed record, by topic and partition.
	next map[string]map[int32]int64
}

// openKafka starts a consumer, of a broker in this process unless bootstrap names a cluster.
func openKafka(bootstrap string, access *secure, out *console) (*kafka, error) {
	k := &kafka{out: out, since: time.Now(), next: map[string]map[int32]int64{}}
	if bootstrap == "" {
		c, err := kfake.NewCluster(append(access.broker(), kfake.NumBrokers(1), kfake.SeedTopics(partitions, ownTopic),
			kfake.AllowAutoTopicCreation(), kfake.DefaultNumPartitions(partitions))...)
		if err != nil {
			return nil, fmt.Errorf("the broker in this process cannot be started: %w", err)
		}
		k.cluster, k.addresses = c, c.ListenAddrs()
	}
	for _, a := range strings.FieldsFunc(bootstrap, func(r rune) bool { return r == ',' || r == ' ' }) {
		host, port, err := net.SplitHostPort(a)
		if n, perr := strconv.Atoi(port); err != nil || perr != nil || host == "" || n < 1 || n > 65535 {
			return nil, fmt.Errorf("-bootstrap %q is not host:port, or several of them separated by commas", bootstrap)
		}
		k.addresses = append(k.addresses, a)
	}
	if len(k.addresses) == 0 {
		return nil, errors.New("-bootstrap names no broker")
	}
	// A broker in this process has no older records. An offset by time would skip a record
	// that is written to an empty partition at that very moment.
	from := kgo.NewOffset().AtStart()
	if k.cluster == nil {
		from = kgo.NewOffset().AfterMilli(k.since.UnixMilli())
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(k.addresses...),
		kgo.ClientID("kafka-upstream-demo"),
		kgo.ConsumeResetOffset(from),
		kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.MetadataMinAge(100 * time.Millisecond), // to find a new topic soon
	}
	if k.cluster != nil {
		opts = append(opts, kgo.AllowAutoTopicCreation())
	}
	client, err := kgo.NewClient(append(opts, access.consumer()...)...)
	if err != nil {
		k.close()
		return nil, fmt.Errorf("the consumer cannot be started: %w", err)
	}
	k.client = client
	if k.cluster == nil {
		ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
		defer cancel()
		if err := client.Ping(ctx); err != nil {
			k.close()
			return nil, fmt.Errorf("no broker of -bootstrap %s answers: %s", bootstrap, strings.Join(strings.Fields(err.Error()), " "))
		}
	}
	return k, nil
}

func (k *kafka) close() {
	if k.client != nil {
		k.client.Close()
	}
	if k.cluster != nil {
		k.cluster.Close()
	}
}

// follow adds topics to those whose records are printed.
func (k *kafka) follow(topics []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range topics {
		if !slices.Contains(k.topics, t) {
			k.topics = append(k.topics, t)
			k.client.AddConsumeTopics(t)
		}
	}
}

// consume prints the records that arrive, until the context ends.
func (k *kafka) consume(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := k.client.PollFetches(ctx)
		fetches.EachError(func(topic string, partition int32, err error) {
			if ctx.Err() == nil {
				k.out.printf("Cannot consume topic %s, partition %d: %v\n", topic, partition, err)
			}
		})
		fetches.EachRecord(func(r *kgo.Record) {
			k.out.record(r)
			k.mu.Lock()
			defer k.mu.Unlock()
			if k.next[r.Topic] == nil {
				k.next[r.Topic] = map[int32]int64{}
			}
			k.next[r.Topic][r.Partition] = r.Offset + 1
		})
	}
}

// settle waits until all records in the topics are printed, including those that the plugin
// server delivered at its shutdown.
func (k *kafka) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	k.mu.Lock()
	topics := slices.Clone(k.topics)
	k.mu.Unlock()
	if len(topics) == 0 {
		return
	}
	admin := kadm.NewClient(k.client)
	first, err := admin.ListOffsetsAfterMilli(ctx, k.since.UnixMilli(), topics...)
	if err != nil {
		return
	}
	end, err := admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !k.printed(first, end) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (k *kafka) printed(first, end kadm.ListedOffsets) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := true
	end.Each(func(e kadm.ListedOffset) {
		f, _ := first.Lookup(e.Topic, e.Partition)
		if e.Err == nil && e.Offset > max(f.Offset, k.next[e.Topic][e.Partition]) {
			all = false
		}
	})
	return all
}

// withBootstrapServers returns the declarative configuration with these bootstrap servers in
// its plugins.
func withBootstrapServers(config []byte, addresses []string) ([]byte, error) {
	var root any
	if err := yaml.Load(config, &root); err != nil {
		return nil, fmt.Errorf("the configuration is not YAML: %s", strings.Join(strings.Fields(err.Error()), " "))
	}
	var servers []any
	for _, a := range addresses {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			return nil, err
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			return nil, err
		}
		servers = append(servers, map[string]any{"host": host, "port": n})
	}
	eachPlugin(root, func(config map[string]any) { config["bootstrap_servers"] = servers })
	return yaml.Dump(root)
}

// eachPlugin calls f with the configuration of each plugin in a declarative configuration.
func eachPlugin(v any, f func(config map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		if v["name"] == "kafka-upstream" {
			if config, ok := v["config"].(map[string]any); ok {
				f(config)
			}
		}
		for _, e := range v {
			eachPlugin(e, f)
		}
	case []any:
		for _, e := range v {
			eachPlugin(e, f)
		}
	}
}

func getJSON(ctx context.Context, url string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(v)
}

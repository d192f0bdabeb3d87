package docs

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
	yaml "go.yaml.in/yaml/v4"

	"kafka-upstream/internal/test/idp"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongsim"
	"kafka-upstream/schema"
)

// example is fields of the plugin, and what becomes of requests with them.
type example struct {
	name      string
	config    map[string]any
	exchanges []exchange
}

// exchange is a request of an example, and what it becomes.
type exchange struct {
	request string
	answer  string // an HTTP response; "": the usual one
	records []wantedRecord
}

// wantedRecord is a record as docs/examples.md has it.
type wantedRecord struct {
	Topic     string
	Key       *string
	Headers   map[string]string
	Timestamp *time.Time
	Value     json.RawMessage
}

// examples returns the examples of docs/examples.md, docs/records.md, docs/schema-registry.md and
// docs/recipes.md.
func examples(t *testing.T) []*example {
	t.Helper()
	var all []*example
	var fences []fence
	for _, name := range []string{"docs/examples.md", "docs/records.md", "docs/schema-registry.md", "docs/recipes.md"} {
		fences = append(fences, find(t, name).fences...)
	}
	for _, f := range fences {
		if f.lang == "text" {
			continue
		}
		if f.lang == "yaml" {
			e := &example{name: f.section}
			if err := yaml.Load([]byte(f.text), &e.config); err != nil {
				t.Fatalf("%s: %v", f.section, err)
			}
			all = append(all, e)
			continue
		}
		e := all[len(all)-1]
		switch f.lang {
		case "http":
			e.exchanges = append(e.exchanges, exchange{request: f.text})
			continue
		case "sh request":
			e.exchanges = append(e.exchanges, exchange{request: requestOf(t, f)})
			continue
		}
		x := &e.exchanges[len(e.exchanges)-1]
		switch f.lang {
		case "http answer":
			x.answer = f.text
		case "json records":
			for d := json.NewDecoder(strings.NewReader(f.text)); d.More(); {
				var w wantedRecord
				d.DisallowUnknownFields()
				if err := d.Decode(&w); err != nil {
					t.Fatalf("%s: %v", f.section, err)
				}
				x.records = append(x.records, w)
			}
		default:
			t.Fatalf("%s has a block of %s", f.section, f.lang)
		}
	}
	return all
}

// requestOf is the request that a block with one curl command makes.
func requestOf(t *testing.T, f fence) string {
	t.Helper()
	all, err := commands(f.text)
	if err != nil || len(all) != 1 {
		t.Fatalf("%s: %d commands, not one curl: %v", f.section, len(all), err)
	}
	c, err := parseCurl(all[0], nil)
	if err != nil {
		t.Fatalf("%s: %v", f.section, err)
	}
	target, ok := strings.CutPrefix(c.url, "http://localhost:8000")
	if !ok {
		t.Fatalf("%s: %s is not Kong", f.section, c.url)
	}
	head := c.method + " " + target + " HTTP/1.1\n"
	if c.kind != "" {
		head += "content-type: " + c.kind + "\n"
	}
	for _, h := range c.headers {
		head += strings.ToLower(h[0]) + ": " + h[1] + "\n"
	}
	return head + "\n" + c.body
}

func TestExamplesDoWhatTheyShow(t *testing.T) {
	all := examples(t)
	if len(all) < 18 {
		t.Errorf("only %d examples", len(all))
	}
	sim, err := kongsim.Start(t.Context(), kongsim.Options{
		Binary: binary, Args: []string{"-kong-prefix", shortDir(t), "-drain-timeout", "1s"}, Workers: 1,
		Facts: func(*http.Request) kongsim.Facts {
			return kongsim.Facts{Consumer: &pb.Consumer{Id: "1", Username: "alice"}}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() }) // it has records for brokers that are not there
	registry := startRegistry(t)
	for _, e := range all {
		if r, ok := e.config["schema_registry"].(map[string]any); ok {
			r["confluent"].(map[string]any)["url"] = registry
		}
		t.Run(e.name, func(t *testing.T) { e.run(t, sim) })
	}
}

// giveTokens has the broker take access tokens, of the example's own token endpoint.
func (e *example) giveTokens(t *testing.T, broker *kafkatest.Fake) {
	login, _ := e.config["authentication"].(map[string]any)
	tokens, ok := login["oauthbearer"].(map[string]any)
	if !ok {
		return
	}
	broker.TakeTokens(nil)
	if id, ok := tokens["client_id"].(string); ok {
		tokens["token_endpoint_url"] = idp.Start(t, idp.Config{Clients: map[string]string{id: tokens["client_secret"].(string)}}).TokenURL
	}
}

// startRegistry returns the URL of a registry with the schemas of testdata/schemas.
func startRegistry(t *testing.T) string {
	t.Helper()
	fake := srfake.New()
	t.Cleanup(fake.Close)
	seed := func(subject string, id int, kind sr.SchemaType, text string) {
		fake.SeedSchema(subject, 1, id, sr.Schema{Type: kind, Schema: text})
	}
	seed("orders-value", 1, sr.TypeAvro, read(t, "testdata/schemas/order.avsc"))
	seed("orders-json", 2, sr.TypeJSON, read(t, "testdata/schemas/order.json"))
	seed("message-value", 3, sr.TypeAvro, read(t, "testdata/schemas/message.avsc"))
	seed("orders-proto", 4, sr.TypeProtobuf, read(t, "testdata/schemas/order.proto"))
	seed("orders-key", 5, sr.TypeAvro, `"string"`)
	return fake.URL()
}

func (e *example) run(t *testing.T, sim *kongsim.Sim) {
	var topics []string
	for _, x := range e.exchanges {
		for _, r := range x.records {
			topics = append(topics, r.Topic)
		}
	}
	topics = append(topics, "secret")
	slices.Sort(topics)
	broker := kafkatest.StartFake(t, kfake.SeedTopics(1, slices.Compact(topics)...))
	broker.ControlKey(int16(kmsg.Produce), forbid)
	own := e.config["bootstrap_servers"] == nil
	if own {
		host, port, _ := net.SplitHostPort(broker.Addrs()[0])
		n, _ := strconv.Atoi(port)
		e.config["bootstrap_servers"] = []any{map[string]any{"host": host, "port": n}}
	}
	e.config["producer_async_flush_timeout"] = 1
	e.giveTokens(t, broker)
	b, err := json.Marshal(map[string]any{"_format_version": "3.0", "routes": []any{map[string]any{
		"name": "example", "paths": []string{"/", "~/regions/(?<region>[a-z]+)$", "~/devices/(?<device>[a-z0-9-]+)/readings$"}, "plugins": []any{map[string]any{"name": "kafka-upstream", "config": e.config}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.SetConfig(b); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int) // records, by topic
	for _, x := range e.exchanges {
		x.send(t, sim, !own)
		for _, want := range x.records {
			seen[want.Topic]++
			got := broker.Records(t, want.Topic, seen[want.Topic])
			if len(got) < seen[want.Topic] {
				t.Fatalf("%d records in %s, want %d", len(got), want.Topic, seen[want.Topic])
			}
			want.compare(t, got[seen[want.Topic]-1])
		}
	}
	for _, p := range broker.Produces() {
		for _, batch := range p.Batches {
			codec := slices.Index([]any{"none", "gzip", "snappy", "lz4", "zstd"}, e.config["compression_type"])
			if int(batch.Codec) != max(codec, 0) {
				t.Errorf("a batch has codec %d", batch.Codec)
			}
		}
	}
}

// forbid answers requests to write to the topic "secret" as a broker with ACLs does.
func forbid(req kmsg.Request) (kmsg.Response, error, bool) {
	r := req.(*kmsg.ProduceRequest)
	if len(r.Topics) != 1 || r.Topics[0].Topic != "secret" {
		return nil, nil, false
	}
	res := r.ResponseKind().(*kmsg.ProduceResponse)
	topic := kmsg.NewProduceResponseTopic()
	topic.Topic, topic.TopicID = r.Topics[0].Topic, r.Topics[0].TopicID
	for _, p := range r.Topics[0].Partitions {
		failed := kmsg.NewProduceResponseTopicPartition()
		failed.Partition, failed.ErrorCode = p.Partition, kerr.TopicAuthorizationFailed.Code
		topic.Partitions = append(topic.Partitions, failed)
	}
	res.Topics = append(res.Topics, topic)
	return res, nil, true
}

// send sends the request, again and again if the answer may need some time to become what is
// shown, and compares the answer.
func (x *exchange) send(t *testing.T, sim *kongsim.Sim, again bool) {
	t.Helper()
	want := x.answer
	if want == "" {
		want = "HTTP/1.1 200 OK\n\n{\"message\":\"message sent\"}\n"
	}
	head, body, _ := strings.Cut(want, "\n\n")
	lines := strings.Split(head, "\n")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		res, got := sendText(t, sim, x.request)
		ok := res.Proto+" "+res.Status == lines[0] && pattern(strings.TrimSpace(body)).MatchString(got)
		for _, line := range lines[1:] {
			name, value, _ := strings.Cut(line, ": ")
			ok = ok && res.Header.Get(name) == value
		}
		if ok {
			return
		}
		if !again || time.Now().After(deadline) {
			t.Fatalf("the answer is %s %s\n%s\nwant %s", res.Proto, res.Status, got, want)
		}
	}
}

// sendText sends a request as a document has it.
func sendText(t *testing.T, sim *kongsim.Sim, text string) (*http.Response, string) {
	t.Helper()
	r, err := parseRequest(text)
	if err != nil {
		t.Fatal(err)
	}
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nhost: example\r\n", r.Method, r.URI)
	for _, h := range r.Headers {
		fmt.Fprintf(&head, "%s: %s\r\n", h.Name, h.Value)
	}
	if len(r.Body) > 0 {
		fmt.Fprintf(&head, "content-length: %d\r\n", len(r.Body))
	}
	c, err := net.Dial("tcp", strings.TrimPrefix(sim.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, head.String()+"\r\n"+string(r.Body)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, strings.TrimSpace(string(body))
}

// pattern matches a text in which … stands for anything.
func pattern(text string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(text), "…", ".+") + "$")
}

func (w *wantedRecord) compare(t *testing.T, got *kgo.Record) {
	t.Helper()
	if (w.Key == nil) != (got.Key == nil) || w.Key != nil && *w.Key != string(got.Key) {
		t.Errorf("the key is %q", got.Key)
	}
	if w.Timestamp != nil && !w.Timestamp.Equal(got.Timestamp) {
		t.Errorf("the timestamp is %v", got.Timestamp)
	}
	headers := make(map[string]string)
	for _, h := range got.Headers {
		headers[h.Key] = string(h.Value)
	}
	for name, want := range w.Headers {
		if !pattern(want).MatchString(headers[name]) {
			t.Errorf("the header %s is %q, want %q", name, headers[name], want)
		}
	}
	if len(got.Headers) != len(w.Headers) {
		t.Errorf("the headers are %v", headers)
	}
	switch w.Value[0] {
	case 'n':
		if got.Value != nil {
			t.Errorf("the value is %q, not null", got.Value)
		}
	case '"':
		var text string
		if json.Unmarshal(w.Value, &text) != nil || text != string(got.Value) {
			t.Errorf("the value is %s, want %s", got.Value, text)
		}
	default:
		want, value := decode(t, "the example", string(w.Value)), decode(t, "the record", string(got.Value))
		if !like(want, value) {
			t.Errorf("the value is %s, want %s", got.Value, w.Value)
		}
	}
}

// like reports whether v is want, in which the text … stands for any text.
func like(want, v any) bool {
	object, ok := want.(map[string]any)
	if !ok {
		_, text := v.(string)
		return reflect.DeepEqual(want, v) || want == "…" && text
	}
	members, ok := v.(map[string]any)
	if !ok || len(members) != len(object) {
		return false
	}
	for name := range object {
		if !like(object[name], members[name]) {
			return false
		}
	}
	return true
}

// withoutExample are fields that say how the connection is made or how batches are sent, of
// which no record shows anything.
var withoutExample = []string{"authentication", "security", "timeout", "keepalive", "keepalive_enabled", "cluster_name", "new_kafka_async_producer",
	"producer_request_acks", "producer_idempotent", "producer_request_timeout", "producer_request_limits_messages_per_request", "producer_request_limits_bytes_per_request",
	"producer_request_retries_backoff_timeout", "producer_async_flush_timeout", "producer_async_buffering_limits_messages_in_memory",
	"producer_async_buffering_limits_bytes_in_memory", "producer_async_durable", "producer_async_health_recovery_threshold", "forward_method", "forward_uri"}

func TestEveryFieldOfARecordHasAnExample(t *testing.T) {
	set := make(map[string]bool)
	for _, e := range examples(t) {
		for name := range e.config {
			set[name] = true
		}
	}
	for _, f := range schema.Config() {
		if !set[f.Name] && !slices.Contains(withoutExample, f.Name) {
			t.Errorf("docs/examples.md has no example of %s", f.Name)
		}
	}
}

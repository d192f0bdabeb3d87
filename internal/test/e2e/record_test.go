package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongsim"
)

// feature is a configuration, requests to it with their answers, and the records that are
// in its topics after them.
type feature struct {
	name   string
	config map[string]any
	path   string // of the route
	facts  kongsim.Facts
	topics []string // beside the feature's own, which has its name
	sent   []sent
	want   []string // see show
	sorted bool     // compare objects with sorted members: those of Lua's tables have no order
}

// sent is a POST, unless method says otherwise, and its answer.
type sent struct {
	method, target string
	headers        []string // "name: value"
	body           string

	status int    // 200 if zero
	answer string // message sent if "" and the status is 200; … at its end is anything
}

func (s sent) send(t *testing.T, base, host string) (status int, header http.Header, body string) {
	t.Helper()
	return s.sendBy(t, http.DefaultClient, base, host)
}

func (s sent) sendBy(t *testing.T, client *http.Client, base, host string) (status int, header http.Header, body string) {
	t.Helper()
	req, err := http.NewRequest(cmp.Or(s.method, "POST"), base+s.target, strings.NewReader(s.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	for _, h := range s.headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

// check sends the request and compares its answer.
func (s sent) check(t *testing.T, base, host string) {
	t.Helper()
	s.checkBy(t, http.DefaultClient, base, host)
}

func (s sent) checkBy(t *testing.T, client *http.Client, base, host string) {
	t.Helper()
	if s.status == 0 {
		s.status, s.answer = 200, cmp.Or(s.answer, `{"message":"message sent"}`)
	}
	if status, _, body := s.sendBy(t, client, base, host); status != s.status || !matches(body, s.answer) {
		t.Errorf("%s %q %q is answered %d %s\nwant %d %s", s.target, s.headers, s.body, status, body, s.status, s.answer)
	}
}

func matches(body, answer string) bool {
	beginning, open := strings.CutSuffix(answer, "…")
	return body == answer || open && strings.HasPrefix(body, beginning)
}

// show writes a record: its topic unless that is own, its key and value, and its headers;
// @ and its timestamp if that is not of this hour. Ids and times that the plugin has made are
// replaced by what they are.
func show(r *kgo.Record, own string) string {
	var b strings.Builder
	if r.Topic != own {
		b.WriteString(r.Topic + ": ")
	}
	b.WriteString(text(r.Key) + " " + text(r.Value))
	for _, h := range r.Headers {
		b.WriteString(" " + h.Key + "=" + string(h.Value))
	}
	if time.Since(r.Timestamp).Abs() > time.Hour {
		fmt.Fprintf(&b, " @%d", r.Timestamp.UnixMilli())
	}
	s := b.String()
	for _, made := range madeByPlugin {
		s = made.pattern.ReplaceAllString(s, made.what)
	}
	return s
}

var madeByPlugin = []struct {
	pattern *regexp.Regexp
	what    string
}{
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`00-[0-9a-f]{32}-[0-9a-f]{16}-00`), "NEW-TRACE"},
	{regexp.MustCompile(time.Now().UTC().Format("2006") + `-\d\d-\d\dT[0-9:.]+Z`), "NOW"},
}

// text quotes what cannot be printed, and cuts what is long.
func text(b []byte) string {
	switch {
	case b == nil:
		return "null"
	case len(b) > 1000:
		return fmt.Sprintf("(%d bytes)", len(b))
	case len(b) == 0 || !utf8.Valid(b) || strings.ContainsFunc(string(b), func(r rune) bool { return !unicode.IsPrint(r) }):
		return strconv.Quote(string(b))
	}
	return string(b)
}

// bad and notAllowed are the answers of requests of which no record is made.
func bad(reason string) string { return `{"message":"Bad Request","error":"` + reason + `"}` }

const notAllowed = `{"message":"Bad Gateway","error":"one or more target topics are not in the allowed topics list"}`

// Each field of docs/records.md once through the program, from the client to the topic. The
// rules in detail are tested in package record.
func TestRecordsOfEachField(t *testing.T) {
	runFeatures(t, append(slices.Clone(features), functions...))
}

// runFeatures starts the program with the configurations of the features, and checks each
// through the plugin protocol.
func runFeatures(t *testing.T, features []feature) {
	t.Helper()
	fake, configs := startFeatures(t, features)
	var yaml strings.Builder
	yaml.WriteString("_format_version: \"3.0\"\nroutes:\n")
	facts := make(map[string]kongsim.Facts)
	for _, f := range features {
		facts[f.name] = f.facts
		fmt.Fprintf(&yaml, "- name: %s\n  hosts: [%[1]s]\n  paths: ['%s']\n  plugins:\n  - name: kafka-upstream\n    config: %s\n", f.name, cmp.Or(f.path, "/"), configs[f.name])
	}
	log := new(rig.Lines)
	sim, err := kongsim.Start(t.Context(), kongsim.Options{
		Config: []byte(yaml.String()), Binary: rig.Binary, Args: []string{"-kong-prefix", rig.ShortDir(t)}, Stderr: log,
		Facts: func(r *http.Request) kongsim.Facts { return facts[r.Host] },
	})
	if err != nil {
		t.Fatal(err)
	}
	checkFeatures(t, features, fake, strings.Clone, func(f feature, s sent) { s.check(t, sim.URL(), f.name) })
	if err := sim.Close(); err != nil {
		t.Error(err)
	}
	rig.CheckLog(t, log)
}

// startFeatures starts a cluster with the topics of the features, and returns it and their
// configurations, by the features' names.
func startFeatures(t *testing.T, features []feature) (*kafkatest.Fake, map[string][]byte) {
	t.Helper()
	topics := []string{}
	for _, f := range features {
		topics = append(append(topics, f.name), f.topics...)
	}
	fake := kafkatest.StartFake(t, kfake.SeedTopics(1, topics...))
	configs := make(map[string][]byte)
	for _, f := range features {
		more := map[string]any{"topic": f.name, "producer_async": false}
		maps.Copy(more, f.config)
		configs[f.name] = rig.Settings(t, fake.Addrs(), more)
	}
	return fake, configs
}

// checkFeatures sends the requests of each feature, and compares the records in the form that
// normal gives them.
func checkFeatures(t *testing.T, features []feature, fake *kafkatest.Fake, normal func(string) string, check func(feature, sent)) {
	t.Helper()
	for _, f := range features {
		t.Run(f.name, func(t *testing.T) {
			for _, s := range f.sent {
				check(f, s)
			}
			var got []string
			for _, topic := range append([]string{f.name}, f.topics...) {
				for _, r := range fake.Records(t, topic, 0) { // synchronous: what is accepted is there
					var m map[string]any
					if f.sorted && json.Unmarshal(r.Value, &m) == nil {
						r.Value, _ = json.Marshal(m)
					}
					got = append(got, show(r, f.name))
				}
			}
			if !slices.EqualFunc(got, f.want, func(a, b string) bool { return normal(a) == normal(b) }) {
				t.Errorf("records are\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(f.want, "\n\t"))
			}
		})
	}
}

package docs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	yaml "go.yaml.in/yaml/v4"

	"kafka-upstream/internal/config"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongsim"
	"kafka-upstream/internal/test/testcert"
)

// startKong starts the stand-in for Kong, with the program behind it.
func startKong(t *testing.T, config string) *kongsim.Sim {
	t.Helper()
	sim, err := kongsim.Start(t.Context(), kongsim.Options{
		Binary: binary, Args: []string{"-kong-prefix", shortDir(t), "-drain-timeout", "2s"}, Config: []byte(config), Workers: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() }) // it may leave records to brokers that are not there
	return sim
}

func TestConfigurationsOfKongAreAccepted(t *testing.T) {
	sim := startKong(t, "")
	n := 0
	for _, d := range documents(t) {
		for _, f := range d.fences {
			if f.lang != "yaml" || !strings.Contains(f.text, "_format_version") {
				continue // none of Kong's
			}
			n++
			if err := sim.SetConfig([]byte(f.text)); err != nil {
				t.Errorf("%s: %v:\n%s", d.name, err, f.text)
			}
		}
	}
	if n < 5 {
		t.Errorf("only %d configurations were found in the documents", n)
	}
	for _, name := range []string{"testdata/kong.yml", "cmd/kafka-upstream-demo/kong.yml"} {
		if err := sim.SetConfig([]byte(read(t, name))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// That this is a test at all.
	if sim.SetConfig([]byte(strings.Replace(read(t, "testdata/kong.yml"), "topic:", "topics:", 1))) == nil {
		t.Error("a configuration with a field that there is not was accepted")
	}
}

// Blocks with fields of the plugin, from the topic on, are configurations: of Kong's schema and
// of ours.
func TestConfigurationsForServicesAreAccepted(t *testing.T) {
	sim := startKong(t, "")
	services := make(map[string]bool)
	for _, f := range find(t, "docs/security.md").fences {
		if f.lang != "yaml" || !strings.HasPrefix(f.text, "topic:") {
			continue
		}
		services[f.section] = true
		var fields map[string]any
		if err := yaml.Load([]byte(f.text), &fields); err != nil {
			t.Fatalf("%s: %v", f.section, err)
		}
		b, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		if err := sim.SetConfig(fmt.Appendf(nil, "_format_version: \"3.0\"\nplugins: [{name: kafka-upstream, config: %s}]\n", b)); err != nil {
			t.Errorf("%s: %v:\n%s", f.section, err, f.text)
		}
		c, err := config.Parse(b)
		if err == nil {
			err = c.Validate()
		}
		if err != nil {
			t.Errorf("%s: %v:\n%s", f.section, err, f.text)
		}
	}
	if len(services) < 5 {
		t.Errorf("only the services %v have configurations", services)
	}
}

// curl is what this knows of a curl command.
type curl struct {
	method, url string
	host        string
	kind        string // the content type
	headers     [][2]string
	body        string
}

func parseCurl(words []string, file func(name string) string) (*curl, error) {
	c := &curl{method: "GET"}
	var data []string
	for i := 1; i < len(words); i++ {
		word := words[i]
		if !strings.HasPrefix(word, "-") {
			if c.url != "" {
				return nil, fmt.Errorf("%q is one argument too many", word)
			}
			c.url = word
			continue
		}
		if i++; i == len(words) {
			return nil, fmt.Errorf("%s lacks its value", word)
		}
		switch value := words[i]; word {
		case "-X":
			c.method = value
		case "--header":
			name, v, _ := strings.Cut(value, ": ")
			switch http.CanonicalHeaderKey(name) {
			case "Host":
				c.host = v
			case "Content-Type":
				c.kind = v
			default:
				c.headers = append(c.headers, [2]string{name, v})
			}
		case "--data", "--data-binary":
			data = append(data, value)
		case "--data-urlencode":
			if name, path, ok := strings.Cut(value, "@"); ok && !strings.Contains(name, "=") {
				data = append(data, name+"="+url.QueryEscape(file(path)))
			} else {
				name, v, _ := strings.Cut(value, "=")
				data = append(data, name+"="+url.QueryEscape(v))
			}
		default:
			return nil, fmt.Errorf("the option %s of curl is not known here", word)
		}
	}
	if c.url == "" {
		return nil, errors.New("no URL")
	}
	if len(data) > 0 {
		c.body = strings.Join(data, "&")
		if c.kind == "" {
			c.kind = "application/x-www-form-urlencoded"
		}
		if c.method == "GET" {
			c.method = "POST"
		}
	}
	return c, nil
}

// send sends the request to the stand-in for Kong, and returns its answer.
func (c *curl) send(t *testing.T, sim *kongsim.Sim) (status int, body string) {
	t.Helper()
	to := strings.NewReplacer("http://localhost:8000", sim.URL(), "http://localhost:8001", sim.AdminURL()).Replace(c.url)
	req, err := http.NewRequestWithContext(t.Context(), c.method, to, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	if to == c.url {
		t.Fatalf("%s is neither Kong's proxy nor its Admin API", c.url)
	}
	req.Host = c.host
	req.Header.Set("Content-Type", c.kind)
	for _, h := range c.headers {
		req.Header.Add(h[0], h[1])
	}
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, strings.TrimSpace(string(b))
}

// Each curl command of the documents does what it is there for: those to the
// Admin API are accepted, and a request makes a record. Where a section
// configures nothing, what the demo and the containers have is there.
func TestCommandsWithCurl(t *testing.T) {
	ca := testcert.New("a CA")
	pair := ca.Client("kong")
	files := map[string]string{"kong.crt": string(pair.Cert), "kong.key": string(pair.Key)}
	broker := kafkatest.StartFake(t, kfake.SeedTopics(10, "kong-upstream"))
	host, port, err := net.SplitHostPort(broker.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	own := strings.NewReplacer("host: kafka\n", "host: "+host+"\n", "port: 9092\n", "port: "+port+"\n").Replace(read(t, "testdata/kong.yml"))
	localKafka := strings.NewReplacer("bootstrap_servers[1].host=localhost", "bootstrap_servers[1].host="+host, "bootstrap_servers[1].port=9092", "bootstrap_servers[1].port="+port)

	ran, records := 0, 0
	for _, d := range documents(t) {
		for section, text := range d.scripts() {
			if !strings.Contains(text, "curl") {
				continue
			}
			config := own
			if strings.Contains(text, "localhost:8001") {
				config = ""
			}
			sim := startKong(t, config)
			all, err := commands(localKafka.Replace(text))
			if err != nil {
				t.Errorf("%s, %s: %v", d.name, section, err)
				continue
			}
			for _, words := range all {
				if words[0] != "curl" {
					continue
				}
				c, err := parseCurl(words, func(name string) string { return files[name] })
				if err != nil {
					t.Errorf("%s, %s: %v in %q", d.name, section, err, words)
					continue
				}
				status, body := c.send(t, sim)
				ran++
				switch {
				case strings.Contains(c.url, ":8001") && status/100 != 2:
					t.Errorf("%s, %s: %q: %d %s", d.name, section, words, status, body)
				case strings.Contains(c.url, ":8000"):
					records++
					if status != 200 || body != `{"message":"message sent"}` {
						t.Errorf("%s, %s: %q: %d %s", d.name, section, words, status, body)
					}
				}
			}
			if err := sim.Close(); err != nil {
				t.Errorf("%s, %s: %v", d.name, section, err)
			}
		}
	}
	if ran < 8 || records < 3 {
		t.Errorf("only %d commands with curl were found, %d of them requests", ran, records)
	}
	if n := len(broker.Records(t, "kong-upstream", records)); n != records {
		t.Errorf("%d requests, %d records", records, n)
	}
}

// scripts are the blocks of sh by section.
func (d *document) scripts() map[string]string {
	all := make(map[string]string)
	for _, f := range d.fences {
		if f.lang == "sh" {
			all[f.section] += f.text + "\n"
		}
	}
	return all
}

// What the README shows as the record of its request is that record.
func TestRecordInTheReadmeIsTheOneThatArrives(t *testing.T) {
	broker := kafkatest.StartFake(t, kfake.SeedTopics(10, "kong-upstream"))
	host, port, _ := net.SplitHostPort(broker.Addrs()[0])
	d := find(t, "README.md")
	var config, record string
	for _, f := range d.fences {
		switch {
		case f.section != "in-your-own-kong":
		case f.lang == "yaml":
			config = f.text
		case f.lang == "json":
			record = f.text // the last one
		}
	}
	sim := startKong(t, strings.NewReplacer("localhost", host, "9092", port).Replace(config))
	c, err := parseCurl([]string{"curl", "-X", "POST", "http://localhost:8000", "--header", "Host: kafka-upstream.dev", "--data", "foo=bar"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := c.send(t, sim); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	got := broker.Records(t, "kong-upstream", 1)
	if len(got) != 1 || !reflect.DeepEqual(decode(t, "the record", string(got[0].Value)), decode(t, d.name, record)) {
		t.Errorf("%d records, not just %s", len(got), record)
	}
}

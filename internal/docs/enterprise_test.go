package docs

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	yaml "go.yaml.in/yaml/v4"

	"kafka-upstream/internal/config"
	"kafka-upstream/internal/declarative"
	"kafka-upstream/schema"
)

// The files in testdata/enterprise were made by Enterprise's list of fields: an Enterprise
// gateway is not to be had.

// pluginConfig returns the configuration of the plugin of the first route in a file, as JSON.
func pluginConfig(t *testing.T, file string) []byte {
	t.Helper()
	var all struct {
		Services []struct {
			Routes []struct {
				Plugins []struct {
					Config map[string]any
				}
			}
		}
	}
	if err := yaml.Load([]byte(read(t, file)), &all); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(all.Services[0].Routes[0].Plugins[0].Config)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConfigurationsOfEnterpriseLoad(t *testing.T) {
	sim := startKong(t, "")
	for _, name := range []string{"testdata/enterprise/deck-dump.yml", "testdata/enterprise/every-field.yml", "testdata/enterprise/oauthbearer.yml"} {
		text := []byte(read(t, name))
		if err := sim.SetConfig(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		found, err := declarative.Check(text, "kafka-upstream", func([]string) []error { return nil })
		if err != nil || found.Plugins != 1 || len(found.Problems) != 0 {
			t.Errorf("%s: %v, %+v", name, err, found)
		}
	}
	var plugin map[string]any
	if err := json.Unmarshal([]byte(read(t, "testdata/enterprise/admin-api.json")), &plugin); err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(map[string]any{"name": plugin["name"], "config": plugin["config"], "protocols": plugin["protocols"]})
	req, err := http.NewRequestWithContext(t.Context(), "POST", startKong(t, "").AdminURL()+"/plugins", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if answer, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusCreated {
		t.Errorf("%d %s", res.StatusCode, answer)
	}
}

func TestUnsetFieldsOfEnterpriseMeanTheDefaults(t *testing.T) {
	var admin struct{ Config json.RawMessage }
	if err := json.Unmarshal([]byte(read(t, "testdata/enterprise/admin-api.json")), &admin); err != nil {
		t.Fatal(err)
	}
	want := parseConfig(t, []byte(`{"topic":"orders","bootstrap_servers":[{"host":"kafka-1.example.com","port":9092},{"host":"kafka-2.example.com","port":9092}]}`))
	for name, b := range map[string][]byte{"the dump": pluginConfig(t, "testdata/enterprise/deck-dump.yml"), "the answer": admin.Config} {
		got := parseConfig(t, b)
		if !reflect.DeepEqual(got.Record(), want.Record()) || !reflect.DeepEqual(got.Producer(), want.Producer()) || got.Response != want.Response || got.HealthGating || got.Compression != "none" {
			t.Errorf("%s is\n%+v\nnot\n%+v", name, got, want)
		}
	}
}

func parseConfig(t *testing.T, b []byte) *config.Config {
	t.Helper()
	c, err := config.Parse(b)
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// onlyHere are the fields that Kong Enterprise's plugin does not have.
var onlyHere = []string{"record_key", "partitioner", "exclude_headers", "value_format", "tombstones", "split", "split_limit", "trace_headers", "timestamp_header",
	"cloudevents", "cloudevents_source", "cloudevents_type", "response", "producer_async_buffering_limits_bytes_in_memory", "producer_async_durable",
	"producer_idempotent", "authentication.oauthbearer.token_file", "authentication.aws", "schema_registry.confluent.certificate_id"}

func TestEveryFieldOfEnterpriseIsInTheFileWithAll(t *testing.T) {
	var set map[string]any
	if err := json.Unmarshal(pluginConfig(t, "testdata/enterprise/every-field.yml"), &set); err != nil {
		t.Fatal(err)
	}
	n := 0
	for name, f := range leaves("", schema.Config()) {
		within := func(record string) bool { return name == record || strings.HasPrefix(name, record+".") }
		if f.Type == "record" || strings.Contains(name, "[]") || slices.ContainsFunc(onlyHere, within) {
			continue
		}
		n++
		var v any = set
		for part := range strings.SplitSeq(name, ".") {
			v = v.(map[string]any)[part]
		}
		if v == nil {
			t.Errorf("%s is not set", name)
		}
	}
	if n < 40 {
		t.Errorf("only %d fields", n)
	}
}

func TestTheMigrationGuideHasEveryField(t *testing.T) {
	guide := find(t, "docs/migrating-from-enterprise.md")
	named := make(map[string]bool)
	for _, m := range quoted.FindAllStringSubmatch(guide.prose, -1) {
		named[m[1]] = true
	}
	for name, f := range leaves("", schema.Config()) {
		within := func(record string) bool {
			return name == record || strings.HasPrefix(name, record+".") || strings.HasPrefix(name, record+"[")
		}
		described := func(record string) bool { return within(record) && named[record] }
		if f.Type != "record" && !named[name] && !slices.ContainsFunc(onlyHere, described) && !described("bootstrap_servers") {
			t.Errorf("the guide lacks %s", name)
		}
	}
}

package docs

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	yaml "go.yaml.in/yaml/v4"

	"kafka-upstream/internal/config"
	"kafka-upstream/internal/test/child"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongsim"
)

// resources are the resources in a file of Kubernetes' YAML.
func resources(t *testing.T, name string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for doc := range strings.SplitSeq(read(t, name), "\n---\n") {
		if !strings.Contains("\n"+doc, "\nkind:") && !strings.HasPrefix(filepath.Base(name), "values-") {
			continue // a comment
		}
		var m map[string]any
		if err := yaml.Load([]byte(doc), &m); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, m)
	}
	return all
}

// text returns the string that the path leads to, "" if there is none.
func text(v any, path ...string) string {
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	s, _ := v.(string)
	return s
}

// ofKubernetes returns the plugin's configuration in a file of examples/kubernetes, put together
// as Kong's controller does.
func ofKubernetes(t *testing.T, name string) map[string]any {
	t.Helper()
	var own map[string]any
	var secret, plugin map[string]any
	for _, r := range resources(t, name) {
		switch r["kind"] {
		case "Secret":
			secret = r
		case "KongPlugin", "KongClusterPlugin":
			plugin = r
		}
	}
	if key := text(plugin, "configFrom", "secretKeyRef", "key"); key != "" {
		if err := yaml.Load([]byte(text(secret, "stringData", key)), &own); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return own
	}
	own = plugin["config"].(map[string]any)
	for _, p := range plugin["configPatches"].([]any) {
		at := own
		path := strings.Split(strings.TrimPrefix(text(p, "path"), "/"), "/")
		for _, member := range path[:len(path)-1] {
			at = at[member].(map[string]any)
		}
		var value any
		if err := json.Unmarshal([]byte(text(secret, "stringData", text(p, "valueFrom", "secretKeyRef", "key"))), &value); err != nil {
			t.Fatalf("%s: %s: %v", name, text(p, "path"), err)
		}
		at[path[len(path)-1]] = value
	}
	return own
}

// ofDeck returns the plugin's configuration in a file for decK, with its variables replaced.
func ofDeck(t *testing.T, name string) map[string]any {
	t.Helper()
	var file struct {
		Routes []struct {
			Plugins []struct{ Config map[string]any }
		}
	}
	filled := regexp.MustCompile(`\$\{\{ env "[A-Z_]+" \}\}`).ReplaceAllString(read(t, name), "from-the-environment")
	if err := yaml.Load([]byte(filled), &file); err != nil {
		t.Fatal(err)
	}
	return file.Routes[0].Plugins[0].Config
}

// The configurations that users copy are accepted, by Kong's schema, by ours and by -check, and
// make records.
func TestConfigurationsInExamplesMakeRecords(t *testing.T) {
	const request = "POST / HTTP/1.1\ncontent-type: application/json\n\n{\"id\":7}\n"
	own := map[string]map[string]any{
		"examples/kubernetes/kongplugin.yaml":        ofKubernetes(t, "examples/kubernetes/kongplugin.yaml"),
		"examples/kubernetes/kongclusterplugin.yaml": ofKubernetes(t, "examples/kubernetes/kongclusterplugin.yaml"),
		"examples/deck/kong.yml":                     ofDeck(t, "examples/deck/kong.yml"),
		"examples/terraform/kafka-upstream.json":     decode(t, "the file for Terraform", read(t, "examples/terraform/kafka-upstream.json")).(map[string]any),
	}
	sim := startKong(t, "")
	for name, fields := range own {
		t.Run(name, func(t *testing.T) {
			set := func() []byte {
				b, err := json.Marshal(fields)
				if err != nil {
					t.Fatal(err)
				}
				doc := fmt.Appendf(nil, `{"_format_version":"3.0","routes":[{"name":"example","paths":["/"],"plugins":[{"name":"kafka-upstream","config":%s}]}]}`, b)
				if err := sim.SetConfig(doc); err != nil {
					t.Fatal(err)
				}
				c, err := config.Parse(b)
				if err == nil {
					err = c.Validate()
				}
				if err != nil {
					t.Fatal(err)
				}
				return doc
			}
			file := filepath.Join(t.TempDir(), "kong.yml")
			if err := os.WriteFile(file, set(), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(binary, "-check", file).CombinedOutput(); err != nil {
				t.Errorf("-check: %v: %s", err, out)
			}
			topic := fields["topic"].(string)
			broker := kafkatest.StartFake(t, kfake.SeedTopics(1, topic))
			host, port, _ := net.SplitHostPort(broker.Addrs()[0])
			n, _ := strconv.Atoi(port)
			fields["bootstrap_servers"] = []any{map[string]any{"host": host, "port": n}}
			delete(fields, "security")
			delete(fields, "authentication")
			fields["producer_async"] = false
			set()
			if res, body := sendText(t, sim, request); res.StatusCode != 200 {
				t.Fatalf("%s %s", res.Status, body)
			}
			got := broker.Records(t, topic, 1)
			if len(got) != 1 {
				t.Fatalf("%d records", len(got))
			}
			if key, keyed := string(got[0].Key), fields["record_key"] != nil; keyed && key != "7" {
				t.Errorf("the key is %q", key)
			}
		})
	}
}

// startCommands are the commands with which the files of examples start the program.
func startCommands(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, name := range []string{"sidecar", "init-container"} {
		file := "examples/kubernetes/values-" + name + ".yaml"
		values := resources(t, file)[0]
		for _, setting := range []string{"query_cmd", "start_cmd"} {
			if command := text(values, "env", "pluginserver_kafka_upstream_"+setting); command != "" {
				all[file+" "+setting] = command
			}
		}
		deployment, _ := values["deployment"].(map[string]any)
		containers, _ := deployment["initContainers"].([]any)
		for _, c := range containers {
			words, _ := c.(map[string]any)["command"].([]any)
			if fmt.Sprint(words[0]) == "/usr/local/bin/kafka-upstream" {
				all[file+" "+text(c, "name")] = strings.Trim(fmt.Sprint(words), "[]")
			}
		}
	}
	for _, plane := range []string{"control", "data"} {
		file := "examples/hybrid/" + plane + "-plane.conf"
		for line := range strings.Lines(read(t, file)) {
			if setting, command, ok := strings.Cut(strings.TrimSpace(line), "_cmd = "); ok {
				all[file+" "+setting] = command
			}
		}
	}
	return all
}

// The commands in the files that users copy start the program: -dump fails for all that would end
// it at every start.
func TestCommandsInExamplesStartTheProgram(t *testing.T) {
	commands := startCommands(t)
	if len(commands) < 6 {
		t.Errorf("only the commands %v", commands)
	}
	for name, command := range commands {
		words := strings.Fields(strings.NewReplacer("/run/kafka-upstream", shortDir(t), "/kong_prefix", shortDir(t)).Replace(command))
		if !strings.HasSuffix(words[0], "/bin/kafka-upstream") {
			t.Errorf("%s runs %s", name, words[0])
		}
		args := words[1:]
		if args[len(args)-1] != "-dump" {
			args = append(args, "-dump")
		}
		out, err := exec.Command(binary, args...).Output()
		if err != nil || !strings.HasPrefix(string(out), "{") {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

// What Kong asks and what is started agree on the socket.
func TestSocketsInExamplesAreThoseThatKongLooksFor(t *testing.T) {
	values := resources(t, "examples/kubernetes/values-sidecar.yaml")[0]
	socket := text(values, "env", "pluginserver_kafka_upstream_socket")
	if socket == "" || strings.HasPrefix(socket, "/kong_prefix") {
		t.Errorf("the socket of the sidecar is %q", socket)
	}
	for name, command := range startCommands(t) {
		if strings.Contains(name, "sidecar") && !strings.Contains(command, socket) {
			t.Errorf("%s: %q does not name %s", name, command, socket)
		}
		if strings.Contains(name, "init-container") && !strings.Contains(command, "-kong-prefix /kong_prefix ") {
			t.Errorf("%s: %q does not name the chart's prefix", name, command)
		}
	}
}

// The sidecar's command serves a Kong that asks and looks as the values say, and drains at the
// end of the pod.
func TestSidecarInExamplesServesKong(t *testing.T) {
	lease, err := child.LeasePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lease.Release)
	const file = "examples/kubernetes/values-sidecar.yaml"
	dir := shortDir(t)
	metrics := fmt.Sprintf("127.0.0.1:%d", lease.Ports[0])
	here := strings.NewReplacer("/run/kafka-upstream", dir, "0.0.0.0:9542", metrics)
	all := startCommands(t)
	dump, err := exec.Command(binary, strings.Fields(here.Replace(all[file+" query_cmd"]))[1:]...).Output()
	if err != nil {
		t.Fatal(err)
	}
	sidecar, err := child.Start(exec.Command(binary, strings.Fields(here.Replace(all[file+" kafka-upstream"]))[1:]...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sidecar.Kill() })
	for _, path := range []string{"/healthz", "/readyz"} { // as the kubelet asks
		for deadline := time.Now().Add(20 * time.Second); probe(t, "http://"+metrics+path) != http.StatusOK; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) || sidecar.Ended() {
				t.Fatalf("%s does not answer 200", path)
			}
		}
	}
	socket := here.Replace(text(resources(t, file)[0], "env", "pluginserver_kafka_upstream_socket"))
	broker := kafkatest.StartFake(t, kfake.SeedTopics(1, "orders"))
	host, port, _ := net.SplitHostPort(broker.Addrs()[0])
	sim, err := kongsim.Start(t.Context(), kongsim.Options{Socket: socket, Dump: dump, Workers: 1, Config: fmt.Appendf(nil, `{"_format_version": "3.0", "routes": [{"name": "orders",
		"paths": ["/"], "plugins": [{"name": "kafka-upstream", "config": {"bootstrap_servers": [{"host": %q, "port": %s}], "topic": "orders", "producer_async_flush_timeout": 3600000}}]}]}`, host, port)})
	if err != nil {
		t.Fatal(err)
	}
	if res, body := sendText(t, sim, "POST / HTTP/1.1\ncontent-type: text/plain\n\n"+strings.Repeat("tea", 10_000)+"\n"); res.StatusCode != 200 {
		t.Fatalf("%s %s", res.Status, body)
	}
	if err := sim.Close(); err != nil { // Kong ends first, as its container does
		t.Error(err)
	}
	if !sidecar.Stop(20*time.Second) || sidecar.Err() != nil {
		t.Errorf("the sidecar did not end by itself: %v", sidecar.Err())
	}
	if got := broker.Records(t, "orders", 1); len(got) != 1 {
		t.Errorf("%d records after the drain", len(got))
	}
}

// probe returns the status of an answer, 0 if there is none.
func probe(t *testing.T, url string) int {
	t.Helper()
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(url)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	return res.StatusCode
}

package docs

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	yaml "go.yaml.in/yaml/v4"

	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/version"
)

// composeFile is what docker-compose.yml uses of the Compose specification. A
// key that is not here makes the test fail.
type composeFile struct {
	Services map[string]composeService `yaml:"services"`
}

type composeService struct {
	Image       string            `yaml:"image"`
	Build       string            `yaml:"build"`
	PullPolicy  string            `yaml:"pull_policy"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
	Restart     string            `yaml:"restart"`
	Healthcheck struct {
		Test        []string `yaml:"test"`
		StartPeriod string   `yaml:"start_period"`
		Interval    string   `yaml:"interval"`
		Timeout     string   `yaml:"timeout"`
		Retries     int      `yaml:"retries"`
	} `yaml:"healthcheck"`
	DependsOn map[string]struct {
		Condition string `yaml:"condition"`
	} `yaml:"depends_on"`
}

func compose(t *testing.T) map[string]composeService {
	t.Helper()
	var c composeFile
	if err := yaml.Load([]byte(read(t, "docker-compose.yml")), &c, yaml.WithKnownFields()); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(c.Services)); !slices.Equal(got, []string{"kafka", "kong", "topic"}) {
		t.Fatalf("the services are %v", got)
	}
	return c.Services
}

// kongPlugin is the one plugin of testdata/kong.yml.
func kongPlugin(t *testing.T) (server, topic string) {
	t.Helper()
	var c struct {
		Routes []struct {
			Plugins []struct {
				Name   string
				Config struct {
					BootstrapServers []struct {
						Host string
						Port string
					} `yaml:"bootstrap_servers"`
					Topic string
				}
			}
		}
	}
	if err := yaml.Load([]byte(read(t, "testdata/kong.yml")), &c); err != nil {
		t.Fatal(err)
	}
	p := c.Routes[0].Plugins[0]
	if p.Name != plugin.Name || len(p.Config.BootstrapServers) != 1 {
		t.Fatalf("testdata/kong.yml has %+v", p)
	}
	s := p.Config.BootstrapServers[0]
	return s.Host + ":" + s.Port, p.Config.Topic
}

func TestComposeFileStartsKafkaAsItsReleaseNeeds(t *testing.T) {
	services := compose(t)
	image := "apache/kafka:" + kafkatest.Versions[0]
	if services["kafka"].Image != image || services["topic"].Image != image {
		t.Errorf("the tests are run against %s, the containers are %s and %s", image, services["kafka"].Image, services["topic"].Image)
	}
	env := services["kafka"].Environment
	if len(env["CLUSTER_ID"]) != 22 {
		t.Error("CLUSTER_ID is not 16 bytes in base64")
	}
	listeners := make(map[string]string) // name: port
	for l := range strings.SplitSeq(env["KAFKA_LISTENERS"], ",") {
		name, port, ok := strings.Cut(l, "://:")
		if !ok {
			t.Errorf("%s listens not on all addresses of the container", l)
		}
		listeners[name] = port
		if !strings.Contains(env["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"], name+":PLAINTEXT") {
			t.Errorf("listener %s has no protocol", name)
		}
	}
	for _, name := range []string{env["KAFKA_CONTROLLER_LISTENER_NAMES"], env["KAFKA_INTER_BROKER_LISTENER_NAME"]} {
		if listeners[name] == "" {
			t.Errorf("there is no listener %q", name)
		}
	}
	if want := env["KAFKA_NODE_ID"] + "@kafka:" + listeners[env["KAFKA_CONTROLLER_LISTENER_NAMES"]]; env["KAFKA_CONTROLLER_QUORUM_VOTERS"] != want {
		t.Errorf("the voters are %s, not %s", env["KAFKA_CONTROLLER_QUORUM_VOTERS"], want)
	}
	for l := range strings.SplitSeq(env["KAFKA_ADVERTISED_LISTENERS"], ",") {
		name, address, _ := strings.Cut(l, "://")
		host, port, _ := strings.Cut(address, ":")
		switch {
		case listeners[name] != port:
			t.Errorf("%s is advertised, and nobody listens there", l)
		case host == "localhost" && !slices.Contains(services["kafka"].Ports, "127.0.0.1:"+port+":"+port):
			t.Errorf("%s is advertised to this machine, and the port is not published there", l)
		case host != "localhost" && host != "kafka":
			t.Errorf("%s is advertised: no container has that name", l)
		}
	}
	for key, v := range env {
		if strings.HasSuffix(key, "_REPLICATION_FACTOR") && v != "1" {
			t.Errorf("%s is %s, and there is one broker", key, v)
		}
	}
}

func TestComposeFileFitsTheConfigurationOfKong(t *testing.T) {
	services := compose(t)
	server, topic := kongPlugin(t)
	if !strings.Contains(services["kafka"].Environment["KAFKA_ADVERTISED_LISTENERS"], "://"+server) {
		t.Errorf("testdata/kong.yml has bootstrap server %s, which no listener is advertised as", server)
	}
	for name, args := range map[string][]string{"topic": services["topic"].Command, "kafka": services["kafka"].Healthcheck.Test[1:]} {
		i := slices.Index(args, "--bootstrap-server")
		if i < 0 || args[i+1] != server || args[0] != "/opt/kafka/bin/kafka-topics.sh" {
			t.Errorf("%s runs %q", name, args)
		}
	}
	if i := slices.Index(services["topic"].Command, "--topic"); services["topic"].Command[i+1] != topic {
		t.Errorf("testdata/kong.yml writes to topic %s, which nobody makes", topic)
	}
	if services["kafka"].Healthcheck.Test[0] != "CMD" {
		t.Error("the health check is not run as it is written")
	}

	kong := services["kong"]
	env := kong.Environment
	if !slices.Contains(kong.Volumes, "./testdata/kong.yml:"+env["KONG_DECLARATIVE_CONFIG"]+":ro") || env["KONG_DATABASE"] != "off" {
		t.Errorf("Kong reads %s, and what is there is %v", env["KONG_DECLARATIVE_CONFIG"], kong.Volumes)
	}
	if env["KONG_PLUGINS"] != "bundled,"+plugin.Name || env["KONG_PLUGINSERVER_NAMES"] != plugin.Name {
		t.Errorf("Kong's plugins are %s, its plugin servers %s", env["KONG_PLUGINS"], env["KONG_PLUGINSERVER_NAMES"])
	}
	out, err := exec.Command(binary, "-dump").Output()
	var dump struct{ SocketPath string }
	if err == nil {
		err = json.Unmarshal(out, &dump)
	}
	if want := path.Join(env["KONG_PREFIX"], plugin.Name+".socket"); err != nil || dump.SocketPath != want {
		t.Errorf("Kong looks for the socket %s, the program makes %s (%v)", want, dump.SocketPath, err)
	}
	if !slices.Contains(kong.Ports, "8000:8000") || !slices.Contains(kong.Ports, "127.0.0.1:8001:8001") || env["KONG_ADMIN_LISTEN"] != "0.0.0.0:8001" {
		t.Errorf("ports are %v, the Admin API listens on %s", kong.Ports, env["KONG_ADMIN_LISTEN"])
	}
	for key := range env {
		if strings.HasPrefix(key, "KONG_PLUGINSERVER_") && key != "KONG_PLUGINSERVER_NAMES" {
			t.Errorf("%s is set, where Kong's default is meant", key)
		}
	}
	if kong.Build != "." || kong.PullPolicy != "build" {
		t.Errorf("the image of Kong is built from %q by policy %q", kong.Build, kong.PullPolicy)
	}
}

func TestComposeFileStartsThingsInTheirOrder(t *testing.T) {
	services := compose(t)
	if c := services["topic"].DependsOn["kafka"].Condition; c != "service_healthy" {
		t.Errorf("the topic is made when Kafka is %q", c)
	}
	if c := services["kong"].DependsOn["topic"].Condition; c != "service_completed_successfully" {
		t.Errorf("Kong starts when the topic is %q", c)
	}
	if services["topic"].Restart != "no" {
		t.Errorf("the topic's container restarts: %q", services["topic"].Restart)
	}
}

// instruction is one of a Dockerfile.
type instruction struct{ name, args string }

func dockerfile(t *testing.T) []instruction {
	t.Helper()
	var text strings.Builder
	for line := range strings.Lines(read(t, "Dockerfile")) {
		if !strings.HasPrefix(line, "#") {
			text.WriteString(line)
		}
	}
	var all []instruction
	for line := range strings.Lines(strings.ReplaceAll(text.String(), "\\\n", "")) {
		name, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "" {
			all = append(all, instruction{name, strings.TrimSpace(args)})
		}
	}
	return all
}

func TestDockerfilePutsTheProgramWhereKongLooks(t *testing.T) {
	const place = "/usr/local/bin/" + plugin.Name
	all := dockerfile(t)
	has := func(name, args string) bool { return slices.Contains(all, instruction{name, args}) }
	for _, want := range []instruction{
		{"FROM", "${GO_IMAGE} AS build"}, {"FROM", "${KONG_IMAGE}"}, {"ARG", "KONG_IMAGE=kong:3.9"}, {"USER", "kong"},
		{"COPY", "--from=build " + place + " " + place},
	} {
		if !has(want.name, want.args) {
			t.Errorf("the Dockerfile lacks %s %s", want.name, want.args)
		}
	}
	if last := all[len(all)-1]; last.name != "USER" {
		t.Errorf("the image ends with %v, not as Kong's user", last)
	}
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))[1]
	if !has("ARG", "GO_IMAGE=golang:"+goVersion) {
		t.Errorf("go.mod wants Go %s, the Dockerfile takes another", goVersion)
	}
	for i, in := range all {
		if !slices.Contains([]string{"FROM", "ARG", "WORKDIR", "COPY", "RUN", "LABEL", "USER"}, in.name) {
			t.Errorf("%v is no instruction that is expected", all[i])
		}
	}
}

// buildCommand is what the build stage of the Dockerfile runs to build the program
// as out.
func buildCommand(t *testing.T, out string) string {
	t.Helper()
	const place = "/usr/local/bin/" + plugin.Name
	for _, in := range dockerfile(t) {
		if in.name == "RUN" && strings.Contains(in.args, "go build") && strings.Contains(in.args, place) {
			return strings.ReplaceAll(in.args, place, out)
		}
	}
	t.Fatal("the Dockerfile builds no program")
	return ""
}

func TestImageSaysWhatItIs(t *testing.T) {
	for _, in := range dockerfile(t) {
		if in.name == "LABEL" {
			for _, want := range []string{`image.version="` + version.Number + `"`, `image.revision="${COMMIT}"`} {
				if !strings.Contains(in.args, want) {
					t.Errorf("the labels lack %s", want)
				}
			}
		}
	}
	if !slices.Contains(dockerfile(t), instruction{"ARG", "COMMIT=unknown"}) {
		t.Error("the Dockerfile has no argument COMMIT that may be left out")
	}
}

// copyContext copies the build context. It knows as much of the patterns of
// .dockerignore as the file uses: all is out (*), some names at the root are in
// (!name), and some are out again at any depth (**/pattern).
func copyContext(t *testing.T, to string) {
	t.Helper()
	var in, out []string
	for line := range strings.Lines(read(t, ".dockerignore")) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line == "*" || line[0] == '#':
		case line[0] == '!':
			in = append(in, line[1:])
		case strings.HasPrefix(line, "**/"):
			out = append(out, line[3:])
		default:
			t.Fatalf(".dockerignore: %q is not known here", line)
		}
	}
	if len(in) == 0 || len(out) == 0 {
		t.Fatal(".dockerignore lets all or nothing through")
	}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, file)
		first, _, _ := strings.Cut(filepath.ToSlash(name), "/")
		ignored := slices.ContainsFunc(out, func(p string) bool { ok, _ := path.Match(p, d.Name()); return ok })
		switch {
		case name == ".":
			return os.MkdirAll(to, 0o755)
		case !slices.Contains(in, first) || ignored:
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

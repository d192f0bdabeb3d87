package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	yaml "go.yaml.in/yaml/v4"

	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/testcert"
	"kafka-upstream/internal/version"
)

// composition is what this knows of a file for Docker Compose.
type composition struct {
	Services map[string]service
	Volumes  map[string]any
}

type service struct {
	Image       string
	Build       any
	Environment map[string]string
	Command     any
	Volumes     []string
	Ports       []string
	DependsOn   any `yaml:"depends_on"`
	target      string
	args        map[string]string
}

// compose reads docker-compose.yml, and over it those of compose that are named, as Docker
// Compose merges them.
func compose(t *testing.T, overlays ...string) map[string]service {
	t.Helper()
	all := make(map[string]service)
	volumes := make(map[string]bool)
	for _, name := range append([]string{"docker-compose.yml"}, overlays...) {
		var c composition
		if err := yaml.Load([]byte(read(t, name)), &c); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for v := range c.Volumes {
			volumes[v] = true
		}
		for name, s := range c.Services {
			all[name] = merge(all[name], s)
		}
	}
	var hostPorts []string
	for name, s := range all {
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if !strings.HasPrefix(from, "./") {
				if !volumes[from] {
					t.Errorf("%v: %s mounts the volume %s, which is not declared", overlays, name, from)
				}
				continue
			}
			if _, err := os.Stat(filepath.Join(root, from)); err != nil {
				t.Errorf("%v: %s mounts %v", overlays, name, err)
			}
		}
		for _, other := range dependencies(s.DependsOn) {
			if _, ok := all[other]; !ok {
				t.Errorf("%v: %s depends on %s, which is not there", overlays, name, other)
			}
		}
		for _, p := range s.Ports {
			host := p[:strings.LastIndex(p, ":")]
			host = host[strings.LastIndex(host, ":")+1:]
			if slices.Contains(hostPorts, host) {
				t.Errorf("%v: two services have the port %s", overlays, host)
			}
			hostPorts = append(hostPorts, host)
		}
	}
	return all
}

func dependencies(v any) (names []string) {
	switch v := v.(type) {
	case map[string]any:
		for name := range v {
			names = append(names, name)
		}
	case []any:
		for _, name := range v {
			names = append(names, fmt.Sprint(name))
		}
	}
	return names
}

// merge puts s over base: environment by name, volumes by their place in the container.
func merge(base, s service) service {
	environment, args := make(map[string]string), make(map[string]string)
	for _, from := range []service{base, s} {
		for k, v := range from.Environment {
			environment[k] = v
		}
		for k, v := range from.args {
			args[k] = v
		}
	}
	if b, ok := s.Build.(map[string]any); ok {
		s.target, _ = b["target"].(string)
		if more, ok := b["args"].(map[string]any); ok {
			for k, v := range more {
				args[k] = fmt.Sprint(v)
			}
		}
	}
	place := func(v string) string { return strings.Split(v, ":")[1] }
	volumes := slices.Clone(base.Volumes)
	for _, v := range s.Volumes {
		volumes = slices.DeleteFunc(volumes, func(old string) bool { return place(old) == place(v) })
		volumes = append(volumes, v)
	}
	if s.Image == "" {
		s.Image = base.Image
	}
	if s.Build == nil {
		s.Build = base.Build
	}
	if s.DependsOn == nil {
		s.DependsOn = base.DependsOn
	}
	s.Environment, s.args, s.Volumes, s.Ports = environment, args, volumes, append(base.Ports, s.Ports...)
	return s
}

var targets = regexp.MustCompile(`(?m)^FROM .* AS (\S+)$`)

// What an overlay changes fits what the image has: programs where the Dockerfile puts them,
// flags that the program knows, sockets that both sides name, configurations that Kong takes.
func TestComposeFilesFitTheProgram(t *testing.T) {
	dockerfile := read(t, "Dockerfile")
	stages := []string{""}
	for _, m := range targets.FindAllStringSubmatch(dockerfile, -1) {
		stages = append(stages, m[1])
	}
	if last := stages[len(stages)-1]; last != "kong" {
		t.Fatalf("the default target is %s", last)
	}
	program := regexp.MustCompile(`(?m)^ARG PROGRAM=(\S+)$`).FindStringSubmatch(dockerfile)[1]
	entrypoint := regexp.MustCompile(`(?m)^ENTRYPOINT (\[.*\])$`).FindStringSubmatch(dockerfile)[1]
	files, err := filepath.Glob(filepath.Join(root, "compose", "*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	overlays := [][]string{nil}
	for _, f := range files {
		name := "compose/" + filepath.Base(f)
		if strings.Contains(read(t, name), "\nservices:") {
			overlays = append(overlays, []string{name})
		}
	}
	if len(overlays) < 5 {
		t.Fatalf("only %v were found", overlays)
	}
	sim := startKong(t, "")
	for _, o := range overlays {
		t.Run(strings.Join(append([]string{"docker-compose.yml"}, o...), " "), func(t *testing.T) {
			services := compose(t, o...)
			for name, s := range services {
				if !slices.Contains(stages, s.target) {
					t.Errorf("%s is built with the target %s, which the Dockerfile does not have", name, s.target)
				}
				if s.Build == nil && !strings.Contains(s.Image, ":") {
					t.Errorf("the image %s of %s has no version", s.Image, name)
				}
				for arg := range s.args {
					if !strings.Contains(dockerfile, "\nARG "+arg+"=") {
						t.Errorf("the Dockerfile has no argument %s", arg)
					}
				}
			}
			kong := services["kong"]
			at := program
			if moved := kong.args["PROGRAM"]; moved != "" {
				at = moved
			}
			for variable, value := range kong.Environment {
				if !strings.HasSuffix(variable, "_START_CMD") && !strings.HasSuffix(variable, "_QUERY_CMD") {
					continue
				}
				if !strings.HasPrefix(variable, "KONG_PLUGINSERVER_KAFKA_UPSTREAM_") {
					t.Errorf("%s is not of this plugin server", variable)
				}
				checkFlags(t, at, strings.Fields(value))
			}
			if server, ok := services["kafka-upstream"]; ok {
				words := strings.Fields(strings.NewReplacer("[", "", "]", "", `"`, "", ",", " ").Replace(entrypoint))
				for _, w := range server.Command.([]any) {
					words = append(words, fmt.Sprint(w))
				}
				checkFlags(t, words[0], words)
				socket := kong.Environment["KONG_PLUGINSERVER_KAFKA_UPSTREAM_SOCKET"]
				if i := slices.Index(words, "-socket"); i < 0 || words[i+1] != socket || !strings.Contains(kong.Environment["KONG_PLUGINSERVER_KAFKA_UPSTREAM_QUERY_CMD"], "-socket "+socket+" ") {
					t.Errorf("the socket is %s for Kong, the server has %q", socket, words)
				}
				if at == program {
					t.Error("Kong would start the program, too")
				}
			}
			for _, v := range kong.Volumes {
				if from, ok := strings.CutSuffix(v, ":/kong/kong.yml:ro"); ok {
					if err := sim.SetConfig([]byte(read(t, from))); err != nil {
						t.Errorf("%s: %v", from, err)
					}
					if out, err := exec.Command(binary, "-check", filepath.Join(root, from)).CombinedOutput(); err != nil {
						t.Errorf("-check %s: %v: %s", from, err, out)
					}
					checkHosts(t, from, services)
				}
			}
		})
	}
}

// checkFlags has the program check a command line, with files of this machine in place of
// those of the container.
func checkFlags(t *testing.T, program string, words []string) {
	t.Helper()
	if words[0] != program {
		t.Errorf("%q runs another program than %s", words, program)
	}
	args := append(slices.Clone(words[1:]), "-dump")
	for i, a := range args {
		if a == "-ca-file" {
			authority := filepath.Join(shortDir(t), "ca.pem")
			if err := os.WriteFile(authority, testcert.New("authority").PEM(), 0o600); err != nil {
				t.Fatal(err)
			}
			args[i+1] = authority
		}
	}
	if out, err := exec.Command(binary, args...).CombinedOutput(); err != nil {
		t.Errorf("%q: %v\n%s", words, err, out)
	}
}

var hostOf = regexp.MustCompile(`(?m)host: (\S+)$|url: https?://([^:/]+)`)

// checkHosts expects the hosts of a configuration to be services.
func checkHosts(t *testing.T, name string, services map[string]service) {
	t.Helper()
	for _, m := range hostOf.FindAllStringSubmatch(read(t, name), -1) {
		if _, ok := services[m[1]+m[2]]; !ok {
			t.Errorf("%s names the host %s, which is no service", name, m[1]+m[2])
		}
	}
}

// What the container files name is what is built and tested here.
func TestContainersHaveTheVersionsOfTheRepository(t *testing.T) {
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))[1]
	apicurio := strings.Fields(read(t, "internal/test/apicurio/version.txt"))[0]
	for name, wants := range map[string][]string{
		"Dockerfile": {"ARG GO_IMAGE=golang:" + goVersion + "\n", "ARG COMMIT=unknown\n", "internal/version.commit=${COMMIT}",
			"-o /out/" + plugin.Name + " ./cmd/kafka-upstream", "\nUSER kong\n", "\nSTOPSIGNAL SIGQUIT\n", "\nSTOPSIGNAL SIGTERM\n"},
		"docker-compose.yml":             {"image: apache/kafka:" + kafkatest.Versions[0] + "\n", "./testdata/kong.yml:", "KONG_PLUGINSERVER_NAMES: " + plugin.Name + "\n"},
		"compose/secure.yml":             {"image: apache/kafka:" + kafkatest.Versions[0] + "\n"},
		"compose/registry.yml":           {"image: apicurio/apicurio-registry:" + apicurio + "\n"},
		"compose/metrics.yml":            {"./docs/grafana-dashboard.json:/var/lib/grafana/dashboards/", "-metrics 0.0.0.0:9542\n"},
		"compose/prometheus.yml":         {`targets: ["kong:9542"]`},
		"compose/grafana/dashboards.yml": {"path: /var/lib/grafana/dashboards\n"},
		".dockerignore":                  {"!LICENSE\n", "!THIRD_PARTY_NOTICES\n"},
	} {
		for _, want := range wants {
			if !strings.Contains(read(t, name), want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
	}
	if n := strings.Count(read(t, "Dockerfile"), `image.version="`+version.Number+`"`); n != 2 {
		t.Errorf("%d images of the Dockerfile have the version %s", n, version.Number)
	}
}

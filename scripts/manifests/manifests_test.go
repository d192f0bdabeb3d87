package manifests

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const examples = "../../examples/kubernetes"

// manifest is what a file of examples defines.
type manifest struct {
	secrets  map[string]*core.Secret
	services map[string]*core.Service
	ingress  []*networking.Ingress
	plugins  map[string]pluginFields
	cluster  map[string]bool // plugins that are KongClusterPlugins
}

// files are the examples whose names match.
func files(t *testing.T, glob string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(examples, glob))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s in %s: %v", glob, examples, err)
	}
	all := make(map[string][]byte)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = b
	}
	return all
}

// strictly reads YAML into v, which must have each of its fields.
func strictly(t *testing.T, name string, b []byte, v any) {
	t.Helper()
	if err := yaml.UnmarshalStrict(b, v); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

func read(t *testing.T, name string, b []byte) *manifest {
	t.Helper()
	m := &manifest{secrets: map[string]*core.Secret{}, services: map[string]*core.Service{}, plugins: map[string]pluginFields{}, cluster: map[string]bool{}}
	for _, doc := range bytes.Split(b, []byte("\n---\n")) {
		var kind meta.TypeMeta
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		switch kind.APIVersion + " " + kind.Kind {
		case " ": // a comment
		case "v1 Secret":
			v := &core.Secret{}
			strictly(t, name, doc, v)
			m.secrets[v.Namespace+"/"+v.Name] = v
		case "v1 Service":
			v := &core.Service{}
			strictly(t, name, doc, v)
			m.services[v.Name] = v
		case "networking.k8s.io/v1 Ingress":
			v := &networking.Ingress{}
			strictly(t, name, doc, v)
			m.ingress = append(m.ingress, v)
		case "networking.k8s.io/v1 NetworkPolicy":
			strictly(t, name, doc, &networking.NetworkPolicy{})
		case "configuration.konghq.com/v1 KongPlugin":
			v := &KongPlugin{}
			strictly(t, name, doc, v)
			m.plugins[v.Name] = v.pluginFields
		case "configuration.konghq.com/v1 KongClusterPlugin":
			v := &KongClusterPlugin{}
			strictly(t, name, doc, v)
			m.plugins[v.Name], m.cluster[v.Name] = v.pluginFields, true
		default:
			t.Errorf("%s has a %s of %q, which is not checked", name, kind.Kind, kind.APIVersion)
		}
	}
	return m
}

func TestManifestsAreOfTheTypesOfKubernetes(t *testing.T) {
	plugins := 0
	for name, b := range files(t, "*.yaml") {
		if strings.HasPrefix(name, "values-") {
			continue
		}
		m := read(t, name, b)
		plugins += len(m.plugins)
		m.checkPlugins(t, name)
		for _, in := range m.ingress {
			if chosen := in.Annotations["konghq.com/plugins"]; m.plugins[chosen].Plugin == "" {
				t.Errorf("%s: an Ingress chooses the plugin %q, which is not there", name, chosen)
			}
			for _, rule := range in.Spec.Rules {
				for _, p := range rule.HTTP.Paths {
					if m.services[p.Backend.Service.Name] == nil {
						t.Errorf("%s: there is no Service %s", name, p.Backend.Service.Name)
					}
				}
			}
		}
	}
	if plugins < 2 {
		t.Errorf("only %d plugins", plugins)
	}
}

// checkPlugins checks what Kong's resource definitions demand beyond the types, and that
// secrets are there.
func (m *manifest) checkPlugins(t *testing.T, name string) {
	t.Helper()
	for plugin, p := range m.plugins {
		if p.Plugin != "kafka-upstream" {
			t.Errorf("%s: %s is a plugin %q", name, plugin, p.Plugin)
		}
		if p.ConfigFrom != nil && (p.Config != nil || p.ConfigPatches != nil) {
			t.Errorf("%s: %s has configFrom beside config or configPatches", name, plugin)
		}
		sources := []secretSource{}
		if p.ConfigFrom != nil {
			sources = append(sources, *p.ConfigFrom)
		}
		for _, patch := range p.ConfigPatches {
			sources = append(sources, patch.ValueFrom)
		}
		for _, s := range sources {
			ref := s.SecretKeyRef
			if (ref.Namespace != "") != m.cluster[plugin] {
				t.Errorf("%s: %s names the namespace %q of a secret", name, plugin, ref.Namespace)
			}
			secret := m.secrets[ref.Namespace+"/"+ref.Name]
			if secret == nil || secret.StringData[ref.Key] == "" {
				t.Errorf("%s: there is no %s in the secret %s/%s", name, ref.Key, ref.Namespace, ref.Name)
			}
		}
		for _, patch := range p.ConfigPatches {
			ref := patch.ValueFrom.SecretKeyRef
			if secret := m.secrets[ref.Namespace+"/"+ref.Name]; secret != nil && !json.Valid([]byte(secret.StringData[ref.Key])) {
				t.Errorf("%s: the secret for %s is not JSON", name, patch.Path)
			}
		}
	}
}

func TestFieldThatDoesNotExistIsFound(t *testing.T) {
	var p KongPlugin
	if yaml.UnmarshalStrict([]byte("plugin: kafka-upstream\nconfigForm: {}\n"), &p) == nil {
		t.Error("configForm is taken for a field")
	}
	var v chartValues
	if yaml.UnmarshalStrict([]byte("deployment: {initContainers: [{name: a, volumeMount: []}]}\n"), &v) == nil {
		t.Error("volumeMount is taken for a field")
	}
}

func TestValuesFitTogether(t *testing.T) {
	for name, b := range files(t, "values-*.yaml") {
		t.Run(name, func(t *testing.T) {
			var v chartValues
			strictly(t, name, b, &v)
			v.checkVolumes(t)
			v.checkTimes(t)
			if v.PodDisruptionBudget.MinAvailable >= v.ReplicaCount {
				t.Errorf("%d of %d pods must stay: no node could be drained", v.PodDisruptionBudget.MinAvailable, v.ReplicaCount)
			}
			for _, c := range v.Deployment.InitContainers {
				v.checkContainer(t, &c)
			}
		})
	}
}

// checkVolumes checks that what is mounted is there; the chart itself has one with the prefix.
func (v *chartValues) checkVolumes(t *testing.T) {
	t.Helper()
	known := map[string]bool{v.FullnameOverride + "-prefix-dir": v.FullnameOverride != ""}
	for _, volume := range v.Deployment.UserDefinedVolumes {
		known[volume.Name] = true
	}
	mounts := slices.Clone(v.Deployment.UserDefinedVolumeMounts)
	for _, c := range v.Deployment.InitContainers {
		mounts = append(mounts, c.VolumeMounts...)
	}
	for _, m := range mounts {
		if !known[m.Name] {
			t.Errorf("the volume %s is mounted and not defined", m.Name)
		}
	}
}

// checkTimes checks that a pod has the time that its end takes: to stop Kong, and then to drain a
// plugin server that is a container of its own.
func (v *chartValues) checkTimes(t *testing.T) {
	t.Helper()
	const quit = 10 * time.Second // the default timeout of kong quit
	end := quit
	for _, arg := range v.Lifecycle.PreStop.Exec.Command {
		if s, ok := strings.CutPrefix(arg, "--wait="); ok {
			n, err := strconv.Atoi(s)
			if err != nil {
				t.Fatal(err)
			}
			end += time.Duration(n) * time.Second
		}
	}
	for _, c := range v.Deployment.InitContainers {
		for _, arg := range c.Command {
			if s, ok := strings.CutPrefix(arg, "-drain-timeout="); ok {
				d, err := time.ParseDuration(s)
				if err != nil {
					t.Fatal(err)
				}
				end += d
			}
		}
	}
	if grace := time.Duration(v.TerminationGracePeriodSeconds) * time.Second; grace < end+10*time.Second {
		t.Errorf("a pod takes %v to end, and has %v", end, grace)
	}
}

// checkContainer checks that probes ask a port of the container, that it runs as Kong's user,
// and that its memory has a limit, of which -memory-limit is made.
func (v *chartValues) checkContainer(t *testing.T, c *core.Container) {
	t.Helper()
	ports := map[string]bool{}
	for _, p := range c.Ports {
		ports[p.Name] = true
	}
	for _, probe := range []*core.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		if probe == nil {
			continue
		}
		if !ports[probe.HTTPGet.Port.String()] {
			t.Errorf("a probe of %s asks the port %s, which it does not have", c.Name, probe.HTTPGet.Port.String())
		}
		if !slices.Contains([]string{"/healthz", "/readyz"}, probe.HTTPGet.Path) {
			t.Errorf("a probe of %s asks for %s", c.Name, probe.HTTPGet.Path)
		}
	}
	if c.LivenessProbe != nil && c.LivenessProbe.HTTPGet.Path == "/readyz" {
		t.Errorf("%s would be restarted while brokers are away", c.Name)
	}
	if c.SecurityContext == nil || c.SecurityContext.RunAsUser == nil || *c.SecurityContext.RunAsUser != 1000 {
		t.Errorf("%s does not run as Kong's user", c.Name)
	}
	if limit := c.Resources.Limits.Memory(); limit.Cmp(resource.MustParse("16Mi")) < 0 {
		t.Errorf("%s has a memory limit of %v", c.Name, limit)
	}
}

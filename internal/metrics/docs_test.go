package metrics

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	yaml "go.yaml.in/yaml/v4"

	"kafka-upstream/internal/kafkaerr"

	"kafka-upstream/internal/plugin"
)

var update = flag.Bool("update", false, "write the table of metrics in docs/metrics.md again")

const docs = "../../docs/"

func families(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	all, err := everything().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]*dto.MetricFamily)
	for _, f := range all {
		byName[f.GetName()] = f
	}
	return byName
}

func labelsOf(f *dto.MetricFamily) []string {
	var names []string
	for _, l := range f.Metric[0].Label {
		names = append(names, l.GetName())
	}
	return names
}

func TestDocumentationHasTheTableOfAllMetrics(t *testing.T) {
	var table strings.Builder
	table.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	all := families(t)
	var names []string
	for name := range all {
		if strings.HasPrefix(name, namespace) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		f := all[name]
		labels := ""
		if names := labelsOf(f); len(names) > 0 {
			labels = "`" + strings.Join(names, "`, `") + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", name, strings.ToLower(f.GetType().String()), labels, f.GetHelp())
	}
	const begin, end = "checked by a test -->\n", "<!-- end -->"
	b, err := os.ReadFile(docs + "metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), begin)
	old, tail, found := strings.Cut(rest, end)
	if !ok || !found {
		t.Fatal("docs/metrics.md has no place for the table")
	}
	if old == table.String() {
		return
	}
	if !*update {
		t.Fatalf("the table in docs/metrics.md is not of these metrics: run go generate ./internal/metrics\nit should be\n%s", table.String())
	}
	if err := os.WriteFile(docs+"metrics.md", []byte(head+begin+table.String()+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDocumentationHasAllReasons(t *testing.T) {
	b, err := os.ReadFile(docs + "metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for r := range plugin.Reasons() {
		if row := fmt.Sprintf("\n| `%s` | %d | ", r, r.Status()); strings.Count(string(b), row) != 1 {
			t.Errorf("no row %s", row)
		}
	}
	_, section, _ := strings.Cut(string(b), "### Reasons of failures")
	section, _, _ = strings.Cut(section, "## Readiness")
	for _, name := range failureLabels() {
		if strings.Count(section, "\n| `"+name+"` | ") != 1 {
			t.Errorf("no row of the failure %s", name)
		}
	}
	if rows := strings.Count(section, "\n| `") - 1; rows != kafkaerr.Classes {
		t.Errorf("%d rows of failures, want %d", rows, kafkaerr.Classes)
	}
}

// Of PromQL, what it takes to find the names of metrics in an expression.
var (
	selector   = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*")`)
	grouping   = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	duration   = regexp.MustCompile(`\[[^]]*\]|\boffset\s+\w+`)
	identifier = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*(\s*\()?`)
	operators  = []string{"and", "or", "unless", "bool"}
)

// checkExpression reports names of metrics that do not exist, and labels that
// the metrics of the expression do not have.
func checkExpression(t *testing.T, all map[string]*dto.MetricFamily, expr string) {
	t.Helper()
	if strings.TrimSpace(expr) == "" {
		t.Error("an expression is empty")
	}
	labels := map[string]bool{"job": true, "instance": true} // Prometheus adds them
	known := func(name string) bool {
		f := all[name]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base := all[strings.TrimSuffix(name, suffix)]; f == nil && base != nil && base.GetType() == dto.MetricType_HISTOGRAM {
				f = base
				labels["le"] = true
			}
		}
		if f == nil {
			return name == "up"
		}
		for _, l := range labelsOf(f) {
			labels[l] = true
		}
		return true
	}
	found := 0
	bare := duration.ReplaceAllString(expr, "")
	withoutMatchers := selector.ReplaceAllString(bare, "$1 ")
	for _, token := range identifier.FindAllString(grouping.ReplaceAllString(withoutMatchers, " "), -1) {
		if strings.HasSuffix(token, "(") || slices.Contains(operators, token) {
			continue
		}
		found++
		if !known(token) {
			t.Errorf("there is no metric %s, in\n%s", token, expr)
		}
	}
	if found == 0 {
		t.Errorf("there is no metric in %s", expr)
	}
	for _, s := range selector.FindAllStringSubmatch(bare, -1) {
		matchers := matcher.FindAllStringSubmatch(s[2], -1)
		if len(matchers) != strings.Count(s[2], `"`)/2 || len(matchers) == 0 {
			t.Errorf("the matchers of %s are not understood", s[0])
		}
		for _, m := range matchers {
			if !labels[m[1]] {
				t.Errorf("no metric has the label %s, in\n%s", m[1], expr)
			}
			checkValues(t, m[1], m[3])
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(bare, -1) {
		for _, l := range strings.Split(g[2], ",") {
			if !labels[strings.TrimSpace(l)] {
				t.Errorf("no metric has the label %s, in\n%s", l, expr)
			}
		}
	}
}

// checkValues reports values of the label reason that it cannot have.
func checkValues(t *testing.T, label, quoted string) {
	t.Helper()
	if label != "reason" {
		return
	}
	for _, v := range strings.Split(strings.Trim(quoted, `"`), "|") {
		isReason := slices.Contains(failureLabels(), v) || slices.ContainsFunc(slices.Collect(plugin.Reasons()), func(r plugin.Reason) bool { return r.String() == v })
		if !isReason {
			t.Errorf("there is no reason %s", v)
		}
	}
}

func TestDocumentationNamesOnlyMetricsThatExist(t *testing.T) {
	all := families(t)
	for _, file := range []string{"metrics.md", "grafana-dashboard.json", "alerts.yml"} {
		b, err := os.ReadFile(docs + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\bkafka_upstream_[a-z_]+`).FindAllString(string(b), -1) {
			base := name
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				base = strings.TrimSuffix(base, suffix)
			}
			if all[name] == nil && all[base] == nil {
				t.Errorf("%s: there is no metric %s", file, name)
			}
		}
	}
}

func TestDashboardIsMadeOfMetricsThatExist(t *testing.T) {
	b, err := os.ReadFile(docs + "grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	type panel struct {
		ID          int
		Type, Title string
		GridPos     struct{ H, W, X, Y int }
		Datasource  *struct{ Type, UID string }
		Targets     []struct{ RefID, Expr string }
	}
	var d struct {
		Title, UID    string
		SchemaVersion int
		Panels        []panel
		Templating    struct{ List []struct{ Name string } }
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	if d.Title == "" || d.UID == "" || d.SchemaVersion == 0 || len(d.Panels) < 20 {
		t.Errorf("the dashboard %q has %d panels", d.Title, len(d.Panels))
	}
	variables := []string{"__rate_interval", "__range"}
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	all := families(t)
	ids := make(map[int]bool)
	taken := make(map[[2]int]string)
	for _, p := range d.Panels {
		if p.Title == "" || ids[p.ID] {
			t.Errorf("panel %d %q: it has no title, or another's id", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, ok := taken[at]; ok || at[0] >= 24 {
					t.Fatalf("panel %q is not in a place of its own, but on %q", p.Title, other)
				}
				taken[at] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Datasource == nil || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("panel %q has no data", p.Title)
		}
		for _, target := range p.Targets {
			checkExpression(t, all, target.Expr)
			for _, v := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(target.Expr, -1) {
				if !slices.Contains(variables, v[1]) {
					t.Errorf("panel %q: there is no variable %s", p.Title, v[1])
				}
			}
		}
	}
}

func TestAlertsAreMadeOfMetricsThatExist(t *testing.T) {
	b, err := os.ReadFile(docs + "alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Load(b, &file, yaml.WithKnownFields()); err != nil {
		t.Fatal(err)
	}
	all := families(t)
	seen := make(map[string]bool)
	for _, g := range file.Groups {
		if g.Name == "" {
			t.Error("a group has no name")
		}
		for _, r := range g.Rules {
			t.Run(r.Alert, func(t *testing.T) {
				if !regexp.MustCompile(`^KafkaUpstream[A-Za-z]+$`).MatchString(r.Alert) || seen[r.Alert] {
					t.Error("the name is not one of its own")
				}
				seen[r.Alert] = true
				if !regexp.MustCompile(`^([0-9]+(ms|[smhdwy]))*$`).MatchString(r.For) {
					t.Errorf("for is %q", r.For)
				}
				if !slices.Contains([]string{"warning", "critical"}, r.Labels["severity"]) {
					t.Errorf("the severity is %q", r.Labels["severity"])
				}
				checkExpression(t, all, r.Expr)
				for _, key := range []string{"summary", "description"} {
					text := r.Annotations[key]
					if text == "" || strings.Count(text, "{{") != strings.Count(text, "}}") {
						t.Errorf("%s is %q", key, text)
					}
					for _, l := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(text, -1) {
						if !strings.Contains(r.Expr, l[1]) {
							t.Errorf("%s speaks of the label %s, which the expression may not have", key, l[1])
						}
					}
				}
			})
		}
	}
	for _, name := range []string{
		"RecordsLost", "BufferFilling", "NothingDelivered", "Errors", "CertificateFailures", "Restarts",
	} {
		if !seen["KafkaUpstream"+name] {
			t.Errorf("there is no alert %s", name)
		}
	}
}

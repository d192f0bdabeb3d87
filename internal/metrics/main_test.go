package metrics

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"kafka-upstream/internal/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scrape returns the values of all series by their text, such as
// kafka_upstream_connections{topic="t"}; of a histogram its count and sum, with
// these suffixes.
func scrape(t testing.TB, m *Metrics) map[string]float64 {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		for _, s := range f.Metric {
			labels := labelText(s)
			switch {
			case s.Counter != nil:
				values[f.GetName()+labels] = s.Counter.GetValue()
			case s.Gauge != nil:
				values[f.GetName()+labels] = s.Gauge.GetValue()
			case s.Histogram != nil:
				values[f.GetName()+"_count"+labels] = float64(s.Histogram.GetSampleCount())
				values[f.GetName()+"_sum"+labels] = s.Histogram.GetSampleSum()
			}
		}
	}
	return values
}

func labelText(s *dto.Metric) string {
	if len(s.Label) == 0 {
		return ""
	}
	var parts []string
	for _, l := range s.Label {
		parts = append(parts, l.GetName()+`="`+l.GetValue()+`"`)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// expect compares the series that want names, and only those.
func expect(t *testing.T, m *Metrics, want map[string]float64) {
	t.Helper()
	got := scrape(t, m)
	for series, v := range want {
		if g, ok := got[series]; !ok || g != v {
			t.Errorf("%s is %v (there: %v), want %v", series, g, ok, v)
		}
	}
	if t.Failed() {
		maps.DeleteFunc(got, func(name string, v float64) bool { return v == 0 || !strings.HasPrefix(name, namespace) })
		t.Logf("the series that are not 0: %v", got)
	}
}

// fates are the names under which an accepted record may be found.
func sums(values map[string]float64, topic, unit string) (accepted, rest, buffered float64) {
	name := func(what string) string { return namespace + "_" + what }
	label := `{topic="` + topic + `"}`
	buffered = values[name("buffered_"+unit)+label]
	rest = buffered
	for _, fate := range []string{"delivered", "sent", "left"} {
		rest += values[name(fate+"_"+unit+"_total")+label]
	}
	for _, reason := range failureNames {
		rest += values[name("failed_"+unit+"_total")+`{reason="`+reason+`",topic="`+topic+`"}`]
	}
	return values[name("accepted_"+unit+"_total")+label], rest, buffered
}

// everything has each metric, with each call made once.
func everything() *Metrics {
	m := New("1.2.3")
	m.Memory(memory.NewLimit(1000))
	m.Requests(func() iter.Seq[RequestCounts] {
		return slices.Values([]RequestCounts{{Status: 200, Reason: "sent", Count: 1, Buckets: map[float64]uint64{1: 1}}})
	})
	for _, acks := range []int{0, 1} {
		p := m.Producer("orders", acks, Limits{Records: 100, Bytes: 1000})
		for range 4 {
			p.Accepted(10)
		}
		p.Refused(BufferFull)
		p.Delivered(1, 10)
		p.Failed(errTest, 1, 10)
		p.Left(1, 10)
		p.Batch(1, 10)
		p.Attempt(true, 0, errTest)
		p.Produced(0)
		p.Lookup(errTest)
		p.ConnectionOpened()
		p.ConnectionFailed(errTest)
	}
	return m
}

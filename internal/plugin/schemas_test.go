package plugin

import (
	"net/http"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/request"
)

// Schemas are fetched when an instance starts; a request has no part in it.
func TestRequestsAreAnsweredByTheSchemaOfTheirConfiguration(t *testing.T) {
	fake := srfake.New()
	t.Cleanup(fake.Close)
	fake.SeedSchema("good", 1, 1, sr.Schema{Type: sr.TypeJSON, Schema: `{"type":"object"}`})
	fake.SeedSchema("bad", 1, 2, sr.Schema{Type: sr.TypeJSON, Schema: `{"type":"no"}`})
	asked := make(chan string, 100)
	fake.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		asked <- r.URL.Path
		return false
	})
	config := func(url, subject string) string {
		return `"value_format":"body","schema_registry":{"confluent":{"url":"` + url + `","value_schema":{"subject_name":"` + subject + `"}}}`
	}
	for name, row := range map[string]struct {
		config, body string
		want         Reason
	}{
		"fits":            {config(fake.URL(), "good"), "{}", Sent},
		"does not fit":    {config(fake.URL(), "good"), "[]", Mismatch},
		"is no JSON":      {config(fake.URL(), "good"), "{", Mismatch},
		"not there":       {config(fake.URL(), "unknown"), "{}", NoSchema},
		"registry away":   {config("http://127.0.0.1:1", "good"), "{}", NoSchema},
		"not to be used":  {config(fake.URL(), "bad"), "{}", BadConfig},
		"no such version": {strings.Replace(config(fake.URL(), "good"), `"subject_name"`, `"schema_version":"7","subject_name"`, 1), "{}", NoSchema},
		"no subject":      {config(fake.URL(), ""), "{}", BadConfig},
	} {
		t.Run(name, func(t *testing.T) {
			_, h := started(t, row.config, nil)
			if strings.Contains(row.config, fake.URL()) && row.config != config(fake.URL(), "") {
				<-asked // before there is a request
			}
			for range 3 {
				a := h.Handle(t.Context(), &door{limit: memory.NewLimit(1 << 20)}, &request.Request{Body: []byte(row.body)})
				if a.Reason != row.want {
					t.Errorf("%+v", a)
				}
			}
			if row.want != NoSchema && row.want != BadConfig && len(asked) > 0 {
				t.Errorf("requests have asked for %s", <-asked)
			}
		})
	}
}

package kongsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/kafkatest"
)

// built says whether buildPlugin was called, so that nothing is built only to
// be removed.
var built bool

var buildPlugin = sync.OnceValues(func() (string, error) {
	built = true
	dir, err := os.MkdirTemp("", "kongsim-test")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "kafka-upstream")
	out, err := exec.Command("go", "build", "-o", path, "kafka-upstream/cmd/kafka-upstream").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// realOptions are those of a gateway that starts the real plugin server.
func realOptions(t testing.TB) Options {
	t.Helper()
	path, err := buildPlugin()
	if err != nil {
		t.Fatal(err)
	}
	o := processOptions(t)
	o.Binary, o.Args, o.Config = path, o.Args[1:], nil
	return o
}

// realConfig is one route with the plugin, for topic "t" of the brokers.
func realConfig(brokers []string, more string) []byte {
	host, port, _ := net.SplitHostPort(brokers[0])
	return fmt.Appendf(nil, `{"_format_version":"3.0","routes":[{"name":"r","hosts":["kafka-upstream.dev"],"plugins":[
		{"name":"kafka-upstream","config":{"topic":"t","bootstrap_servers":[{"host":%q,"port":%s}]%s}}]}]}`, host, port, more)
}

const forwardAll = `,"forward_method":true,"forward_uri":true,"forward_headers":true,"forward_body":true`

// TestTheRealPluginMakesTheExpectedMessages sends the recorded requests through
// this gateway and the real plugin server, and compares what arrives.
func TestTheRealPluginMakesTheExpectedMessages(t *testing.T) {
	raw, err := os.ReadFile("../../../testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Case, Flags string
		Status      int
		Message     json.RawMessage
	}
	if err := json.Unmarshal(raw, &rows); err != nil {
		t.Fatal(err)
	}
	broker := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	s := startSim(t, realOptions(t))
	sent := 0
	var names []string
	var want []any
	for _, flags := range []string{"all", "default"} {
		more := `,"producer_async":false`
		if flags == "all" {
			more += forwardAll
		}
		if err := s.SetConfig(realConfig(broker.Addrs(), more)); err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if row.Flags != flags {
				continue
			}
			rec, err := LoadRecording(filepath.Join(recordings, row.Case+".json"))
			if err != nil {
				t.Fatal(err)
			}
			sent++
			got := send(t, s, rec.Request)
			if !strings.Contains(got, fmt.Sprintf("HTTP/1.1 %d ", row.Status)) {
				t.Errorf("%s, %s: got %q", row.Case, flags, got)
			}
			if row.Status == 200 {
				names = append(names, row.Case+", "+flags)
				want = append(want, decodeNumbers(t, row.Message))
			}
		}
	}
	if sent != len(rows) || sent == 0 {
		t.Fatalf("%d of %d rows were sent", sent, len(rows))
	}
	records := broker.Records(t, "t", len(want))
	if len(records) != len(want) {
		t.Fatalf("%d records, want %d", len(records), len(want))
	}
	for i, r := range records { // one partition, one request at a time: in order
		if got := decodeNumbers(t, r.Value); !reflect.DeepEqual(got, want[i]) {
			t.Errorf("%s: got %v, want %v", names[i], got, want[i])
		}
	}
	if st := s.Stats(); st.Retries != 0 || st.Respawns != 0 {
		t.Errorf("stats %+v", st)
	}
}

func decodeNumbers(t *testing.T, b []byte) (v any) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

func TestTheRealPluginSurvivesAKillAndAReload(t *testing.T) {
	broker := kafkatest.StartFake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	o := realOptions(t)
	o.Config = realConfig(broker.Addrs(), `,"producer_async":false`)
	s := startSim(t, o)
	post := func() {
		t.Helper()
		if res, body := do(t, s, "POST", "/", testHost, strings.NewReader("a")); res.StatusCode != 200 {
			t.Errorf("%s %s", res.Status, body)
		}
	}
	post()
	old := s.PID()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "it is started again", func() bool { pid := s.PID(); return pid != 0 && pid != old })
	waitUntil(t, "it listens", func() bool {
		c, err := net.Dial("unix", s.Socket())
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	for range 4 { // each worker knows an instance that the new server does not
		post()
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	post()
	if n := len(broker.Records(t, "t", 6)); n != 6 {
		t.Errorf("%d records for 6 requests", n)
	}
	if st := s.Stats(); st.Respawns != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestTheRealPluginTellsKongWhatIsWrongWithItsConfiguration(t *testing.T) {
	o := realOptions(t)
	o.Config = realConfig([]string{"127.0.0.1:1"}, `,"forward_body":false`)
	s := startSim(t, o)
	res, body := do(t, s, "POST", "/", testHost, strings.NewReader("a"))
	if res.StatusCode != 500 || !strings.Contains(body, "invalid plugin configuration") {
		t.Errorf("%s %s", res.Status, body)
	}
	if log := strings.Join(s.ErrorLog(), "\n"); !strings.Contains(log, "[error]") {
		t.Errorf("nothing in Kong's error log: %s", log)
	}
}

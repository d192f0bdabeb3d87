package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/kafkatest"
)

// A request line that does not say the target for certain is followed by the
// calls that do.
func TestRequestLineInAbsoluteFormBecomesTheMessageOfItsPath(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	sim := gateway(t, kongYAML(t, settings(t, f.Addrs(), all(nil))), "-request-line")
	targets := []string{"/plain?x=1", "http://kafka-upstream.dev/abs?x=1"}
	for _, target := range targets {
		c, err := net.Dial("tcp", strings.TrimPrefix(sim.URL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: kafka-upstream.dev\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", target)
		answer, err := io.ReadAll(c)
		_ = c.Close()
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
			t.Fatalf("%s: %s, %v", target, answer, err)
		}
	}
	records := f.Records(t, "t", len(targets))
	for i, want := range []string{"/plain?x=1", "/abs?x=1"} {
		m := decode(t, records[i].Value).(map[string]any)
		if m["method"] != "POST" || m["uri"] != want || m["uri_args"].(map[string]any)["x"] != "1" || m["body"] != "hi" {
			t.Errorf("%s became %s", targets[i], records[i].Value)
		}
	}
}

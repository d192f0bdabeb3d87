package e2e

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"github.com/twmb/franz-go/pkg/kfake"
	"google.golang.org/protobuf/proto"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
)

// A request line that does not say the target for certain is followed by the
// calls that do.
func TestRequestLineInAbsoluteFormBecomesTheMessageOfItsPath(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	sim := gateway(t, kongYAML(t, rig.Settings(t, f.Addrs(), all(nil))), "-request-variable", "request")
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

func stringOf(t *testing.T, s string) []byte {
	t.Helper()
	b, err := proto.Marshal(&pb.String{V: s})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A variable that kong.conf defines says what other plugins have made of the request,
// and no further call is needed for that.
func TestDefinedVariableIsAllThatIsAskedOfTheTarget(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	s := rig.Start(t, "-request-variable", "$kafka_upstream_request") // the name is taken with and without its $
	w := s.Worker()
	var asked []string
	k := &rig.Kong{
		Replies: map[string][]byte{"kong.nginx.get_var": stringOf(t, "PUT /a?b=c\nz&b=changed")},
		Before:  func(method string) { asked = append(asked, method) },
	}
	exit, err := w.HandleEvent(t.Context(), rig.NewPlugin(rig.Settings(t, f.Addrs(), all(map[string]any{"producer_async": false}))), k)
	if err != nil || exit.Status != 200 {
		t.Fatalf("%+v, %v", exit, err)
	}
	if got := strings.Join(asked, " "); got != "kong.nginx.get_var kong.request.get_headers kong.request.get_raw_body" {
		t.Errorf("asked was %s", got)
	}
	m := decode(t, f.Records(t, "t", 1)[0].Value).(map[string]any)
	args := m["uri_args"].(map[string]any)
	if m["method"] != "PUT" || m["uri"] != "/a?b=c" || args["z"] != true || args["b"] != "changed" {
		t.Errorf("the message is %v", m)
	}
}

func TestVariableThatNginxDoesNotHaveIsSaidOnceAndLosesNothing(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	s := rig.Start(t, "-request-variable", "kafka_upstream_reqeust")
	w := s.Worker()
	k := &rig.Kong{Replies: map[string][]byte{"kong.nginx.get_var": {}}}
	p := rig.NewPlugin(rig.Settings(t, f.Addrs(), all(map[string]any{"producer_async": false})))
	for range 3 {
		if exit, err := w.HandleEvent(t.Context(), p, k); err != nil || exit.Status != 200 {
			t.Fatalf("%+v, %v", exit, err)
		}
	}
	for _, r := range f.Records(t, "t", 3) {
		if m := decode(t, r.Value).(map[string]any); m["method"] != "POST" || m["uri"] != "/" {
			t.Errorf("the message is %v", m)
		}
	}
	if log := k.Log(); strings.Count(log, "nginx has no variable $kafka_upstream_reqeust") != 1 || !strings.Contains(log, "nginx_http_include") {
		t.Errorf("Kong's error log reads %q", log)
	}
}

package e2e

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
)

// A change in Kong may leave records behind that no configuration can deliver any more.
// They keep nobody from being ready, Kong's error log is told of them by whoever has a
// request next, and they are given up, counted and logged.
func TestRecordsThatAChangeLeavesBehindAreToldOfAndGivenUp(t *testing.T) {
	const user, password = "alice", "correct"
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	secured := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"), kfake.EnableSASL(), kfake.Superuser("PLAIN", user, password))
	login := func(password string) map[string]any {
		return map[string]any{"strategy": "sasl", "mechanism": "PLAIN", "user": user, "password": password}
	}
	for name, c := range map[string]struct {
		brokers, then []string
		before, after map[string]any
		topic, cause  string
	}{
		"another bootstrap server": {[]string{rig.ClosedPort(t)}, f.Addrs(), nil, nil, "t", "connection refused"},
		"another topic":            {f.Addrs(), f.Addrs(), map[string]any{"topic": "gone"}, nil, "gone", "Unknown Topic"},
		"a user that was revoked": {secured.Addrs(), secured.Addrs(), map[string]any{"authentication": login("revoked"),
			"producer_request_retries_max_attempts": 1000}, map[string]any{"authentication": login(password)}, "t", ""},
	} {
		t.Run(name, func(t *testing.T) {
			address := rig.ClosedPort(t)
			s := rig.Start(t, "-metrics", address, "-orphan-timeout", "2s", "-drain-timeout", "100ms")
			var told rig.Lines
			w := s.Worker()
			if c.before == nil {
				c.before = map[string]any{}
			}
			c.before["producer_async_buffering_limits_messages_in_memory"] = 1 // so that one makes it full
			p := rig.NewPlugin(rig.Settings(t, c.brokers, c.before))
			if n := rig.SendN(t, w, p, 1); n != 1 {
				t.Fatal("the record was not accepted")
			}
			ready := func() bool { status, _ := get(t, "http://"+address+"/readyz"); return status == 200 }
			if ready() {
				t.Error("ready, with a full buffer")
			}
			p.Config = rig.Settings(t, c.then, c.after)
			p.Seq++
			request := func() {
				k := &rig.Kong{}
				exit, err := w.HandleEvent(t.Context(), p, k)
				if err != nil || exit.Status != 200 {
					t.Fatalf("%v, %+v", err, exit)
				}
				_, _ = told.Write([]byte(k.Log() + "\n"))
			}
			rig.Eventually(t, "it is ready again", func() bool { request(); return ready() })
			rig.Eventually(t, "the record that is left is told of", func() bool {
				request()
				return strings.Contains(told.String(), "1 records to topic "+c.topic+" are waiting: cannot deliver since") && strings.Contains(told.String(), c.cause)
			})
			rig.Eventually(t, "it is given up, and that is told", func() bool {
				request()
				return strings.Contains(told.String(), "1 records to topic "+c.topic+" lost since") && strings.Contains(told.String(), "(-orphan-timeout)")
			})
			if _, exposition := get(t, "http://"+address+"/metrics"); sample(exposition, `kafka_upstream_buffered_records{topic="`+c.topic+`"}`) > 5 {
				t.Error(exposition)
			}
			if log := s.Log.String(); !strings.Contains(log, "topic="+c.topic) || !strings.Contains(log, "records lost") {
				t.Errorf("the server's log has no such loss:\n%s", log)
			}
		})
	}
}

//go:build nginx

package e2e

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"kafka-upstream/internal/test/e2e/rig"
	"kafka-upstream/internal/test/kafkatest"
	"kafka-upstream/internal/test/kongnginx"
)

// Requests of one worker share the memory for their answers.
func TestCompanionAnswerHasNothingOfAnEarlierOne(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	configs := syncConfig(t, f)
	configs["full"] = rig.Settings(t, []string{rig.ClosedPort(t)}, map[string]any{"producer_async_buffering_limits_messages_in_memory": 1})
	_, n := startCompanion(t, kongnginx.Options{Configs: configs}, "-drain-timeout", "500ms")
	for _, row := range []struct {
		name, retry string
		status      int
	}{{"full", "", 200}, {"full", "1", 503}, {"sync", "", 200}} {
		resp, err := n.Client(t, row.name, 1).Post("http://kong/", "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if retry := resp.Header.Get("Retry-After"); resp.StatusCode != row.status || retry != row.retry {
			t.Errorf("%s: %d with Retry-After %q", row.name, resp.StatusCode, retry)
		}
	}
}

// What Kong knows of one request is no reason to end the connection of all.
func TestCompanionLargeFactConcernsOneRequest(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	configs := syncConfig(t, f)
	configs["fact"] = rig.Settings(t, f.Addrs(), map[string]any{
		"message_by_lua_functions": []string{"return function(m) return tostring(kong.ctx.shared.big == nil) end"},
	})
	_, n := startCompanion(t, kongnginx.Options{Configs: configs, Stub: `
		local big = ("x"):rep(32 * 1024 * 1024)
		setmetatable(kong.ctx.shared, { __index = function() return big end })`})
	for _, name := range []string{"sync", "fact", "sync"} {
		resp, err := n.Client(t, name, 1).Post("http://kong/", "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", name, resp.StatusCode, b)
		}
	}
	if log := n.ErrorLog(); strings.Contains(log, "the connection to the plugin server has ended") {
		t.Error("the connection has ended")
	} else if !strings.Contains(log, `kong.ctx.shared.get(big) cannot be used and counts as nil`) {
		t.Error("the error log does not say what is left out")
	}
}

func TestCompanionLargeConfigurationConcernsItsRequests(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	configs := syncConfig(t, f)
	configs["large"] = rig.Settings(t, f.Addrs(), map[string]any{"message_by_lua_functions": []string{"--" + strings.Repeat("x", 5<<20)}})
	s, n := startCompanion(t, kongnginx.Options{Configs: configs})
	for name, want := range map[string]int{"sync": 200, "large": 500} {
		resp, err := n.Client(t, name, 1).Post("http://kong/", "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d %s", name, resp.StatusCode, b)
		}
	}
	if log := s.Log.String(); strings.Contains(log, "closing a connection") {
		t.Error("the connection has ended")
	}
}

// With lua_check_client_abort, nginx ends the requests of clients that are gone.
func TestCompanionRequestsOfClientsThatAreGoneDoNotWait(t *testing.T) {
	f := kafkatest.StartFake(t, kfake.SeedTopics(1, "t"))
	n := kongnginx.Start(t, kongnginx.Options{
		Files: companionFiles(t), Socket: filepath.Join(rig.ShortDir(t), "kafka-upstream.socket"),
		Configs: syncConfig(t, f), HTTP: "lua_check_client_abort on;",
	})
	pid, err := n.WorkerPID("sync")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://kong/", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := n.Client(t, "sync", 1).Do(req); err == nil {
		_ = resp.Body.Close()
		t.Fatal("the request did not wait")
	}
	if err := n.Reload(); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, "the old worker ends", func() bool { return syscall.Kill(pid, 0) != nil })
}

package kafkatest

import (
	"sync"
	"testing"
)

var shared = struct {
	mu       sync.Mutex
	clusters map[string]*Cluster // by version
}{clusters: make(map[string]*Cluster)}

// Shared is a broker of that version, of the zero Config, that all tests of the
// binary share: the first call starts it, and TestMain ends it by [StopShared].
// Tests that share it use topics of their own. It may be called concurrently.
func Shared(t testing.TB, version string) *Cluster {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	c := shared.clusters[version]
	if c == nil {
		var err error
		if c, err = start(Config{Version: version}); err != nil {
			t.Fatal(err)
		}
		c.logStart(t)
		shared.clusters[version] = c
	}
	from := c.logEnds()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.tails(from))
		}
	})
	return c
}

// StopShared ends the brokers that [Shared] started. No test may run any more.
func StopShared() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	for _, c := range shared.clusters {
		c.close()
	}
	clear(shared.clusters)
}

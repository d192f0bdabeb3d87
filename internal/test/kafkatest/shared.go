package kafkatest

import (
	"sync"
	"testing"
)

var shared struct {
	mu       sync.Mutex
	clusters map[string]*sharedCluster // by version
}

type sharedCluster struct {
	once sync.Once
	c    *Cluster
	err  error
}

// Shared is a broker of that version, of the zero Config, that all tests of the
// binary share: the first call starts it, and TestMain ends it, see [TestingM].
// Tests that share it use topics of their own. It may be called concurrently.
func Shared(t testing.TB, version string) *Cluster {
	t.Helper()
	shared.mu.Lock()
	if shared.clusters == nil {
		shared.clusters = make(map[string]*sharedCluster)
	}
	s := shared.clusters[version]
	if s == nil {
		s = &sharedCluster{}
		shared.clusters[version] = s
	}
	shared.mu.Unlock()

	s.once.Do(func() {
		s.c, s.err = start(Config{Version: version})
		if s.err == nil {
			s.c.logStart(t)
		}
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	from := s.c.logEnds()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.c.tails(from))
		}
	})
	return s.c
}

// StopShared ends the brokers that [Shared] started. No test may run any more.
func StopShared() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	for _, s := range shared.clusters {
		if s.c != nil {
			s.c.close()
		}
	}
	shared.clusters = nil
}

// TestingM wraps m so that Run ends the shared brokers after the tests:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(kafkatest.TestingM(m)) }
//
// or os.Exit(kafkatest.TestingM(m).Run()).
func TestingM(m *testing.M) interface{ Run() int } { return testingM{m} }

type testingM struct{ m *testing.M }

func (m testingM) Run() int {
	defer StopShared()
	return m.m.Run()
}

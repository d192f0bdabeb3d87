//go:build kafka

package kafkatest

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// ids are the node ids that broker i shows.
func ids(t *testing.T, c *Cluster, i int) []int {
	t.Helper()
	cl, err := newClient(c.Addrs(Plaintext)[i : i+1])
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	m, err := kadm.NewClient(cl).BrokerMetadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []int
	for _, id := range m.Brokers.NodeIDs() {
		ids = append(ids, int(id))
	}
	return ids
}

func TestRecordsComeBackFromKafkaAsTheyWereWritten(t *testing.T) {
	EachVersion(t, func(t *testing.T, version string) {
		c := Shared(t, version)
		topic := c.CreateTopic(t, "orders", 2, 1, map[string]string{"max.message.bytes": "20000"})
		if got := c.Records(t, topic, 0); len(got) != 0 {
			t.Errorf("a new topic holds %d records", len(got))
		}
		if err := write(t, c.Addrs(Plaintext), topic, 5, nil); err != nil {
			t.Fatal(err)
		}
		checkWritten(t, c.Records(t, topic, 5), 5)
		if ends := c.EndOffsets(t, topic); len(ends) != 2 || ends[0] != 5 || ends[1] != 0 {
			t.Errorf("end offsets %v, want 0:5 and 1:0", ends)
		}
	})
}

func TestKafkasOwnConsumerReadsTheTopic(t *testing.T) {
	EachVersion(t, func(t *testing.T, version string) {
		c := Shared(t, version)
		topic := c.CreateTopic(t, "console", 1, 1, nil)
		if err := write(t, c.Addrs(Plaintext), topic, 3, nil); err != nil {
			t.Fatal(err)
		}
		if got, want := c.ConsoleConsumer(t, topic, 3), "v0\nv1\nv2\n"; got != want {
			t.Errorf("it printed %q, want %q", got, want)
		}
		property := "--formatter-property"
		if strings.HasPrefix(version, "3.") {
			property = "--property"
		}
		args := []string{property, "print.key=true", property, "print.headers=true"}
		if got, want := c.ConsoleConsumer(t, topic, 1, args...), "h:w\tk0\tv0\n"; got != want {
			t.Errorf("with keys and headers it printed %q, want %q", got, want)
		}
	})
}

func TestKafkasToolsRun(t *testing.T) {
	EachVersion(t, func(t *testing.T, version string) {
		c := Shared(t, version)
		topic := c.CreateTopic(t, "tools", 4, 1, map[string]string{"max.message.bytes": "54321"})
		server := c.Addrs(Plaintext)[0]
		out := c.Tool(t, "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", server, "--describe", "--topic", topic)
		if !strings.Contains(out, "PartitionCount: 4") || !strings.Contains(out, "max.message.bytes=54321") {
			t.Errorf("TopicCommand printed %q", out)
		}
	})
}

func TestSharedBrokerIsStartedOnce(t *testing.T) {
	EachVersion(t, func(t *testing.T, version string) {
		if Shared(t, version) != Shared(t, version) {
			t.Error("two calls, two clusters")
		}
	})
}

func TestBrokerComesBackWithItsDataOnItsPorts(t *testing.T) {
	EachVersion(t, func(t *testing.T, version string) {
		c := Start(t, Config{Version: version})
		topic := c.CreateTopic(t, "orders", 1, 1, nil)
		if err := write(t, c.Addrs(Plaintext), topic, 5, nil); err != nil {
			t.Fatal(err)
		}
		for _, end := range []struct {
			name string
			f    func(testing.TB, int)
		}{{"Stop", c.Stop}, {"Kill", c.Kill}} {
			end.f(t, 0)
			if conn, err := net.Dial("tcp", c.Addrs(Plaintext)[0]); err == nil {
				conn.Close()
				t.Errorf("after %s the broker still listens", end.name)
			}
			begin := time.Now()
			c.Restart(t, 0)
			t.Logf("back %v after %s", time.Since(begin).Round(time.Millisecond), end.name)
			checkWritten(t, c.Records(t, topic, 5), 5)
		}
	})
}

func TestThreeBrokersOutliveTheLossOfOne(t *testing.T) {
	EachVersion(t, func(t *testing.T, version string) {
		c := Start(t, Config{Version: version, Brokers: 3})
		topic := c.CreateTopic(t, "orders", 1, 3, map[string]string{"min.insync.replicas": "2"})
		if err := write(t, c.Addrs(Plaintext), topic, 5, nil); err != nil {
			t.Fatal(err)
		}
		for i, end := range []func(testing.TB, int){c.Kill, c.Stop} {
			if got := fmt.Sprint(ids(t, c, i)); got != "[0 1 2]" {
				t.Errorf("broker %d shows the brokers %s", i, got)
			}
			end(t, i)
			checkWritten(t, c.Records(t, topic, 5), 5)
			begin := time.Now()
			c.Restart(t, i)
			back := time.Since(begin)
			c.WaitInSync(t, topic)
			t.Logf("broker %d back after %v, in sync after %v", i, back.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
		}
	})
}

func TestRestartWaitsForItsPort(t *testing.T) {
	c := Start(t, Config{})
	c.Stop(t, 0)
	l, err := net.Listen("tcp", c.Addrs(Plaintext)[0])
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for t.Context().Err() == nil {
			log, _ := os.ReadFile(c.brokers[0].logPath())
			if strings.Contains(string(log), "BindException") || strings.Contains(string(log), "Address already in use") {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		l.Close()
	}()
	c.Restart(t, 0)
	if got := fmt.Sprint(ids(t, c, 0)); got != "[0]" {
		t.Errorf("it shows the brokers %s", got)
	}
}

func TestStartThatFailsShowsTheLog(t *testing.T) {
	EachVersion(t, func(t *testing.T, version string) {
		begin := time.Now()
		c, err := start(Config{Version: version, Properties: map[string]string{"num.io.threads": "many"}})
		if err == nil {
			c.close()
			t.Fatal("no error")
		}
		if !strings.Contains(err.Error(), "did not start") || !strings.Contains(err.Error(), "Invalid value many for configuration num.io.threads") {
			t.Errorf("got error %v", err)
		}
		if took := time.Since(begin); took > 30*time.Second {
			t.Errorf("it took %v to see that the broker has ended", took)
		}
	})
}

func TestNumberOfBrokersIsOneOrThree(t *testing.T) {
	if _, err := start(Config{Brokers: 2}); err == nil {
		t.Error("two brokers were started")
	}
}

package kafkatest

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"kafka-upstream/internal/test/child"
)

// toolDeadline ends a tool that does not end by itself.
const toolDeadline = 3 * time.Minute

// Tool runs the main method of one of Kafka's own classes, as the scripts of
// Kafka's bin directory do (org.apache.kafka.tools.TopicCommand,
// org.apache.kafka.tools.DelegationTokenCommand, …; the releases differ in which
// there are), and returns its standard output. It fails t
// with the standard error where the tool exits with another status than 0 or
// takes more than 3 minutes. The arguments have to say --bootstrap-server.
func (c *Cluster) Tool(t testing.TB, class string, args ...string) string {
	t.Helper()
	cmd := c.install.command(nil, class, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	p, err := child.Start(cmd)
	if err != nil {
		t.Fatalf("starting %s: %v", class, err)
	}
	select {
	case <-p.Done():
	case <-t.Context().Done():
		p.Kill()
	case <-time.After(toolDeadline):
		p.Kill()
		t.Fatalf("%s did not end within %v\n%s%s", class, toolDeadline, &stdout, &stderr)
	}
	if err := p.Err(); err != nil {
		t.Fatalf("%s: %v\n%s%s", class, err, &stdout, &stderr)
	}
	return stdout.String()
}

// ConsoleConsumer runs Kafka's console consumer from the topic's beginning
// until it has read n records, and returns what it prints: a line a record,
// which holds the value unless args say otherwise (see [FormatterProperties]).
func (c *Cluster) ConsoleConsumer(t testing.TB, topic string, n int, args ...string) (printed string) {
	t.Helper()
	// On a busy machine its group may not come to be in time: another try has
	// another group.
	for range 3 {
		printed = c.Tool(t, "org.apache.kafka.tools.consumer.ConsoleConsumer", append([]string{
			"--bootstrap-server", strings.Join(c.Addrs(Plaintext), ","),
			"--topic", topic, "--from-beginning",
			"--max-messages", strconv.Itoa(n), "--timeout-ms", "30000",
		}, args...)...)
		if printed != "" {
			break
		}
	}
	return printed
}

// FormatterProperties are the arguments by which the console consumer of that version has
// these properties, such as print.key, on.
func FormatterProperties(version string, names ...string) (args []string) {
	flag := "--formatter-property"
	if strings.HasPrefix(version, "3.") {
		flag = "--property"
	}
	for _, name := range names {
		args = append(args, flag, name+"=true")
	}
	return args
}

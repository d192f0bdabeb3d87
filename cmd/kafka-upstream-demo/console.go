package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"kafka-upstream/internal/test/kongsim"
)

// console prints and counts records. Its methods may be called from many goroutines at once.
type console struct {
	mu    sync.Mutex
	w     io.Writer
	count map[string]map[int32]int // by topic and partition
	total int
	marks map[string]chan struct{}
}

func newConsole(w io.Writer) *console {
	return &console{w: w, count: map[string]map[int32]int{}, marks: map[string]chan struct{}{}}
}

func (c *console) printf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.w, format, args...)
}

// watch returns a channel that is closed once a record whose value contains mark was printed.
func (c *console) watch(mark string) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := make(chan struct{})
	c.marks[mark] = ch
	return ch
}

// record prints one record.
func (c *console) record(r *kgo.Record) {
	text := describe(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total++
	if c.count[r.Topic] == nil {
		c.count[r.Topic] = map[int32]int{}
	}
	c.count[r.Topic][r.Partition]++
	fmt.Fprintf(c.w, "#%d  %s\n", c.total, text)
	for mark, ch := range c.marks {
		if bytes.Contains(r.Value, []byte(mark)) {
			close(ch)
			delete(c.marks, mark)
		}
	}
}

// describe returns the position of a record, and its headers and value in a readable form.
func describe(r *kgo.Record) string {
	key := "none"
	if r.Key != nil {
		key = strconv.Quote(string(r.Key))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "topic %s  partition %d  offset %d  key %s  time %s  %d bytes\n", r.Topic, r.Partition, r.Offset, key, r.Timestamp.Format("2006-01-02 15:04:05.000"), len(r.Value))
	for _, h := range r.Headers {
		fmt.Fprintf(&b, "header %s: %s\n", strconv.Quote(h.Key), strconv.Quote(string(h.Value)))
	}
	b.WriteString(readable(r.Value))
	if body, ok := decodedBody(r.Value); ok {
		fmt.Fprintf(&b, "\nthe body, decoded:\n%s", body)
	}
	return b.String() + "\n"
}

// readable indents JSON, keeping its order and its digits, and quotes anything else. A tombstone
// looks unlike the JSON null.
func readable(value []byte) string {
	if value == nil {
		return "(null value)"
	}
	var b bytes.Buffer
	if json.Indent(&b, value, "", "  ") != nil || !utf8.Valid(value) {
		return strconv.Quote(string(value))
	}
	return harmless(b.String())
}

// harmless escapes the characters that control a terminal.
func harmless(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// decodedBody returns the body that a message has in base64, if it is text.
func decodedBody(value []byte) (string, bool) {
	var m struct {
		Body   string `json:"body"`
		Base64 bool   `json:"body_base64"`
	}
	if json.Unmarshal(value, &m) != nil || !m.Base64 || m.Body == "" {
		return "", false
	}
	body, err := base64.StdEncoding.DecodeString(m.Body)
	if err != nil || !utf8.Valid(body) {
		return "", false
	}
	for _, r := range string(body) {
		if !unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return "", false
		}
	}
	return harmless(string(body)), true
}

// summary prints the counts.
func (c *console) summary(s kongsim.Stats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.w, "\n%d requests, %d records.\n", s.Requests, c.total)
	for _, topic := range slices.Sorted(maps.Keys(c.count)) {
		var all []string
		sum := 0
		for _, p := range slices.Sorted(maps.Keys(c.count[topic])) {
			sum += c.count[topic][p]
			all = append(all, fmt.Sprintf("partition %d: %d", p, c.count[topic][p]))
		}
		fmt.Fprintf(c.w, "  topic %s: %d (%s)\n", topic, sum, strings.Join(all, ", "))
	}
	if s.Retries > 0 || s.Respawns > 0 {
		fmt.Fprintf(c.w, "  The plugin server was restarted %d times, and %d events were retried.\n", s.Respawns, s.Retries)
	}
}

// prefixWriter prints each line with the time and a prefix.
type prefixWriter struct {
	c      *console
	prefix string
}

var _ io.Writer = prefixWriter{}

// Write takes one whole line at a time.
func (p prefixWriter) Write(b []byte) (int, error) {
	p.c.printf("%s %s%s\n", time.Now().Format("15:04:05.000"), p.prefix, harmless(strings.TrimSuffix(string(b), "\n")))
	return len(b), nil
}

package logs

import (
	"bytes"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// queueSize is how many lines a Writer holds at most.
	queueSize = 1000
	// closeTimeout is how long Close waits for the lines in the queue.
	closeTimeout = time.Second
)

// Writer writes lines to another writer from a goroutine of its own, so that logging never
// blocks: Kong reads stderr, and requests must not wait where it does not. A line for which
// the queue has no room is lost; how many were lost is logged once there is room again. Its
// methods may be called from many goroutines at once.
type Writer struct {
	to     io.Writer
	format Format
	lines  chan []byte
	lost   atomic.Int64
	closed atomic.Bool
	end    chan struct{} // closed by Close
	done   chan struct{} // closed when run has returned
}

var _ io.WriteCloser = (*Writer)(nil)

// NewWriter returns a Writer to w, for a log in that format.
func NewWriter(w io.Writer, format Format) *Writer {
	q := &Writer{to: w, format: format, lines: make(chan []byte, queueSize), end: make(chan struct{}), done: make(chan struct{})}
	go q.run()
	return q
}

// Write queues one line. Before Close it never fails.
func (q *Writer) Write(line []byte) (int, error) {
	if q.closed.Load() {
		return q.to.Write(line)
	}
	select {
	case q.lines <- bytes.Clone(line):
	default:
		q.lost.Add(1)
	}
	return len(line), nil
}

// Close writes the lines in the queue, but waits for that a second at most. From then on
// Write writes synchronously.
func (q *Writer) Close() error {
	if q.closed.Swap(true) {
		return nil
	}
	close(q.end)
	select {
	case <-q.done:
	case <-time.After(closeTimeout):
	}
	return nil
}

func (q *Writer) run() {
	defer close(q.done)
	for {
		select {
		case line := <-q.lines:
			q.write(line)
		case <-q.end:
			for {
				select {
				case line := <-q.lines:
					q.write(line)
				default:
					q.reportLost()
					return
				}
			}
		}
	}
}

// write ignores errors: there is nowhere to report them.
func (q *Writer) write(line []byte) {
	q.reportLost()
	_, _ = q.to.Write(line)
}

func (q *Writer) reportLost() {
	if n := q.lost.Swap(0); n > 0 {
		New(q.to, slog.LevelWarn, q.format).Warn("log lines were lost because they were not read in time", "lines", n)
	}
}

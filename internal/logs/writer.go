package logs

import (
	"bytes"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// queued is how many lines wait at most for whoever reads them.
	queued = 1000
	// lastLines is how long Close waits for them.
	lastLines = time.Second
)

// Writer passes lines on to another writer, and never has anybody wait for that:
// Kong reads what this process prints, and while it does not, requests have to go
// on. Lines for which there is no room are counted, and told of when there is. Its
// methods may be called from many goroutines.
type Writer struct {
	to     io.Writer
	format string
	lines  chan []byte
	lost   atomic.Int64
	ended  atomic.Bool
	end    chan struct{} // closed by Close
	done   chan struct{} // closed when all is passed on
}

var _ io.WriteCloser = (*Writer)(nil)

// NewWriter returns a Writer to w of a log in that format, text or json. Close
// ends its goroutine.
func NewWriter(w io.Writer, format string) *Writer {
	q := &Writer{to: w, format: format, lines: make(chan []byte, queued), end: make(chan struct{}), done: make(chan struct{})}
	go q.run()
	return q
}

// Write takes one line. It never fails.
func (q *Writer) Write(line []byte) (int, error) {
	if q.ended.Load() { // nobody passes it on any more
		return q.to.Write(line)
	}
	select {
	case q.lines <- bytes.Clone(line):
	default:
		q.lost.Add(1)
	}
	return len(line), nil
}

// Close passes on what waits, for a second at most. Lines that are written later
// are passed on at once.
func (q *Writer) Close() error {
	if q.ended.Swap(true) {
		return nil
	}
	close(q.end)
	select {
	case <-q.done:
	case <-time.After(lastLines):
	}
	return nil
}

func (q *Writer) run() {
	defer close(q.done)
	for {
		select {
		case line := <-q.lines:
			q.pass(line)
		case <-q.end:
			for {
				select {
				case line := <-q.lines:
					q.pass(line)
				default:
					q.tell()
					return
				}
			}
		}
	}
}

// pass passes a line on. Nobody could be told that it failed.
func (q *Writer) pass(line []byte) {
	q.tell()
	_, _ = q.to.Write(line)
}

// tell says how many lines were lost since the last time.
func (q *Writer) tell() {
	if n := q.lost.Swap(0); n > 0 {
		if log, err := New(q.to, slog.LevelWarn, q.format); err == nil {
			log.Warn("lines of this log were lost, because nobody has read them", "lines", n)
		}
	}
}

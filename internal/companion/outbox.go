package companion

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"kafka-upstream/internal/foreign"
	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/record"
)

// A kindAnswers has how many answers there are (uint32), and for each the id of its request
// (uint32), the status (uint16) and 1 if details follow (uint16). The details come after all
// of these, in the same order: their length (uint32), how many headers and how many log lines
// there are (uint16 each), and texts: the body, a name and a value for each header, a level
// and a text for each line. Without details, the body is that of an ordinary success, and
// nothing is to be logged.
const entrySizeOfAnswer = 8

// Statuses that are none of HTTP's: the request was not handled, and may be sent again.
const (
	statusLeaving       = 0 // on another connection
	statusUnknownConfig = 1 // with its configuration
)

// maxUnread is how many bytes may wait for a worker that reads no answers. Ordinary ones have
// 8 bytes, and one that says what became of 10,000 records has some 500 KiB.
const maxUnread = 8 << 20

// maxLines bounds the log lines of one request, as through the other door.
const maxLines = 50

// errUnread ends the connection of such a worker.
var errUnread = errors.New("the worker does not read its answers")

// outbox has what was not sent to a worker yet. Many goroutines may use it at once.
type outbox struct {
	mu      sync.Mutex
	frames  []byte // other frames than answers, which go first
	entries []byte
	details []byte
	counts  []count
	spare   []byte
	spares  []count
	writing bool
	err     error // why nothing more can be sent
}

// count is an answer to be counted once it was sent.
type count struct {
	reason plugin.Reason
	began  time.Time
}

// frame adds a frame. It is sent before all answers that were not sent yet.
func (o *outbox) frame(appendTo func([]byte) []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frames = appendTo(o.frames)
	o.check()
}

// answer adds the answer to a request that began at that time.
func (o *outbox) answer(id uint32, a *plugin.Response, began time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return
	}
	details := uint16(0)
	if !isOrdinary(a) {
		details = 1
		o.details = appendDetails(o.details, a)
	}
	o.entry(id, uint16(a.Status), details)
	o.counts = append(o.counts, count{a.Reason, began})
	o.check()
}

// refuse adds the answer that a request was not handled.
func (o *outbox) refuse(id uint32, status uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.entry(id, status, 0)
	o.check()
}

func (o *outbox) entry(id uint32, status, details uint16) {
	o.entries = binary.LittleEndian.AppendUint32(o.entries, id)
	o.entries = binary.LittleEndian.AppendUint16(o.entries, status)
	o.entries = binary.LittleEndian.AppendUint16(o.entries, details)
}

// check drops everything if there is too much. The next flush returns the error.
func (o *outbox) check() {
	if len(o.frames)+len(o.entries)+len(o.details) > maxUnread && o.err == nil {
		o.err = errUnread
	}
	if o.err != nil {
		o.frames, o.entries, o.details, o.counts = nil, nil, nil, o.counts[:0]
	}
}

// flush writes what there is, unless another goroutine is writing: that one goes on until
// there is nothing more. sent is called with the answers that were written. The error is that
// of the connection, or errUnread: then nothing can be sent any more.
func (o *outbox) flush(w io.Writer, sent func([]count)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.writing && o.err == nil && len(o.frames)+len(o.entries) > 0 {
		b, counts := o.assemble()
		o.writing = true
		o.mu.Unlock()
		_, err := w.Write(b)
		if err == nil {
			sent(counts)
		}
		o.mu.Lock()
		o.writing = false
		if o.err == nil {
			o.err = err
		}
		o.spares = counts[:0]
		if cap(b) <= keepOut {
			o.spare = b[:0]
		}
	}
	return o.err
}

// failure returns why nothing can be sent any more, nil as long as something can.
func (o *outbox) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// keepOut is the largest buffer that is kept for further answers.
const keepOut = 64 << 10

// assemble takes all there is, as frames.
func (o *outbox) assemble() ([]byte, []count) {
	b := append(o.spare[:0], o.frames...)
	o.spare = nil
	if n := len(o.entries) / entrySizeOfAnswer; n > 0 {
		b = appendHeader(b, header{kind: kindAnswers, size: 4 + len(o.entries) + len(o.details)})
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
		b = append(append(b, o.entries...), o.details...)
	}
	o.frames, o.entries, o.details = emptied(o.frames), emptied(o.entries), emptied(o.details)
	counts := o.counts
	o.counts = o.spares[:0]
	o.spares = nil
	return b, counts
}

func emptied(b []byte) []byte {
	if cap(b) > keepOut {
		return nil
	}
	return b[:0]
}

// ordinary is the response that most requests get.
var ordinary = plugin.Sent.Response()

// isOrdinary reports whether the handler knows the response by its status.
func isOrdinary(a *plugin.Response) bool {
	return a.Reason == plugin.Sent && a.Body == ordinary.Body && len(a.Log) == 0 && len(a.Lines) == 0
}

// appendDetails appends what the handler cannot know of a response. Lines beyond maxLines are
// left out.
func appendDetails(b []byte, a *plugin.Response) []byte {
	lines, left := a.Lines, len(a.Lines)-maxLines
	if left > 0 {
		lines = append(slices.Clip(lines[:maxLines]), record.LogLine{Level: "warn", Text: fmt.Sprintf("%d more log lines of this request are left out", left)})
	}
	from := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(a.Headers)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(lines)+len(a.Log)))
	b = appendText(b, a.Body)
	for _, h := range a.Headers {
		b = appendText(appendText(b, h.Name), h.Value)
	}
	for _, line := range lines {
		b = appendText(appendText(b, line.Level), foreign.Line(line.Text))
	}
	for _, line := range a.Log {
		b = appendText(appendText(b, "err"), foreign.Line(line))
	}
	binary.LittleEndian.PutUint32(b[from:], uint32(len(b)-from-4))
	return b
}

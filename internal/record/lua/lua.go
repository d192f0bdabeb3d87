// Package lua changes messages by functions in Lua, as message_by_lua_functions of Kong's own
// plugin does.
//
// A function sees the message as a table, and Kong's functions kong.* and ngx.* as far as
// they can be answered without asking Kong while the function runs: what they need of Kong is
// found out from the functions' sources, and asked with everything else that a request is
// asked for. docs/message-functions.md says for users what there is.
//
// What a function does not use of the message is neither made nor written again: it stays as
// the text that it was. See shape.go.
package lua

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
	"kafka-upstream/internal/sandbox"
)

// maxBytes is what the message of a request may take as Lua values, and, once more, what each
// function may make: a message of 1 MiB of small objects takes about that much.
const maxBytes = 64 << 20

// limits bound each call of a function. A function that changes a message takes some hundred
// instructions, one that goes through a message of 1000 elements some ten thousand, and
// 100,000 are done within 10 ms. The time is that of the clock, for what instructions
// measure badly; it is long, because a loaded machine may stop the process for a while.
var limits = sandbox.Limits{Instructions: 100_000, Bytes: maxBytes, Time: time.Second}

// maxWork is how many instructions all functions may take for one request. It matters for
// those that are split: 10,000 records, each with the full limit, would take minutes.
const maxWork = 10_000_000

// running bounds how many functions run at once. They do nothing but work, so more of them
// than processors would be no faster, and each can take 2*maxBytes, and needs a machine. One
// processor is for all else: otherwise functions that use up their limits would delay requests
// that have none by seconds.
var running = make(chan struct{}, max(runtime.GOMAXPROCS(0)-1, 1))

// longMessage is how many bytes of a message take about a tenth of a millisecond to decode.
const longMessage = 16 << 10

// Options are what functions need to know beside their requests.
type Options struct {
	MaxValue int    // the longest result in bytes; a longer one is request.ErrTooLarge
	PluginID string // what kong.plugin.get_id returns; "" if it is not known
}

// Functions are the functions of one configuration. Many goroutines use them at once.
type Functions struct {
	chunks   []chunk
	needs    request.Fields
	max      int
	pluginID string

	// What Lua is given of the message: all of it, or these fields.
	whole  bool
	fields []string

	machines sync.Pool
}

type chunk struct {
	program *sandbox.Program
	shape
}

// Compile compiles functions: chunks of Lua each of which returns a function of one argument.
// It runs each chunk, and none of the functions. The error begins with the number of the
// function, from 1, and the line.
func Compile(chunks []string, o Options) (*Functions, error) {
	f := &Functions{max: o.MaxValue, pluginID: o.PluginID}
	for i, source := range chunks {
		program, err := sandbox.Compile(chunkName(i), source)
		if err != nil {
			return nil, located(i, err)
		}
		stmts, err := sandbox.Parse(chunkName(i), source)
		if err != nil {
			return nil, located(i, err)
		}
		c := chunk{program, shapeOf(stmts)}
		f.chunks = append(f.chunks, c)
		f.needs = f.needs.Merge(needsOf(stmts))
		f.whole = f.whole || c.whole
		for _, name := range c.fields {
			if !slices.Contains(f.fields, name) {
				f.fields = append(f.fields, name)
			}
		}
	}
	if f.needs.Body {
		f.needs.MaxBody = o.MaxValue
	}
	m, err := newMachine(f)
	if err != nil {
		return nil, err
	}
	f.put(m)
	return f, nil
}

// located is a compiler's error with its place.
func located(i int, err error) error {
	var e *sandbox.SyntaxError
	if errors.As(err, &e) {
		return fmt.Errorf("%s, line %d: %s", chunkName(i), e.Line, e.Text)
	}
	return fmt.Errorf("%s: %w", chunkName(i), err)
}

// Needs returns what the functions read of a request beside the message: what their sources
// name.
func (f *Functions) Needs() request.Fields { return f.needs }

// Transform passes the draft's message through the functions. It is a record.Transform. It
// may wait until others are through.
// Errors are *record.TransformError, or request.ErrTooLarge for a result above
// Options.MaxValue.
func (f *Functions) Transform(d *record.Draft) error {
	for i, c := range f.chunks {
		switch c.kind {
		case identity:
			continue
		case field:
			if d.Final || len(d.Message) == 0 || d.Message[0] != '{' {
				break
			}
			taken, err := takeField(d, i, c.fields[0])
			if err != nil {
				return err
			}
			if taken {
				continue
			}
		}
		return f.run(d, i)
	}
	return nil
}

func (f *Functions) run(d *record.Draft, first int) (err error) {
	if d.Work > maxWork {
		return failed("the functions did more work than they may for one request: %d instructions, for all of its records", maxWork)
	}
	select {
	case running <- struct{}{}:
	default:
		d.Block()
		running <- struct{}{}
	}
	defer func() { <-running }()
	if len(d.Message) > longMessage {
		d.Block()
	}
	m, _ := f.machines.Get().(*machine)
	if m == nil {
		d.Block()
		if m, err = newMachine(f); err != nil {
			return failed("%v", err)
		}
	}
	defer func() {
		if r := recover(); r != nil {
			err = failed("the Lua machine failed: %v", r) // and is not used again
		}
	}()
	err = m.run(d, first)
	m.endLog()
	f.put(m)
	return err
}

// put gives back a machine that can be used again.
func (f *Functions) put(m *machine) {
	m.end()
	if m.state.Reusable() {
		f.machines.Put(m)
	}
}

// takeField makes a field of the message the message, as Lua would: a string is finished. It
// takes none if it does not know which member the field is.
func takeField(d *record.Draft, i int, name string) (taken bool, err error) {
	for f := range members(d.Message) {
		if bytes.IndexByte(f.name, '\\') >= 0 { // it may be any field
			return false, nil
		}
		if string(f.name) != name {
			continue
		}
		if f.value[0] != '"' {
			d.Message = f.value
			return true, nil
		}
		dec := decoder{bytes: maxBytes}
		v, err := dec.decode(string(f.value))
		if err != nil {
			return false, failed("%s: %v", chunkName(i), err)
		}
		s, _ := v.(glua.LString)
		d.Message, d.Final = append(d.Message[:0], s...), true
		return true, nil
	}
	return false, returnedNil(i)
}

var hostname = sync.OnceValues(os.Hostname)

// maxText is how long a text of JSON may be that functions make on the way.
func (f *Functions) maxText() int { return max(2*f.max, 1<<20) }

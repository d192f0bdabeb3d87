package kongsim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Plugin is one plugin configuration as a worker has it at hand.
type Plugin struct {
	// ID is the plugin entity's id: a worker has one instance for each.
	ID string
	// Name is the plugin's name.
	Name string
	// Seq changes whenever Kong rebuilds its plugins. A worker that meets another
	// one starts a new instance and closes the one it had.
	Seq uint64
	// Config is the configuration as JSON, as START carries it.
	Config []byte
}

// WorkerOptions says how a [Worker] differs from its defaults.
type WorkerOptions struct {
	// Timeout is how long the worker waits for a plugin server that does not
	// answer, and for how long it retries an event; 60 s if zero.
	Timeout time.Duration
	// Seed decides the order of the fields in each RpcCall.
	Seed uint64
	// OnLog, if set, is told what Kong would write into its error log.
	OnLog func(level, message string)
}

// Stats counts what workers did.
type Stats struct {
	// Events counts the HANDLE_EVENT commands sent, retries included.
	Events int64
	// Retries counts the events that were sent again because the plugin server
	// closed the connection.
	Retries int64
	// Starts and Closes count the START and CLOSE commands sent.
	Starts, Closes int64
	// Exits counts the events that ended with kong.response.exit.
	Exits int64
	// Requests counts the HTTP requests of clients, whatever became of them.
	Requests int64
	// Respawns counts how often the plugin server's process was started again
	// because it had ended.
	Respawns int64
}

type counters struct {
	events, retries, starts, closes, exits, respawns atomic.Int64
}

func (c *counters) stats() Stats {
	return Stats{
		Events: c.events.Load(), Retries: c.retries.Load(),
		Starts: c.starts.Load(), Closes: c.closes.Load(),
		Exits: c.exits.Load(), Respawns: c.respawns.Load(),
	}
}

// Worker speaks to a plugin server as one worker process of Kong does: with its
// own instances and its own pool of connections. It may be used by any number
// of goroutines.
type Worker struct {
	pool     pool
	timeout  time.Duration
	onLog    func(level, message string)
	count    *counters
	sequence atomic.Int64

	mu        sync.Mutex
	rnd       *rand.Rand
	instances map[string]*instance
}

// instance is what a worker knows of an instance; id and err are set once ready
// is closed.
type instance struct {
	seq   uint64
	ready chan struct{}
	id    int32
	err   error
}

// NewWorker returns a worker for the plugin server that listens on a unix
// socket. Nothing is dialled yet.
func NewWorker(socket string, o WorkerOptions) *Worker {
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	if o.OnLog == nil {
		o.OnLog = func(string, string) {}
	}
	return &Worker{
		pool:      pool{socket: socket, timeout: o.Timeout},
		timeout:   o.Timeout,
		onLog:     o.OnLog,
		count:     &counters{},
		rnd:       rand.New(rand.NewPCG(o.Seed, 0x6b6f6e67)),
		instances: map[string]*instance{},
	}
}

// Stats returns what the worker did so far.
func (w *Worker) Stats() Stats { return w.count.stats() }

// Close closes the worker's idle connections. Like Kong, it leaves its
// instances as they are.
func (w *Worker) Close() { w.pool.close() }

// HandleEvent runs the access phase of one request: it starts the plugin's
// instance if this worker has none, sends the event, and answers what the plugin
// asks by a. It returns nil and no error if the plugin did not exit, and an
// error where Kong's client would get a 500. The connection of an exit is closed
// before it returns, as Kong closes it when the request is over.
func (w *Worker) HandleEvent(ctx context.Context, p *Plugin, a Answerer) (*Exit, error) {
	exit, c, err := w.handleEvent(ctx, p, a)
	if c != nil {
		c.Close()
	}
	return exit, err
}

// handleEvent is HandleEvent; the caller closes the connection, if there is
// one, when the request is over.
func (w *Worker) handleEvent(ctx context.Context, p *Plugin, a Answerer) (*Exit, *conn, error) {
	deadline := time.Now().Add(w.timeout)
	for {
		id, err := w.instance(ctx, p)
		if err != nil {
			return nil, nil, fmt.Errorf("no instance of %s could be started: %w", p.Name, err)
		}
		exit, c, err := w.event(ctx, id, a)
		if err == nil {
			return exit, c, nil
		}
		w.onLog("err", strings.ToLower(err.Error()))
		if !resets(err) {
			return nil, nil, err
		}
		w.reset()
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if time.Now().After(deadline) {
			return nil, nil, fmt.Errorf("the plugin server closed the connection of an event again and again for %s", w.timeout)
		}
		w.count.retries.Add(1)
	}
}

// resets reports whether an error makes Kong forget its instances and send the
// event again. Kong looks at the text.
func resets(err error) bool {
	s := strings.ToLower(err.Error())
	return strings.Contains(s, "closed") || strings.Contains(s, "no plugin instance")
}

// reset drops the instances of this worker, without closing them.
func (w *Worker) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.instances)
}

// instance returns the id of the plugin's instance: START for the first request
// of a configuration, and CLOSE for the instance that it takes the place of.
func (w *Worker) instance(ctx context.Context, p *Plugin) (int32, error) {
	w.mu.Lock()
	old := w.instances[p.ID]
	if old != nil && old.seq == p.Seq {
		w.mu.Unlock()
		select {
		case <-old.ready:
			return old.id, old.err
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	inst := &instance{seq: p.Seq, ready: make(chan struct{})}
	w.instances[p.ID] = inst
	w.mu.Unlock()

	w.count.starts.Add(1)
	inst.id, inst.err = w.command(ctx, cmdStartInstance, stringField(1, p.Name), stringField(2, string(p.Config)))
	if inst.err != nil {
		w.mu.Lock()
		if w.instances[p.ID] == inst {
			delete(w.instances, p.ID)
		}
		w.mu.Unlock()
	}
	close(inst.ready)
	if inst.err == nil && old != nil {
		<-old.ready
		if old.err == nil {
			w.count.closes.Add(1)
			if _, err := w.command(ctx, cmdCloseInstance, int32Field(1, old.id)); err != nil {
				w.onLog("err", fmt.Sprintf("closing instance %d of %s: %v", old.id, p.Name, err))
			}
		}
	}
	return inst.id, inst.err
}

// call is what one command needs of a connection.
func (w *Worker) call(c *conn, command protowire.Number, fields ...[]byte) (int64, error) {
	seq := w.sequence.Add(1)
	w.mu.Lock()
	msg := appendCall(nil, w.rnd, seq, command, fields...)
	w.mu.Unlock()
	return seq, c.write(msg)
}

// command sends a command that is answered by an instance's status, and puts
// the connection back into the pool.
func (w *Worker) command(ctx context.Context, command protowire.Number, fields ...[]byte) (int32, error) {
	c, err := w.pool.get(ctx)
	if err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	seq, err := w.call(c, command, fields...)
	if err == nil {
		var r *pb.RpcReturn
		if r, err = w.finish(c, seq); err == nil && r.GetInstanceStatus() == nil {
			err = errors.New("the plugin server's answer holds no instance status")
		}
		if err == nil {
			stop()
			w.pool.put(c)
			return r.GetInstanceStatus().InstanceId, nil
		}
	}
	c.Close()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return 0, err
}

// finish reads the RpcReturn that ends a command.
func (w *Worker) finish(c *conn, seq int64) (*pb.RpcReturn, error) {
	b, err := c.read(c.args)
	if err != nil {
		return nil, err
	}
	r := new(pb.RpcReturn)
	if proto.Unmarshal(b, r) != nil {
		return nil, errors.New("the plugin server's RpcReturn cannot be read")
	}
	if r.Sequence != seq {
		return nil, fmt.Errorf("the plugin server answered call %d where %d was asked", r.Sequence, seq)
	}
	return r, nil
}

// event sends one event and answers what the plugin asks. After an exit the
// connection is returned, and Kong reads no more of it.
func (w *Worker) event(ctx context.Context, id int32, a Answerer) (*Exit, *conn, error) {
	c, err := w.pool.get(ctx)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	w.count.events.Add(1)
	exit, err := w.converse(c, id, a)
	switch {
	case err != nil:
		c.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, nil, err
	case exit != nil:
		w.count.exits.Add(1)
		return exit, c, nil
	}
	stop()
	w.pool.put(c)
	return nil, nil, nil
}

func (w *Worker) converse(c *conn, id int32, a Answerer) (*Exit, error) {
	seq, err := w.call(c, cmdHandleEvent, int32Field(1, id), stringField(2, "access"))
	if err != nil {
		return nil, err
	}
	for {
		if c.method, err = c.read(c.method); err != nil {
			return nil, err
		}
		if len(c.method) == 0 {
			_, err := w.finish(c, seq)
			return nil, err
		}
		if c.args, err = c.read(c.args); err != nil {
			return nil, err
		}
		method := string(c.method)
		if method == "kong.response.exit" {
			exit, err := parseExit(c.args)
			if err != nil {
				return nil, fmt.Errorf("kong.response.exit: %w", err)
			}
			return exit, nil
		}
		reply, ok := a.Answer(method, c.args)
		if !ok {
			return nil, fmt.Errorf("the call %s failed in Kong", method)
		}
		if err := c.write(reply); err != nil {
			return nil, err
		}
	}
}

package kongsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kafka-upstream/internal/kongschema"
)

// Sim is a running stand-in for Kong. Its methods may be called by any number
// of goroutines.
type Sim struct {
	opts          Options
	name          string // of the plugin
	socket        string
	tmp           string // directory of its own
	bodies        *tempDir
	program       *program // nil if the plugin server runs already
	listener      net.Listener
	front         *http.Server
	admin         *http.Server
	adminListener net.Listener
	adminURL      string
	nodeID        string
	count         *counters
	requests      atomic.Int64
	current       atomic.Pointer[snapshot]
	// stop ends the events that are still running.
	ctx        context.Context
	stop       context.CancelFunc
	background sync.WaitGroup
	errorLog   errorLog

	// reload is held while the plugin server is replaced.
	reload sync.Mutex

	// config guards the configuration.
	config   sync.Mutex
	entities *entities
	seq      uint64

	mu         sync.Mutex
	generation *generation
	closing    bool
	// retired are the ends of processes that a reload replaced.
	retired []error
}

// generation is what a reload of Kong replaces: its workers and the plugin
// server's process.
type generation struct {
	workers  []*Worker
	process  *process // nil if the plugin server runs already
	next     atomic.Uint64
	inFlight sync.WaitGroup
}

// Start starts the plugin server, unless it runs already, and the gateway in
// front of it. It returns once requests can be sent. ctx bounds the start only.
func Start(ctx context.Context, o Options) (*Sim, error) {
	s, err := start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("kongsim: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, o Options) (s *Sim, err error) {
	if o.Binary == "" && o.Socket == "" {
		return nil, errors.New("neither a plugin server's binary nor its socket is given")
	}
	if o.Binary == "" && o.Dump == nil {
		return nil, errors.New("neither a plugin server's binary nor its dump is given")
	}
	s = &Sim{opts: o.withDefaults(), count: &counters{}, nodeID: newUUID()}
	s.ctx, s.stop = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if s.tmp, err = os.MkdirTemp("", "kongsim-"); err != nil {
		return s, err
	}
	s.bodies = &tempDir{path: filepath.Join(s.tmp, "client_body_temp")}
	if err := os.Mkdir(s.bodies.path, 0o700); err != nil {
		return s, err
	}
	if s.listener, err = net.Listen("tcp", s.opts.Listen); err != nil {
		return s, fmt.Errorf("the gateway cannot listen: %w", err)
	}
	serveAdmin, err := s.listenAdmin()
	if err != nil {
		return s, err
	}
	if err := s.prepare(ctx); err != nil {
		return s, err
	}
	serveAdmin()
	gen, err := s.newGeneration(ctx, nil)
	if err != nil {
		return s, err
	}
	s.generation = gen
	s.front = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	s.background.Go(func() { _ = s.front.Serve(s.listener) })
	return s, nil
}

// prepare asks for the dump and reads the configuration.
func (s *Sim) prepare(ctx context.Context) error {
	o := &s.opts
	if o.Binary != "" {
		binary, err := filepath.Abs(o.Binary)
		if err != nil {
			return err
		}
		args := slices.Clone(o.Args)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "{admin-url}", s.adminURL)
		}
		s.program = &program{binary: binary, args: args, dir: s.tmp, line: s.processLine, log: func(level, m string) { s.log(level, m, nil) }}
	}
	var d *dump
	var err error
	if o.Dump != nil {
		d, err = parseDump("query_cmd", o.Dump)
	} else {
		d, err = s.program.query(ctx)
	}
	if err != nil {
		return err
	}
	s.name = d.Plugins[0].Name
	s.socket = d.SocketPath
	if o.Socket != "" {
		s.socket, s.program = o.Socket, nil
	}
	if s.program != nil {
		s.program.name = s.name
	}
	schema, err := kongschema.Parse(d.Plugins[0].Schema)
	if err != nil {
		return fmt.Errorf("the plugin's dump would be refused by Kong: %w", err)
	}
	if s.entities, err = newEntities(s.name, schema); err != nil {
		return fmt.Errorf("the plugin's dump would be refused by Kong: %w", err)
	}
	if len(o.Config) == 0 {
		s.current.Store(&snapshot{})
		return nil
	}
	return s.SetConfig(o.Config)
}

// newGeneration starts the plugin server, if that is asked for, and new
// workers. old is the socket that the new server's takes the place of.
func (s *Sim) newGeneration(ctx context.Context, old os.FileInfo) (*generation, error) {
	g := &generation{}
	if s.program != nil {
		var err error
		if g.process, err = s.program.spawn(func() { s.count.respawns.Add(1) }); err != nil {
			return nil, err
		}
		if err := g.process.waitListening(ctx, s.socket, old); err != nil {
			_ = g.process.stop(s.opts.Grace)
			return nil, err
		}
	}
	for i := range s.opts.Workers {
		w := NewWorker(s.socket, WorkerOptions{
			Timeout: s.opts.Timeout,
			Seed:    s.opts.Seed + uint64(i),
			OnLog:   func(level, m string) { s.log(level, m, nil) },
		})
		w.count = s.count
		g.workers = append(g.workers, w)
	}
	return g, nil
}

// SetConfig replaces the whole configuration by a declarative one. On an error the old
// one stays.
func (s *Sim) SetConfig(doc []byte) error {
	s.config.Lock()
	defer s.config.Unlock()
	next, err := s.entities.parseDeclarative(doc)
	if err != nil {
		return err
	}
	return s.apply(next)
}

// apply makes a configuration the current one. Every plugin gets new instances
// with it.
func (s *Sim) apply(next *entities) error {
	s.seq++
	snap, err := next.compile(s.seq)
	if err != nil {
		return err
	}
	s.entities = next
	s.current.Store(snap)
	return nil
}

// change applies one change of the configuration, with s.config held.
func (s *Sim) change(f func(next *entities) (entity, *apiError)) (entity, *apiError) {
	next := s.entities.clone()
	v, aerr := f(next)
	if aerr != nil {
		return nil, aerr
	}
	if err := s.apply(next); err != nil {
		return nil, &apiError{status: 400, message: err.Error()}
	}
	return v, nil
}

// Reload does what kong reload does: a new plugin server binds the same socket
// path, new workers take over, and the old server gets SIGTERM once the requests
// of the old workers are over. It returns when the new server listens.
func (s *Sim) Reload() error {
	s.reload.Lock()
	defer s.reload.Unlock()
	info, _ := os.Stat(s.socket)
	g, err := s.newGeneration(s.ctx, info)
	if err != nil {
		return fmt.Errorf("kongsim: reload: %w", err)
	}
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		if g.process != nil {
			_ = g.process.stop(s.opts.Grace)
		}
		return errors.New("kongsim: reload: the gateway is closed")
	}
	old := s.generation
	s.generation = g
	s.background.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.background.Done()
		old.inFlight.Wait()
		if err := old.end(s.opts.Grace); err != nil {
			s.mu.Lock()
			s.retired = append(s.retired, err)
			s.mu.Unlock()
		}
	}()
	return nil
}

// end closes the workers' connections and ends the process.
func (g *generation) end(grace time.Duration) error {
	for _, w := range g.workers {
		w.Close()
	}
	if g.process == nil {
		return nil
	}
	return g.process.stop(grace)
}

// worker returns the next worker, round robin, and what to call when the
// request is over.
func (s *Sim) worker() (*Worker, func()) {
	s.mu.Lock()
	g := s.generation
	g.inFlight.Add(1)
	s.mu.Unlock()
	return g.workers[g.next.Add(1)%uint64(len(g.workers))], g.inFlight.Done
}

// URL returns where the gateway listens, such as http://127.0.0.1:41234.
func (s *Sim) URL() string { return "http://" + s.listener.Addr().String() }

// AdminURL returns where the Admin API listens, "" if there is none.
func (s *Sim) AdminURL() string { return s.adminURL }

// PID returns the process id of the plugin server, 0 while it does not run or
// if it was not started here.
func (s *Sim) PID() int {
	s.mu.Lock()
	g := s.generation
	s.mu.Unlock()
	if g == nil || g.process == nil {
		return 0
	}
	return g.process.pid()
}

// Stats returns what all workers did so far.
func (s *Sim) Stats() Stats {
	st := s.count.stats()
	st.Requests = s.requests.Load()
	return st
}

// ErrorLog returns the lines of Kong's error log, oldest first: what plugins
// logged, what the plugin server printed (at info), and what went wrong. Only
// the last 10,000 are kept.
func (s *Sim) ErrorLog() []string { return s.errorLog.lines() }

// Close answers the requests in flight, ends the plugin server by SIGTERM (by
// SIGKILL after the grace) and frees everything. It returns an error if a
// process had to be killed or did not exit with status 0.
func (s *Sim) Close() error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return nil
	}
	s.closing = true
	g := s.generation
	s.mu.Unlock()
	stopServing(s.front, s.listener)
	stopServing(s.admin, s.adminListener)
	s.stop()
	var errs []error
	if g != nil {
		g.inFlight.Wait()
		errs = append(errs, g.end(s.opts.Grace))
	}
	s.background.Wait()
	s.mu.Lock()
	errs = append(errs, s.retired...)
	s.mu.Unlock()
	if s.tmp != "" {
		errs = append(errs, os.RemoveAll(s.tmp))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("kongsim: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

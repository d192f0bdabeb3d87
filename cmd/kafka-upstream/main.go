// Command kafka-upstream is the plugin server that Kong starts. It turns each
// HTTP request of the routes that it is configured for into a Kafka record.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"kafka-upstream/internal/kongpdk"
	"kafka-upstream/internal/logs"
	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/metrics"
	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/version"
	"kafka-upstream/schema"
)

// fault changes the plugin in programs that are built to test faults; see
// faults.go.
var fault func(*kongpdk.Plugin)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// options are the flags. All settings of the process are flags, because Kong
// starts it with an empty environment.
type options struct {
	prefix, socket   string
	mode             socketMode
	dump, version    bool
	drain            time.Duration
	orphan           time.Duration
	memory           memory.Size
	level            slog.Level
	format           string
	pprof, metrics   string
	portable         bool
	variable         string
	adminURL, token  string
	certificates, ca string
	logFile          string
}

// socketMode is a file mode in octal.
type socketMode fs.FileMode

func (m *socketMode) String() string { return fmt.Sprintf("%04o", uint32(*m)) }

// Set implements flag.Value.
func (m *socketMode) Set(s string) error {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o777 {
		return errors.New("want permission bits in octal, such as 0660")
	}
	*m = socketMode(n)
	return nil
}

// parse reads the flags. With an error it also returns what was read before it.
func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{mode: 0o660}
	f := flag.NewFlagSet("kafka-upstream", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintf(stderr, "kafka-upstream is a plugin server for Kong Gateway, which starts it: see pluginserver_names in kong.conf.\n\nFlags:\n")
		f.PrintDefaults()
	}
	f.StringVar(&o.prefix, "kong-prefix", "/usr/local/kong", "Kong's prefix `directory`, where the socket goes")
	f.StringVar(&o.socket, "socket", "", "`path` of the socket (default kafka-upstream.socket in -kong-prefix)")
	f.Var(&o.mode, "socket-mode", "permission `bits` of the socket; 0666 for a Kong that runs as another user")
	f.BoolVar(&o.dump, "dump", false, "print what Kong asks of a plugin server, its plugin and its schema, and exit")
	f.BoolVar(&o.version, "version", false, "print the version and the commit, and exit")
	f.StringVar(&o.adminURL, "admin-url", "http://127.0.0.1:8001", "Kong's Admin API, for certificates: `URL`, or unix:/path")
	f.StringVar(&o.token, "admin-token-file", "", "`file` that holds the Admin API's token")
	f.StringVar(&o.certificates, "certificates", "", "`directory` of certificates, ID.crt and ID.key, looked at before the Admin API")
	f.StringVar(&o.ca, "ca-file", "", "PEM `file` of the authorities that brokers' certificates are checked against (default the system's)")
	f.DurationVar(&o.drain, "drain-timeout", 8*time.Second, "how long records in the buffer may take to be delivered at shutdown")
	f.DurationVar(&o.orphan, "orphan-timeout", 10*time.Minute, "how long records of a configuration that Kong no longer has may wait for their brokers")
	f.Var(&o.memory, "memory-limit", "`bytes` that records and bodies may take in all, such as 512MiB (default half of the memory that the process may use)")
	f.TextVar(&o.level, "log-level", slog.LevelInfo, "least `level` of what is logged to stderr: debug, info, warn or error")
	f.StringVar(&o.format, "log-format", "text", "`format` of what is logged to stderr: text or json")
	f.StringVar(&o.logFile, "log-file", "", "`file` for warnings, errors, and what is undelivered at the end, or off (default logs/kafka-upstream.log in -kong-prefix, or kafka-upstream.log there)")
	f.StringVar(&o.metrics, "metrics", "", "`address` to serve Prometheus metrics, /healthz and /readyz on, such as 127.0.0.1:9542 (default off)")
	f.BoolVar(&o.portable, "portable", false, "serve Kong by Go's net package, as on systems other than Linux, at a higher cost")
	f.StringVar(&o.variable, "request-variable", "", "`name` of a variable of nginx that says the method, the path and the query in one: cheaper, where kong.conf defines kafka_upstream_request; request is nginx's own, right if no other plugin changes the method or the query")
	f.StringVar(&o.pprof, "pprof", "", "`address` to serve Go's profiles on, such as 127.0.0.1:6060 (default off)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: settings are flags, see -help", f.Arg(0))
	}
	if o.drain < 0 {
		return o, fmt.Errorf("-drain-timeout is %v: it cannot be negative", o.drain)
	}
	if o.orphan < 0 {
		return o, fmt.Errorf("-orphan-timeout is %v: it cannot be negative; 0 is for ever", o.orphan)
	}
	if _, err := logs.New(io.Discard, o.level, o.format); err != nil {
		return o, fmt.Errorf("-log-format: %w", err)
	}
	o.variable = strings.TrimPrefix(o.variable, "$")
	if o.socket == "" {
		o.socket = filepath.Join(o.prefix, plugin.Name+".socket")
	}
	return o, nil
}

func run(args []string, stdin *os.File, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		o.dump = o.dump || wantsDump(args)
		return o.refuse(2, err, stdin, stdout, stderr)
	case o.version:
		fmt.Fprintf(stdout, "kafka-upstream %s (commit %s, %s)\n", version.Number, version.Commit(), runtime.Version())
		return 0
	}
	// Kong reads what we print. When it is gone we have to drain, and not to die
	// of telling so.
	signal.Ignore(syscall.SIGPIPE)
	ignoreRest()
	if o.dump {
		if code, ok := o.dumpAsWorker(args, stdin, stdout, stderr); ok {
			return code
		}
	} else if os.Getenv(launched) == "" && isPipe(stdin) {
		code, err := launch(args)
		if err != nil {
			return o.refuse(1, err, stdin, stdout, stderr)
		}
		return code
	}
	if err := o.check(); err != nil {
		return o.refuse(1, err, stdin, stdout, stderr)
	}
	lines := logs.NewWriter(stderr, o.format)
	defer lines.Close()
	log, _ := logs.New(lines, o.level, o.format) // parse has checked the format
	logging := logging{log, log, nil, func() {}}
	if !o.dump {
		logging = o.openLog(log)
		log = logging.Logger
		defer logging.flush()
	}
	secure, release, err := o.secure(log)
	if err != nil {
		return o.refuse(1, err, stdin, stdout, stderr)
	}
	defer release()
	limit := o.limit(log)
	pool := producer.NewPool(producer.PoolOptions{Security: secure, Memory: limit, Log: log, OrphanTimeout: o.orphan})
	var m *metrics.Metrics
	if o.metrics != "" && !o.dump {
		m = metrics.New(version.Number, pool.Stats)
	}
	m.Memory(limit)
	p := plugin.New(plugin.Options{Pool: pool, Log: log})
	m.Requests(p.Counts)
	served := &kongpdk.Plugin{
		Name: plugin.Name, Version: version.Number, Priority: plugin.Priority, Schema: schema.JSON(),
		Start: p.Start, Invalid: p.Invalid, Answered: p.Answered,
	}
	if fault != nil {
		fault(served)
	}
	if o.dump {
		b, err := served.Dump(o.socket)
		if err == nil {
			_, err = stdout.Write(append(b, '\n'))
		}
		if err != nil {
			fmt.Fprintf(stderr, "kafka-upstream: printing the dump: %v\n", err)
			return 1
		}
		return 0
	}
	if err := serve(o, served, pool, m, limit, stdin, logging); err != nil {
		logging.events.Error(couldNot, "error", err)
		return 1
	}
	return 0
}

// limit returns the memory limit for records and bodies, nil for none.
func (o *options) limit(log *slog.Logger) *memory.Limit {
	size, source := int64(o.memory), "-memory-limit"
	if size == 0 {
		var available int64
		available, source = memory.Available()
		size = available / 2
	}
	if size == 0 || o.dump {
		return nil
	}
	log.Info("memory for records and bodies is limited", "bytes", size, "by", source)
	limit := memory.NewLimit(size)
	limit.Bound()
	return limit
}

// serve runs until it is told to end, and until what was accepted is delivered
// or the time for that is over.
func serve(o *options, p *kongpdk.Plugin, pool *producer.Pool, m *metrics.Metrics, limit *memory.Limit, stdin *os.File, logging logging) error {
	log, events := logging.Logger, logging.events
	ctx, end := context.WithCancelCause(context.Background())
	defer end(nil)
	draining, endDrain := context.WithCancelCause(context.Background())
	defer endDrain(nil)
	// Signals are handled to the very end, after the last lines were logged.
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, handled()...)
	told := &ending{begin: end, atOnce: endDrain, log: log, reopen: logging.reopen}
	told.follow(signals, fromLauncher())
	go func() {
		if waitForKong(stdin) {
			end(errors.New("stdin was closed: Kong is gone"))
		}
	}()

	l, err := kongpdk.Listen(o.socket, fs.FileMode(o.mode))
	if err != nil {
		return err
	}
	watched, unwatch := context.WithCancel(context.Background()) // to the very end
	watch, err := m.Serve(watched, o.metrics, log)
	if err != nil { // routes work without metrics
		log.Error("metrics are not served", "error", err)
	}
	defer func() {
		unwatch()
		watch.Wait()
	}()
	if o.pprof != "" {
		profile(ctx, o.pprof, log)
	}
	server := kongpdk.NewServer(p, log, kongpdk.Options{
		Portable: o.portable, RequestVariable: o.variable, Memory: limit, Files: kongpdk.FileLimit(),
	})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	events.Info("serving", "socket", o.socket, "version", version.Number, "commit", version.Commit())

	select {
	case err = <-served:
		end(err)
	case <-ctx.Done():
		events.Info("ending", "cause", context.Cause(ctx))
	}
	m.NotReady("shutting down")

	left, cut := drain(draining, server, pool, o.drain)
	err = errors.Join(err, cut)
	s := pool.Stats().Totals()
	logging.flush()
	events.Info("ended", "accepted", s.Accepted, "delivered", s.Delivered, "failed", s.Failed, "left", left, "refused", s.Rejected)
	switch cause := context.Cause(draining); {
	case left > 0 && cause != nil:
		err = errors.Join(err, fmt.Errorf("%d records were not delivered: %w", left, cause))
	case left > 0:
		err = errors.Join(err, fmt.Errorf("%d records were not delivered within the drain timeout of %v: raise -drain-timeout if the brokers were there", left, o.drain))
	}
	return err
}

// drain ends the service within timeout, or when ctx ends: the requests in flight are
// answered, then the buffers are drained. After half of the timeout, requests that are
// still in flight are refused, so that time remains for the buffers. It returns the
// number of undelivered records, and an error if requests were cut off.
func drain(ctx context.Context, server *kongpdk.Server, pool *producer.Pool, timeout time.Duration) (left int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answered := make(chan error, 1)
	go func() { answered <- server.Shutdown(ctx) }()
	select {
	case err = <-answered:
		return pool.Close(ctx), err
	case <-time.After(timeout / 2):
	case <-ctx.Done():
	}
	left = pool.Close(ctx)
	return left, <-answered
}

// waitForKong returns true when stdin, the pipe that Kong holds, is closed. It
// returns false at once where stdin is something else.
func waitForKong(stdin *os.File) bool {
	if !isPipe(stdin) {
		return false
	}
	_, _ = io.Copy(io.Discard, stdin)
	return true
}

func isPipe(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode().Type() == fs.ModeNamedPipe
}

// profile serves Go's profiles until ctx ends. If the address is taken, it retries in the
// background: after a reload of Kong the predecessor has the address until it ends.
func profile(ctx context.Context, address string, log *slog.Logger) {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	serve := func(l net.Listener) {
		log.Info("serving profiles", "address", l.Addr().String())
		go func() {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				log.Error("stopped serving profiles", "error", err)
			}
		}()
	}
	l, err := net.Listen("tcp", address)
	if err == nil {
		serve(l)
		return
	}
	log.Warn("cannot serve profiles yet; retrying until the address is free", "address", address, "error", err)
	go func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if l, err := net.Listen("tcp", address); err == nil {
					serve(l)
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
}

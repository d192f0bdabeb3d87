// Command kafka-upstream is a plugin server for Kong Gateway. It turns the HTTP requests of
// the routes that it is configured for into Kafka records.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"kafka-upstream/internal/companion"
	"kafka-upstream/internal/kongpdk"
	"kafka-upstream/internal/logs"
	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/metrics"
	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/producer"
	"kafka-upstream/internal/record/registry"
	"kafka-upstream/internal/spool"
	"kafka-upstream/internal/version"
	"kafka-upstream/schema"
)

// ballast, in bytes, is how much garbage may pile up before Go collects it; see
// docs/decisions/values.md for what that costs and saves.
const ballast = 16 << 20

// fault changes the plugin in a program built with the tag "faults"; see faults.go.
var fault func(*kongpdk.Plugin)

// spoolFS are the files of the spool, nil for the operating system's; see slowdisk.go.
var spoolFS spool.FS

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

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
	case o.checked != "":
		return checkFile(o.checked, stdout, stderr)
	case o.companion:
		return writeCompanion(o.companionDir, stdout, stderr)
	}
	// Kong reads stdout and stderr. Once it has ended, the server drains, and a log line must
	// not kill it.
	signal.Ignore(syscall.SIGPIPE)
	ignoreOthers()
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
	log := logs.New(lines, o.level, o.format)
	logging := logging{log, log, nil, func() {}}
	if !o.dump {
		logging = o.openLog(log)
		log = logging.Logger
		defer logging.flush()
	}
	secure, err := o.secure(log)
	if err != nil {
		return o.refuse(1, err, stdin, stdout, stderr)
	}
	defer secure.Close()
	schemas := registry.NewPool(registry.Env{CAFile: o.ca, Certs: secure.Certificates(), Log: log})
	defer schemas.Close() // before the certificates, which it holds
	limit := o.limit(log)
	memory.SetBallast(ballast)
	disk, err := o.openSpool(log)
	if err != nil {
		return o.refuse(1, err, stdin, stdout, stderr)
	}
	pool := producer.NewPool(producer.PoolOptions{Security: access(secure), Memory: limit, Log: log, OrphanTimeout: o.orphan, Spool: disk})
	var m *metrics.Metrics
	if o.metrics != "" && !o.dump {
		m = metrics.New(version.Number, pool.Stats)
	}
	m.Memory(limit)
	p := plugin.New(plugin.Options{Pool: pool, Schemas: schemas, Log: log})
	var companionCounts plugin.Counters
	m.Requests(metrics.DoorProtocol, p.Counts)
	m.Requests(metrics.DoorCompanion, companionCounts.Counts)
	m.Schemas(schemas.Stats)
	m.Spool(pool.SpoolStats)
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
	ofCompanion := &companion.Plugin{Version: version.Number, Start: served.Start, Certificate: secure.Offer, Answered: companionCounts.Answered}
	if err := serve(o, served, ofCompanion, pool, disk, m, limit, stdin, logging); err != nil {
		logging.events.Error(endedWithError, "error", err)
		return 1
	}
	return 0
}

// writeCompanion writes the companion handler's files.
func writeCompanion(dir string, stdout, stderr io.Writer) int {
	paths, err := companion.WriteFiles(dir, version.Number)
	if err != nil {
		fmt.Fprintf(stderr, "kafka-upstream: %v\n", err)
		return 1
	}
	for _, path := range paths {
		fmt.Fprintf(stdout, "wrote %s\n", path)
	}
	fmt.Fprintln(stdout, "Restart Kong to use them. Removing them goes back to Kong's plugin protocol.")
	return 0
}

// openSpool opens the spool, nil if there is none.
func (o *options) openSpool(log *slog.Logger) (*spool.Spool, error) {
	if o.spool == "" || o.dump {
		return nil, nil
	}
	s, err := spool.Open(spool.Options{Dir: o.spool, Limit: int64(o.spoolLimit), Log: log, FS: spoolFS})
	if err != nil {
		return nil, fmt.Errorf("opening the spool (-spool): %w", err)
	}
	return s, nil
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

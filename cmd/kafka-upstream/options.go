package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"kafka-upstream/internal/companion"
	"kafka-upstream/internal/logs"
	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/plugin"
)

// options are the flags. All settings of the process are flags, because Kong starts it with
// an empty environment.
type options struct {
	prefix, socket   string
	mode             socketMode
	dump, version    bool
	drain            time.Duration
	orphan           time.Duration
	memory           memory.Size
	spool            string
	spoolLimit       memory.Size
	level            slog.Level
	format           logs.Format
	pprof, metrics   string
	portable         bool
	variable         string
	adminURL, token  string
	certificates, ca string
	logFile          string
	checked          string
	companion        bool   // write the companion handler's files
	companionDir     string // below which they are written
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

// parse reads the flags. If one is wrong, it also returns those before it.
func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{mode: 0o660, format: logs.Text, spoolLimit: 1 << 30}
	f := flag.NewFlagSet("kafka-upstream", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintf(stderr, "kafka-upstream is a plugin server for Kong Gateway. Kong starts it: see pluginserver_names in kong.conf.\n\nFlags:\n")
		f.PrintDefaults()
	}
	f.StringVar(&o.prefix, "kong-prefix", "/usr/local/kong", "Kong's prefix `directory`, where the socket is made")
	f.StringVar(&o.socket, "socket", "", "`path` of the socket (default kafka-upstream.socket in -kong-prefix)")
	f.Var(&o.mode, "socket-mode", "permission `bits` of the socket; 0666 if Kong runs as another user")
	f.BoolVar(&o.dump, "dump", false, "print the plugin and its schema, as Kong asks for them, and exit")
	f.StringVar(&o.checked, "check", "", "check the plugin's configurations in a declarative `file` (kong.yml, decK), functions included, print the problems, and exit: with 1 if there are any, with 2 if the file cannot be read")
	f.BoolVar(&o.companion, "companion", false, "write the companion handler, two files for Kong, below the directory that is the argument (default "+companion.DefaultDir+"), and exit")
	f.BoolVar(&o.version, "version", false, "print the version and the commit, and exit")
	f.StringVar(&o.adminURL, "admin-url", "http://127.0.0.1:8001", "`URL` of Kong's Admin API, to load certificates from: http://, https:// or unix:/path")
	f.StringVar(&o.token, "admin-token-file", "", "`file` with the token for the Admin API")
	f.StringVar(&o.certificates, "certificates", "", "`directory` with certificates as ID.crt and ID.key; it is searched before the Admin API")
	f.StringVar(&o.ca, "ca-file", "", "PEM `file` of the authorities that sign the brokers' certificates (default the system's)")
	f.DurationVar(&o.drain, "drain-timeout", 8*time.Second, "how long a shutdown waits for buffered records to be delivered")
	f.DurationVar(&o.orphan, "orphan-timeout", 10*time.Minute, "how long undelivered records are kept once Kong has removed their configuration; 0 means forever")
	f.Var(&o.memory, "memory-limit", "total `bytes` of the records and bodies in memory, such as 512MiB (default half of the memory available to the process)")
	f.StringVar(&o.spool, "spool", "", "`directory` on a disk that outlives the process, for the records of configurations with producer_async_durable (default none: these are refused)")
	f.Var(&o.spoolLimit, "spool-limit", "`bytes` of disk that the spool may take; beyond it records are rejected")
	f.TextVar(&o.level, "log-level", slog.LevelInfo, "lowest `level` that is logged to stderr: debug, info, warn or error")
	f.Var(&o.format, "log-format", "`format` of the log on stderr: text or json")
	f.StringVar(&o.logFile, "log-file", "", "`file` for warnings, errors and the number of undelivered records at shutdown, or off for none (default logs/kafka-upstream.log in -kong-prefix, or kafka-upstream.log there)")
	f.StringVar(&o.metrics, "metrics", "", "`address` of Prometheus metrics, /healthz and /readyz, such as 127.0.0.1:9542 (default off)")
	f.BoolVar(&o.portable, "portable", false, "use Go's net package instead of epoll, as on systems other than Linux; it needs more CPU")
	f.StringVar(&o.variable, "request-variable", "", "`name` of an nginx variable with the method, the path and the query of a request, to save calls to Kong: kafka_upstream_request if kong.conf defines it, or nginx's own variable request if no other plugin changes the method or the query")
	f.StringVar(&o.pprof, "pprof", "", "`address` of Go's profiles, such as 127.0.0.1:6060 (default off)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.companionDir = companion.DefaultDir
	switch {
	case o.companion && f.NArg() == 1 && f.Arg(0) == "": // as of a variable that is not set
		return o, errors.New("the directory for -companion is empty: name one, or leave the argument out for " + companion.DefaultDir)
	case o.companion && f.NArg() == 1:
		o.companionDir = f.Arg(0)
	case o.companion && f.NArg() > 1:
		return o, fmt.Errorf("unexpected argument %q: -companion takes one directory, after all flags", f.Arg(1))
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q: settings are flags, see -help", f.Arg(0))
	}
	if o.drain < 0 {
		return o, fmt.Errorf("-drain-timeout is %v: it cannot be negative", o.drain)
	}
	if o.orphan < 0 {
		return o, fmt.Errorf("-orphan-timeout is %v: it cannot be negative; 0 means forever", o.orphan)
	}
	o.variable = strings.TrimPrefix(o.variable, "$")
	if o.socket == "" {
		o.socket = filepath.Join(o.prefix, plugin.Name+".socket")
	}
	return o, nil
}

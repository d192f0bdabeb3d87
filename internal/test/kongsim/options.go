package kongsim

import (
	"cmp"
	"io"
	"net/http"
	"time"
)

// Options says how a [Sim] is started. Either Binary or Socket must be given.
type Options struct {
	// Config is the declarative configuration (kong.yml); without one there are
	// no routes, until the Admin API or SetConfig makes some.
	Config []byte
	// Binary is the plugin server's program. It is asked for its dump, and, if
	// Socket is empty, started and kept running as Kong does.
	Binary string
	// Args are further arguments of query_cmd and start_cmd, such as
	// -kong-prefix DIR, which decides where the socket lies. {admin-url} in one
	// stands for what AdminURL returns.
	Args []string
	// Socket is the unix socket of a plugin server that runs already.
	Socket string
	// Dump is what query_cmd would print; without it Binary is asked.
	Dump []byte
	// Workers is the number of workers, 2 if zero.
	Workers int
	// Listen and AdminListen are addresses, 127.0.0.1:0 if empty.
	Listen, AdminListen string
	// BodyBuffer is client_body_buffer_size in bytes, 8 KiB if zero. A larger
	// body goes to a temp file.
	BodyBuffer int
	// Timeout is how long a plugin server may take to answer, 60 s if zero.
	Timeout time.Duration
	// Grace is how long what the process leaves behind may take to end: the process
	// itself is killed a moment after SIGTERM, as Kong does. 15 s if zero.
	Grace time.Duration
	// Stderr, if set, gets what the process prints, line by line.
	Stderr io.Writer
	// OnLog, if set, is told each entry of the error log; level is one of debug,
	// info, notice, warn, err, crit and alert. It is called from many
	// goroutines.
	OnLog func(level, message string)
	// Facts, if set, returns what is known of a request beside the request itself. It is
	// called once for each request, from many goroutines.
	Facts func(*http.Request) Facts
	// Seed decides what Kong leaves to chance: the order of fields in an RpcCall.
	Seed uint64
}

func (o Options) withDefaults() Options {
	o.Workers = cmp.Or(o.Workers, 2)
	o.Listen = cmp.Or(o.Listen, "127.0.0.1:0")
	o.AdminListen = cmp.Or(o.AdminListen, "127.0.0.1:0")
	o.BodyBuffer = cmp.Or(o.BodyBuffer, 8<<10)
	o.Timeout = cmp.Or(o.Timeout, time.Minute)
	o.Grace = cmp.Or(o.Grace, 15*time.Second)
	return o
}

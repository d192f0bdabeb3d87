// Command kafka-upstream-demo is the program to try first. It needs neither Kong nor Kafka: it
// runs the plugin server behind a stand-in for Kong, with a Kafka broker in its own process,
// and prints each record that arrives.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"kafka-upstream/internal/test/kongsim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second Ctrl-C ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

type options struct {
	plugin, config, bootstrap string
	listen, adminListen       string
	check, verbose, secure    bool
	given                     map[string]bool // the flags on the command line
}

const (
	defaultListen      = "127.0.0.1:8000"
	defaultAdminListen = "127.0.0.1:8001"
	checkTimeout       = 10 * time.Second
)

func parseFlags(args []string, out io.Writer) (*options, error) {
	o := &options{given: map[string]bool{}}
	f := flag.NewFlagSet("kafka-upstream-demo", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&o.plugin, "plugin", "", "`path` of the plugin server (default kafka-upstream in the directory of this program)")
	f.StringVar(&o.config, "config", "", "`file` with a declarative configuration of Kong, such as kong.yml (default the demo's own)")
	f.StringVar(&o.bootstrap, "bootstrap", "", "`host:port,...` of a Kafka cluster to use instead of the broker in this process")
	f.StringVar(&o.listen, "listen", defaultListen, "`address` of the gateway")
	f.StringVar(&o.adminListen, "admin-listen", defaultAdminListen, "`address` of the Admin API")
	f.BoolVar(&o.check, "check", false, "send one request, wait for its record, print it and exit")
	f.BoolVar(&o.secure, "secure", false, "require TLS and SASL of the broker in this process")
	f.BoolVar(&o.verbose, "verbose", false, "also print the log of the plugin server")
	f.Usage = func() {
		fmt.Fprintln(out, "kafka-upstream-demo runs the plugin behind a stand-in for Kong, with a Kafka broker in this process, and prints the records that arrive.")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: settings are flags, see -help", f.Arg(0))
	}
	f.Visit(func(f *flag.Flag) { o.given[f.Name] = true })
	return o, nil
}

// run is main, and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		d := &demo{options: o, out: newConsole(stdout)}
		err = d.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(stderr, "kafka-upstream-demo:", err)
		return 1
	}
	return 0
}

// demo is one run.
type demo struct {
	*options
	out    *console
	kafka  *kafka
	access *secure // nil without -secure
	sim    *kongsim.Sim
}

func (d *demo) run(ctx context.Context) (err error) {
	started := time.Now()
	config, err := d.prepare()
	if err != nil {
		return err
	}
	if d.access, err = newSecure(d.options); err != nil {
		return err
	}
	if d.kafka, err = openKafka(d.bootstrap, d.access, d.out); err != nil {
		return err
	}
	defer d.kafka.close()
	if d.bootstrap == "" && d.config != "" {
		d.out.printf("The bootstrap servers in %s are replaced by the broker in this process; use -bootstrap for a real Kafka.\n", d.config)
	}
	if d.bootstrap == "" || d.config == "" {
		if config, err = withBootstrapServers(config, d.kafka.addresses); err != nil {
			return err
		}
	}
	if config, err = d.access.configure(config); err != nil {
		return err
	}
	dir, err := socketDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := d.start(ctx, config, dir); err != nil {
		return err
	}
	defer d.consume()()

	if d.check {
		err := d.checkOne(ctx)
		if cerr := d.sim.Close(); err == nil {
			err = cerr
		}
		return err
	}
	d.welcome(time.Since(started))
	<-ctx.Done()
	d.out.printf("\nShutting down: the plugin server delivers its buffered records.\n")
	stats := d.sim.Stats()
	d.kafka.follow(d.topics(context.Background()))
	err = d.sim.Close()
	d.kafka.settle()
	d.out.summary(stats)
	return err
}

// consume prints records in the background, including those of topics added by the Admin API,
// until stop is called.
func (d *demo) consume() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	d.kafka.follow(d.topics(ctx))
	wg.Go(func() { d.kafka.consume(ctx) })
	wg.Go(func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				d.kafka.follow(d.topics(ctx))
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// prepare finds the plugin server, and returns the configuration.
func (d *demo) prepare() ([]byte, error) {
	if d.plugin == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		d.plugin = filepath.Join(filepath.Dir(self), "kafka-upstream")
	}
	if info, err := os.Stat(d.plugin); err != nil || info.IsDir() {
		return nil, fmt.Errorf("there is no plugin server at %s: build it (go build ./cmd/kafka-upstream) and set -plugin to its path", d.plugin)
	}
	if d.config == "" {
		return ownConfig, nil
	}
	return os.ReadFile(d.config)
}

// socketDir makes a directory for the plugin server's socket, whose path must be short.
func socketDir() (string, error) {
	parent := os.TempDir()
	if len(parent) > 60 {
		parent = "/tmp"
	}
	return os.MkdirTemp(parent, "ku-demo-")
}

// start starts the gateway and, through it, the plugin server.
func (d *demo) start(ctx context.Context, config []byte, dir string) (err error) {
	listen, admin := d.address("listen", d.listen), d.address("admin-listen", d.adminListen)
	flags, err := d.access.flags(dir)
	if err != nil {
		return err
	}
	opts := kongsim.Options{
		Config: config, Binary: d.plugin, Args: append([]string{"-kong-prefix", dir, "-admin-url", "{admin-url}"}, flags...),
		Listen: listen, AdminListen: admin,
		OnLog: func(level, message string) {
			switch level {
			case "warn", "err", "crit", "alert", "emerg":
				d.out.printf("Kong's error log [%s] %s\n", level, message)
			}
		},
	}
	if d.verbose {
		opts.Stderr = prefixWriter{d.out, "plugin server: "}
	}
	d.sim, err = kongsim.Start(ctx, opts)
	return err
}

// address returns the address to listen on. If the default port is taken, it is another one.
func (d *demo) address(flag, address string) string {
	if d.given[flag] {
		return address
	}
	if d.check {
		return "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		d.out.printf("%s is taken (%v), so another port is used; -%s chooses one.\n", address, errors.Unwrap(err), flag)
		return "127.0.0.1:0"
	}
	l.Close()
	return address
}

// topics returns the topics of all plugins, including those made by the Admin API.
func (d *demo) topics(ctx context.Context) []string {
	var plugins struct {
		Data []struct {
			Config struct{ Topic string }
		}
	}
	if err := getJSON(ctx, d.sim.AdminURL()+"/plugins", &plugins); err != nil {
		return nil
	}
	var topics []string
	for _, p := range plugins.Data {
		topics = append(topics, p.Config.Topic)
	}
	return topics
}

func (d *demo) welcome(took time.Duration) {
	url, admin := curlURL(d.sim.URL()), curlURL(d.sim.AdminURL())
	host, port, _ := net.SplitHostPort(d.kafka.addresses[0])
	where := "in this process" + d.access.how()
	if d.bootstrap != "" {
		where = "yours"
	}
	d.out.printf(`kafka-upstream behind a stand-in for Kong (kongsim, not Kong itself), ready in %d ms.

  gateway    %s
  Admin API  %s
  Kafka      %s (%s)
`, took.Milliseconds(), url, admin, strings.Join(d.kafka.addresses, ", "), where)
	if d.config == "" {
		d.out.printf(`
Try this in another terminal:

  curl -X POST %[1]s --header 'Host: kafka-upstream.dev' --data foo=bar

  curl '%[1]s/orders?priority=high' --header 'Host: kafka-upstream.dev' \
    --header 'Content-Type: application/json' --data '{"item":"tea","count":2}'

Add a route with another topic:

  curl -X POST %[2]s/routes --data name=second --data 'hosts[]=second.dev'
  curl -X POST %[2]s/routes/second/plugins --data name=kafka-upstream \
    --data 'config.bootstrap_servers[1].host=%[3]s' \
    --data 'config.bootstrap_servers[1].port=%[4]s' \
   %[5]s --data config.topic=second --data config.forward_method=true
  curl -X POST %[1]s --header 'Host: second.dev' --data hello=world
`, url, admin, host, port, d.access.arguments())
	}
	d.out.printf("\nEach record that arrives is printed here. Stop with Ctrl-C.\n\n")
}

// curlURL returns the URL with localhost, as Kong's documentation has it.
func curlURL(url string) string { return strings.Replace(url, "127.0.0.1", "localhost", 1) }

// checkOne sends one request and waits for its record.
func (d *demo) checkOne(ctx context.Context) error {
	interrupted := ctx
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	mark := fmt.Sprintf("check-%d", time.Now().UnixNano())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.sim.URL()+"/"+mark, strings.NewReader("foo=bar&check="+mark))
	if err != nil {
		return err
	}
	req.Host = "kafka-upstream.dev"
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	found := d.out.watch(mark)
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("the request got no response: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	res.Body.Close()
	if err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("the request was answered %s: %s", res.Status, strings.Join(strings.Fields(string(body)), " "))
	}
	select {
	case <-found:
		return nil
	case <-interrupted.Done():
		return errors.New("interrupted before the record of the request arrived")
	case <-ctx.Done():
		return fmt.Errorf("the record of the request did not arrive within %s", checkTimeout)
	}
}

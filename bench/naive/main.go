// Command naive is the plugin as one would first write it: go-pdk's server and its getters,
// encoding/json, and a kafka-go Writer with the library's defaults. It is the benchmark's
// baseline.
//
// It is as good as that allows: it asks for the raw query rather than the parsed one, which
// costs Kong less, and the Writer is asynchronous. It has no answers for bad requests, no
// limit on its memory, and no metrics.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"mime"
	"net"
	"net/http"
	_ "net/http/pprof"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"

	"github.com/Kong/go-pdk"
	"github.com/Kong/go-pdk/server"
	"github.com/segmentio/kafka-go"
)

// config is the plugin's configuration, with the names of kafka-upstream's.
type config struct {
	Topic            string `json:"topic"`
	BootstrapServers []struct {
		Host string `json:"host"`
		Port int    `json:"port"`
	} `json:"bootstrap_servers"`

	once   sync.Once
	writer *kafka.Writer
}

var headers = map[string][]string{"Content-Type": {"application/json; charset=utf-8"}}

// writers are closed when the process ends.
var writers struct {
	sync.Mutex
	all []*kafka.Writer
}

// open makes the Writer. Except for Async it has kafka-go's defaults: batches of 100 or one
// second, round robin over the partitions, no acknowledgements.
func (c *config) open() {
	var addresses []string
	for _, s := range c.BootstrapServers {
		addresses = append(addresses, net.JoinHostPort(s.Host, strconv.Itoa(s.Port)))
	}
	c.writer = &kafka.Writer{Addr: kafka.TCP(addresses...), Topic: c.Topic, Async: true}
	writers.Lock()
	defer writers.Unlock()
	writers.all = append(writers.all, c.writer)
}

// Access makes a record of the request and answers it.
func (c *config) Access(kong *pdk.PDK) {
	c.once.Do(c.open)
	value, err := message(kong)
	if err == nil {
		err = c.writer.WriteMessages(context.Background(), kafka.Message{Value: value})
	}
	if err != nil {
		_ = kong.Log.Err(err.Error())
		kong.Response.Exit(500, []byte(`{"message":"An unexpected error occurred"}`), headers)
		return
	}
	kong.Response.Exit(200, []byte(`{"message":"message sent"}`), headers)
}

// message asks Kong for the request and makes the record's value of it.
func message(kong *pdk.PDK) ([]byte, error) {
	method, err := kong.Request.GetMethod()
	if err != nil {
		return nil, err
	}
	uri, err := kong.Request.GetPathWithQuery()
	if err != nil {
		return nil, err
	}
	rawQuery, err := kong.Request.GetRawQuery()
	if err != nil {
		return nil, err
	}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, err
	}
	received, err := kong.Request.GetHeaders(1000)
	if err != nil {
		return nil, err
	}
	body, err := kong.Request.GetRawBody()
	if err != nil {
		return nil, err
	}
	m := map[string]any{
		"method":    method,
		"uri":       uri,
		"uri_args":  single(query),
		"headers":   single(received),
		"body":      string(body),
		"body_args": map[string]any{},
	}
	contentType := ""
	if v := received["content-type"]; len(v) > 0 {
		contentType, _, _ = mime.ParseMediaType(v[0])
	}
	switch contentType {
	case "application/json":
		var args any
		if err := json.Unmarshal(body, &args); err != nil {
			return nil, err
		}
		m["body_args"] = args
	case "application/x-www-form-urlencoded":
		args, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, err
		}
		m["body_args"] = single(args)
	}
	return json.Marshal(m)
}

// single returns a single value as a string, and repeated ones as a list.
func single(values map[string][]string) map[string]any {
	m := make(map[string]any, len(values))
	for name, v := range values {
		if len(v) == 1 {
			m[name] = v[0]
		} else {
			m[name] = v
		}
	}
	return m
}

func main() {
	flag.Func("pprof", "`address` to serve Go's profiles on", profile)
	go drain()
	if err := server.StartServer(func() any { return new(config) }, "1.0.0", 751); err != nil {
		log.Fatal(err)
	}
}

// drain waits for SIGTERM, delivers what the Writers hold, and ends the process. go-pdk's
// server leaves that to the plugin; without it each measurement would lose the last batches.
func drain() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	<-signals
	writers.Lock()
	for _, w := range writers.all {
		if err := w.Close(); err != nil {
			log.Printf("closing a writer: %v", err)
		}
	}
	os.Exit(0)
}

func profile(address string) error {
	l, err := net.Listen("tcp", address)
	if err == nil {
		log.Printf("serving profiles address=%s", l.Addr())
		go func() { log.Print(http.Serve(l, nil)) }()
	}
	return err
}

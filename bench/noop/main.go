// Command noop is a plugin that does nothing, built with go-pdk as its documentation shows: it
// asks Kong for nothing and answers 200. It is the cost of go-pdk's server, and the benchmark's
// lower baseline.
package main

import (
	"flag"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof"

	"github.com/Kong/go-pdk"
	"github.com/Kong/go-pdk/server"
)

type config struct{}

var (
	answer  = []byte(`{"message":"message sent"}`)
	headers = map[string][]string{"Content-Type": {"application/json; charset=utf-8"}}
)

// Access answers the request.
func (*config) Access(kong *pdk.PDK) { kong.Response.Exit(200, answer, headers) }

func main() {
	flag.Func("pprof", "`address` to serve Go's profiles on", profile)
	if err := server.StartServer(func() any { return new(config) }, "1.0.0", 751); err != nil {
		log.Fatal(err)
	}
}

func profile(address string) error {
	l, err := net.Listen("tcp", address)
	if err == nil {
		log.Printf("serving profiles address=%s", l.Addr())
		go func() { log.Print(http.Serve(l, nil)) }()
	}
	return err
}

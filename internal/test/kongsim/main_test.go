package kongsim

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/Kong/go-pdk"
	"github.com/Kong/go-pdk/server"
	"go.uber.org/goleak"
)

// The test binary is also the plugin server that the tests start: with one of
// these arguments, since Kong leaves no environment to a plugin server.
const (
	asPlugin = "-as-plugin" // the scripted one of this package
	asGoPDK  = "-as-go-pdk" // one made with go-pdk's StartServer
)

func TestMain(m *testing.M) {
	switch {
	case slices.Contains(os.Args, asPlugin):
		pluginProcess()
	case slices.Contains(os.Args, asGoPDK):
		os.Args = slices.DeleteFunc(os.Args, func(a string) bool { return a == asGoPDK })
		if err := server.StartServer(func() any { return &goPDKConfig{} }, "1.0", 751); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		goleak.VerifyTestMain(m)
	}
}

// goPDKConfig is a plugin as go-pdk's documentation teaches to write it.
type goPDKConfig struct{ Topic string }

func (c *goPDKConfig) Access(kong *pdk.PDK) {
	method, _ := kong.Request.GetMethod()
	path, _ := kong.Request.GetPathWithQuery()
	headers, _ := kong.Request.GetHeaders(100)
	body, _ := kong.Request.GetRawBody()
	_ = kong.Log.Notice("seen ", method)
	kong.Response.Exit(202, []byte(c.Topic+" "+method+" "+path+" "+headers["x-a"][0]+" "+string(body)), map[string][]string{"X-Plugin": {"go-pdk"}})
}

const testSchema = `{"name":"kafka-upstream","fields":[
	{"protocols":{"type":"set","required":true,"default":["grpc","grpcs","http","https"],"elements":{"type":"string","one_of":["grpc","grpcs","http","https"]}}},
	{"config":{"type":"record","required":true,"fields":[
		{"topic":{"type":"string","required":true}},
		{"port":{"type":"integer","default":9092,"between":[0,65535]}},
		{"secret":{"type":"string","referenceable":true,"encrypted":true}},
		{"name":{"type":"string","auto":true}},
		{"empty":{"type":"set","elements":{"type":"string"},"default":[]}},
		{"nested":{"type":"record","required":true,"fields":[{"on":{"type":"boolean","default":false}}]}}]}}]}`

func testDump(socket string) []byte {
	return fmt.Appendf(nil, `{"Protocol":"ProtoBuf:1","SocketPath":%q,"Plugins":[{"Name":"kafka-upstream","Version":"0","Priority":751,"Phases":["access"],"Schema":%s}]}`, socket, testSchema)
}

// pluginProcess is a plugin server in a process of its own. It answers with
// what it was started with, and does what the argument after -then says.
func pluginProcess() {
	arg := func(name string) string {
		if i := slices.Index(os.Args, name); i >= 0 && i+1 < len(os.Args) {
			return os.Args[i+1]
		}
		return ""
	}
	socket := arg("-kong-prefix") + "/t.socket"
	if slices.Contains(os.Args, "-dump") {
		switch arg("-then") {
		case "junk-dump":
			fmt.Println("listening soon")
			os.Exit(0)
		case "sentence-dump":
			fmt.Println(`"the directory is not there"`)
			os.Exit(1)
		}
		os.Stdout.Write(testDump(socket))
		os.Exit(0)
	}
	if arg("-then") == "die" {
		fmt.Fprintln(os.Stderr, "cannot do this")
		os.Exit(3)
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	p := newFakePlugin()
	p.access = func(c *fakeConn) {
		path := c.ask("kong.request.get_path_with_query", nil)
		switch string(path[min(len(path), 2):]) {
		case "/die":
			os.Exit(7)
		case "/args":
			c.exit(200, []byte(strings.Join(os.Args, " ")))
			return
		case "/say":
			fmt.Println("one line")
			fmt.Fprint(os.Stderr, "no end of line")
		}
		c.exit(200, fmt.Appendf(nil, "pid=%d env=%s", os.Getpid(), strings.Join(os.Environ(), ",")))
	}
	if arg("-then") == "leave-a-child" { // which has our stdout, and takes a second
		child := exec.Command("/bin/sleep", "1")
		child.Stdout = os.Stdout
		if err := child.Start(); err != nil {
			os.Exit(9)
		}
	}
	if err := p.listen(socket); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening")
	go func() {
		// Kong holds the other end of a pipe.
		if info, err := os.Stdin.Stat(); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
			fmt.Fprintln(os.Stderr, "stdin is no pipe")
			os.Exit(8)
		}
		io.Copy(io.Discard, os.Stdin)
	}()
	for range term {
		os.Exit(0)
	}
}

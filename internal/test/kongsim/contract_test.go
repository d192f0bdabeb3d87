package kongsim

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const recordings = "../../../testdata/replies"

// The route that the recordings were made with.
const recordedConfig = `
_format_version: "3.0"
routes:
- name: kafka-upstream
  id: 0c526b08-ede8-5178-bef7-1e59d3503ae8
  hosts: [kafka-upstream.dev]
  plugins:
  - name: kafka-upstream
    config: {topic: t}
`

// volatile names the calls, with their argument, whose replies cannot be the
// recorded ones; each is checked for its form instead.
var volatile = map[string]func(t *testing.T, s *Sim, got, want []byte){
	// The port that the gateway listens on, 8000 in the recordings.
	"kong.request.get_port ":           ownPort,
	"kong.request.get_forwarded_port ": ownPort,
	// The client's port.
	"kong.client.get_port ": func(t *testing.T, _ *Sim, got, _ []byte) {
		if n, err := intArg(got); err != nil || n < 1 || n > 65535 {
			t.Errorf("client's port is %d, %v", n, err)
		}
	},
	// Ids that are new with each request: same length and alphabet.
	"kong.nginx.get_var request_id":      sameForm,
	"kong.nginx.get_var kong_request_id": sameForm,
	"kong.node.get_id ":                  sameForm,
	// When the route was made, and when the request came.
	"kong.router.get_route ": sameRoute,
	"kong.nginx.req_start_time ": func(t *testing.T, _ *Sim, got, _ []byte) {
		var n pb.Number
		err := proto.Unmarshal(got, &n)
		if ago := time.Since(time.UnixMilli(int64(math.Round(n.V * 1000)))); err != nil || len(got) != 9 || ago < -time.Second || ago > time.Minute {
			t.Errorf("the request began %v ago, %v", ago, err)
		}
	},
	// Go's HTTP server does not tell how many blanks there were around a header's value.
	"kong.nginx.get_var request_length": func(t *testing.T, _ *Sim, got, want []byte) {
		g, _ := stringArg(got)
		w, _ := stringArg(want)
		n, err := strconv.Atoi(g)
		kong, _ := strconv.Atoi(w)
		if err != nil || n > kong || n < kong-4 {
			t.Errorf("the request has %s bytes, Kong says %s", g, w)
		}
	},
	// The path of a temp file is not the recorded one either: checkTempFile
	// looks at it while the request lasts.
}

// unknown are the recorded calls that this stand-in does not answer: the plugin makes none
// of them, because they take the query apart and lose some of it.
var unknown = []string{
	"kong.request.get_query ", "kong.request.get_query_arg ",
}

func ownPort(t *testing.T, s *Sim, got, _ []byte) {
	if n, err := intArg(got); err != nil || n != s.listener.Addr().(*net.TCPAddr).Port {
		t.Errorf("port is %d, %v", n, err)
	}
}

// sameRoute compares routes but for their times. Kong's fields are in no order.
func sameRoute(t *testing.T, _ *Sim, got, want []byte) {
	var g, w pb.Route
	if err := errors.Join(proto.Unmarshal(got, &g), proto.Unmarshal(want, &w)); err != nil {
		t.Fatal(err)
	}
	if now := time.Now().Unix(); g.CreatedAt < now-60 || g.CreatedAt > now || g.UpdatedAt != g.CreatedAt {
		t.Errorf("the route was made at %d, changed at %d", g.CreatedAt, g.UpdatedAt)
	}
	w.CreatedAt, w.UpdatedAt = g.CreatedAt, g.UpdatedAt
	if !proto.Equal(&g, &w) || len(got) != len(want) {
		t.Errorf("got %v, Kong %v", &g, &w)
	}
}

func sameForm(t *testing.T, _ *Sim, got, want []byte) {
	form := func(b []byte) string {
		return strings.Map(func(r rune) rune {
			if strings.ContainsRune("0123456789abcdef", r) {
				return 'h'
			}
			return r
		}, string(b))
	}
	if form(got) != form(want) {
		t.Errorf("got %q, of another form than %q", got, want)
	}
}

// sameReply compares replies; those that hold a Struct without regard to the
// order of its entries, which Lua leaves to chance.
func sameReply(t *testing.T, method string, got, want []byte) {
	if !strings.HasSuffix(method, ".get_headers") {
		if !bytes.Equal(got, want) {
			t.Errorf("%s answers %q, Kong %q", method, got, want)
		}
		return
	}
	entries := func(b []byte) []string {
		var all []string
		err := eachField(b, func(n protowire.Number, f field) error {
			all = append(all, string(f.bytes))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(all)
		return all
	}
	if g, w := entries(got), entries(want); !slices.Equal(g, w) {
		t.Errorf("%s answers %q, Kong %q", method, g, w)
	}
}

// startSim starts a gateway before a plugin server that runs already.
func startSim(t testing.TB, o Options) *Sim {
	t.Helper()
	if o.Socket != "" && o.Dump == nil {
		o.Dump = testDump(o.Socket)
	}
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// send writes a raw request and reads what comes back until the connection
// ends.
func send(t testing.TB, s *Sim, raw []byte) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write(raw); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestRepliesAreThoseOfAGenuineKong sends each recorded request through the
// gateway, makes each recorded call, and compares the replies.
func TestRepliesAreThoseOfAGenuineKong(t *testing.T) {
	for _, rec := range loadRecordings(t) {
		rec.Calls = slices.DeleteFunc(rec.Calls, func(c Call) bool { return slices.Contains(unknown, c.Method+" "+argText(c)) })
		t.Run(rec.Case, func(t *testing.T) {
			var got [][]byte
			var tempFile []byte
			p := startFake(t, func(c *fakeConn) {
				got = c.askAll(rec.Calls...)
				for i, call := range rec.Calls {
					if call.Method == "kong.request.get_raw_body" && rec.BodyInTempFile && i < len(got) {
						tempFile = checkTempFile(t, got[i])
					}
				}
				c.exit(200, []byte(`{"message":"message sent"}`), Header{"Content-Type", "application/json"})
			})
			s := startSim(t, Options{Socket: p.socket, Config: []byte(recordedConfig)})
			response := send(t, s, rec.Request)

			if rec.BodyInTempFile && !bytes.Equal(tempFile, rec.Body()) {
				t.Errorf("the temp file held %d bytes, want %d", len(tempFile), len(rec.Body()))
			}
			for i, call := range rec.Calls {
				if got == nil || got[i] == nil {
					t.Fatalf("%s was not answered; the client got %s", call.Method, response)
				}
				key := call.Method + " " + argText(call)
				if check, ok := volatile[key]; ok {
					check(t, s, got[i], call.Reply)
				} else if call.Method != "kong.request.get_raw_body" || !rec.BodyInTempFile {
					sameReply(t, strings.TrimSpace(key), got[i], call.Reply)
				}
			}
			sameResponse(t, response, rec.Response)
		})
	}
}

func argText(c Call) string {
	if c.Method != "kong.nginx.get_var" {
		return ""
	}
	s, _ := stringArg(c.Args)
	return s
}

// checkTempFile reads the body's file as a plugin would.
func checkTempFile(t *testing.T, reply []byte) (content []byte) {
	eachField(reply, func(n protowire.Number, f field) error {
		if n != 2 {
			t.Errorf("no path in the reply %q", reply)
			return nil
		}
		path := string(f.bytes)
		if filepath.Base(filepath.Dir(path)) != "client_body_temp" || filepath.Base(path) != "0000000001" {
			t.Errorf("the temp file is %s", path)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("temp file: %v, %v", info, err)
		}
		content, err = os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		return nil
	})
	return content
}

// sameResponse compares status, body, and the headers that do not change.
func sameResponse(t *testing.T, got, want string) {
	read := func(s string) (*http.Response, string) {
		br := bufio.NewReader(strings.NewReader(s))
		for {
			r, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatalf("%v in %q", err, s)
			}
			if r.StatusCode == http.StatusContinue {
				continue
			}
			b, _ := io.ReadAll(r.Body)
			return r, string(b)
		}
	}
	g, gb := read(got)
	w, wb := read(want)
	if g.StatusCode != w.StatusCode || gb != wb {
		t.Errorf("got %d %q, Kong %d %q", g.StatusCode, gb, w.StatusCode, wb)
	}
	if g.Header.Get("Server") != "kongsim" || !strings.Contains(g.Header.Get("Via"), "stand-in") {
		t.Errorf("the response does not say who answers: %v", g.Header)
	}
	names := slices.Sorted(maps.Keys(w.Header))
	have := slices.DeleteFunc(slices.Sorted(maps.Keys(g.Header)), func(n string) bool { return n == "Via" })
	if !slices.Equal(names, have) {
		t.Errorf("headers %v, Kong has %v", have, names)
	}
	for _, n := range []string{"Content-Type", "Content-Length", "Connection"} {
		if g.Header.Get(n) != w.Header.Get(n) {
			t.Errorf("%s: %q, Kong %q", n, g.Header.Get(n), w.Header.Get(n))
		}
	}
}

// TestReplayAnswersTheRecordedBytes runs each recording through the protocol
// without HTTP.
func TestReplayAnswersTheRecordedBytes(t *testing.T) {
	for _, rec := range loadRecordings(t) {
		var got [][]byte
		p := startFake(t, func(c *fakeConn) { got = c.askAll(rec.Calls...); ok(c) })
		w := newTestWorker(t, p.socket, WorkerOptions{})
		if rec.BodyInTempFile {
			var err error
			if rec, err = rec.WithBodyFile(filepath.Join(t.TempDir(), "body")); err != nil {
				t.Fatal(err)
			}
		}
		r := Replay(rec)
		exit, err := w.HandleEvent(t.Context(), plugin(1), r)
		if err != nil || exit.Status != 200 {
			t.Fatal(rec.Case, exit, err)
		}
		for i, c := range rec.Calls {
			if !bytes.Equal(got[i], c.Reply) {
				t.Errorf("%s: %s answers %q, recorded is %q", rec.Case, c.Method, got[i], c.Reply)
			}
			if rec.BodyInTempFile && c.Method == "kong.request.get_raw_body" {
				if b := checkFile(t, c.Reply); !bytes.Equal(b, rec.Body()) {
					t.Errorf("%s: the body file holds %d bytes", rec.Case, len(b))
				}
			}
		}
	}
}

func checkFile(t *testing.T, reply []byte) (content []byte) {
	eachField(reply, func(n protowire.Number, f field) (err error) {
		content, err = os.ReadFile(string(f.bytes))
		if err != nil {
			t.Error(err)
		}
		return nil
	})
	return content
}

// loadRecordings reads all recordings .
func loadRecordings(t testing.TB) (all []*Recording) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(recordings, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no recordings in %s", recordings)
	}
	for _, p := range paths {
		r, err := LoadRecording(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

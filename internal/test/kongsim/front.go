package kongsim

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// ServeHTTP answers a client's request.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	x := newExchange(s, r)
	if err := x.readBody(s.opts.BodyBuffer, s.bodies); err != nil {
		x.write(w, message(http.StatusBadRequest, "the body could not be read: "+err.Error(), x.requestID))
		return
	}
	exit, done := s.handle(x)
	x.write(w, exit)
	// The connection of an exit is closed when the request is over: after the response is
	// sent, and the temp file gone.
	if x.file != "" {
		_ = os.Remove(x.file)
	}
	done()
}

// newExchange takes what Kong would say of a request.
func newExchange(s *Sim, r *http.Request) *exchange {
	x := &exchange{sim: s, Request: r, start: time.Now(), requestID: fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())}
	x.remote, _ = net.ResolveTCPAddr("tcp", r.RemoteAddr)
	x.local, _ = r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	x.target = r.RequestURI
	if _, rest, ok := strings.Cut(x.target, "://"); ok { // the absolute form: nginx keeps the path
		_, path, _ := strings.Cut(rest, "/")
		x.target = "/" + path
	}
	if s.opts.Facts != nil {
		x.facts = s.opts.Facts(r)
	}
	add := func(name string, values ...string) {
		name = strings.ToLower(name)
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return // nginx's ignore_invalid_headers
		}
		for _, v := range values {
			x.headers = append(x.headers, Header{name, v})
		}
	}
	add("host", r.Host) // net/http takes this one and the next out of the header
	add("transfer-encoding", r.TransferEncoding...)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		add(name, r.Header[name]...)
	}
	return x
}

// readBody reads the body: into memory up to the buffer's size, into a temp file beyond it.
func (x *exchange) readBody(bufferSize int, tmp *tempDir) (err error) {
	x.content, err = io.ReadAll(io.LimitReader(x.Body, int64(bufferSize)+1))
	x.size = int64(len(x.content))
	if err != nil || len(x.content) <= bufferSize {
		return err
	}
	f, err := tmp.create()
	if err != nil {
		return err
	}
	defer f.Close()
	x.file = f.Name()
	if _, err = f.Write(x.content); err == nil {
		var rest int64
		rest, err = io.Copy(f, x.Body)
		x.size += rest
	}
	return err
}

// handle finds the response to a request. done ends what hangs on it.
func (s *Sim) handle(x *exchange) (exit *Exit, done func()) {
	route := s.current.Load().match(x.Method, strings.ToLower(x.Host), normalizePath(x.path()))
	if route == nil {
		return message(http.StatusNotFound, "no Route matched with those values", x.requestID), func() {}
	}
	if route.plugin == nil {
		return message(http.StatusServiceUnavailable, "kongsim is a stand-in for Kong and has no upstreams: no plugin is configured on this route that could answer", x.requestID), func() {}
	}
	x.route = route
	w, over := s.worker()
	exit, c, err := w.handleEvent(s.ctx, route.plugin, x)
	switch {
	case err != nil:
		s.log("err", "["+s.name+"] "+err.Error(), x)
		exit = message(http.StatusInternalServerError, "An unexpected error occurred", x.requestID)
	case exit == nil:
		exit = message(http.StatusServiceUnavailable, "kongsim is a stand-in for Kong and has no upstreams: the plugin did not answer this request itself", x.requestID)
	}
	return exit, func() {
		if c != nil {
			c.Close()
		}
		over()
	}
}

// message is an answer of the gateway itself, in Kong's form.
func message(status int, text, id string) *Exit {
	return &Exit{
		Status:  status,
		Headers: []Header{{"Content-Type", "application/json; charset=utf-8"}},
		Body:    fmt.Appendf(nil, "{\n  \"message\":%q,\n  \"request_id\":%q\n}", text, id),
	}
}

// write sends a response at once.
func (x *exchange) write(w http.ResponseWriter, e *Exit) {
	h := w.Header()
	h.Set("Server", "kongsim")
	for _, header := range e.Headers {
		h.Add(header.Name, header.Value)
	}
	h.Set("Via", "1.1 kongsim (a stand-in for Kong)")
	if e.Status == http.StatusNoContent { // as nginx does
		h.Del("Content-Type")
	} else {
		h.Set("Content-Length", strconv.Itoa(len(e.Body)))
	}
	h.Set("X-Kong-Response-Latency", strconv.FormatInt(time.Since(x.start).Milliseconds(), 10))
	h.Set("X-Kong-Request-Id", x.requestID)
	if !x.Close {
		h.Set("Connection", "keep-alive")
	}
	w.WriteHeader(e.Status)
	_, _ = w.Write(e.Body)
	_ = http.NewResponseController(w).Flush()
}

// stopServing answers the requests in flight, for 5 s at most, and closes the connections.
func stopServing(server *http.Server, listener net.Listener) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if server != nil && server.Shutdown(ctx) != nil {
		_ = server.Close()
	}
	if listener != nil { // which the server closes only once it serves
		_ = listener.Close()
	}
}

// tempDir is nginx's client_body_temp directory.
type tempDir struct {
	path string
	last atomic.Int64
}

// create makes the next file, readable by its owner only.
func (d *tempDir) create() (*os.File, error) {
	name := filepath.Join(d.path, fmt.Sprintf("%010d", d.last.Add(1)))
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

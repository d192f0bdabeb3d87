package kongsim

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	keepaliveTimeout = 75 * time.Second // nginx's keepalive_timeout
	bodyTimeout      = time.Minute      // nginx's client_body_timeout
)

// client is a connection of a client.
type client struct {
	conn net.Conn
	busy atomic.Bool
}

// endIdle closes the connection if no request is being answered on it.
func (c *client) endIdle() {
	if !c.busy.Load() {
		c.conn.Close()
	}
}

func (s *Sim) accept() {
	defer s.conns.Done()
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files
			select {
			case <-time.After(10 * time.Millisecond):
				continue
			case <-s.ctx.Done():
				return
			}
		}
		c := &client{conn: conn}
		s.mu.Lock()
		if s.closing {
			s.mu.Unlock()
			conn.Close()
			continue
		}
		s.clients[c] = struct{}{}
		s.conns.Add(1)
		s.mu.Unlock()
		go s.serve(c)
	}
}

func (s *Sim) serve(c *client) {
	defer func() {
		c.conn.Close()
		s.mu.Lock()
		delete(s.clients, c)
		s.mu.Unlock()
		s.conns.Done()
	}()
	br := bufio.NewReaderSize(c.conn, 4<<10)
	for {
		if err := c.conn.SetReadDeadline(time.Now().Add(keepaliveTimeout)); err != nil {
			return
		}
		c.busy.Store(false)
		if _, err := br.Peek(1); err != nil {
			return
		}
		c.busy.Store(true)
		s.mu.Lock()
		closing := s.closing
		s.mu.Unlock()
		if closing || !s.serveOne(c, br) {
			return
		}
	}
}

// serveOne answers one request and reports whether the connection lives on.
func (s *Sim) serveOne(c *client, br *bufio.Reader) bool {
	x := &exchange{
		sim:       s,
		remote:    c.conn.RemoteAddr().(*net.TCPAddr),
		local:     c.conn.LocalAddr().(*net.TCPAddr),
		requestID: requestID(),
		nginxID:   requestID(),
	}
	s.requests.Add(1)
	req, err := readRequestHead(br)
	if err == nil {
		x.httpRequest = req
		defer req.done()
		if err = c.conn.SetReadDeadline(time.Now().Add(bodyTimeout)); err == nil {
			err = req.readBody(br, s.opts.BodyBuffer, s.bodies, func() error {
				_, err := c.conn.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
				return err
			})
		}
	}
	if err != nil {
		var refused *httpError
		if errors.As(err, &refused) {
			x.write(c.conn, message(refused.status, refused.why, x.requestID), true)
		}
		return false
	}
	// The connection of an exit is closed when the request is over: after the
	// response is sent, and the temp file gone.
	exit, done := s.handle(x)
	err = x.write(c.conn, exit, req.close)
	req.done()
	done()
	return err == nil && !req.close
}

// handle finds the response to a request. done ends what hangs on it.
func (s *Sim) handle(x *exchange) (exit *Exit, done func()) {
	done = func() {}
	x.route = s.current.Load().match(x.method, x.host, normalizePath(x.path()))
	if x.route == nil {
		return message(http.StatusNotFound, "no Route matched with those values", x.requestID), done
	}
	if x.route.plugin == nil {
		return message(http.StatusServiceUnavailable, "kongsim is a stand-in for Kong and has no upstreams: no plugin is configured on this route that could answer", x.requestID), done
	}
	w, over := s.worker()
	exit, c, err := w.handleEvent(s.ctx, x.route.plugin, x)
	done = func() {
		if c != nil {
			c.Close()
		}
		over()
	}
	switch {
	case err != nil:
		s.log("err", "["+s.name+"] "+err.Error(), x)
		exit = message(http.StatusInternalServerError, "An unexpected error occurred", x.requestID)
	case exit == nil:
		exit = message(http.StatusServiceUnavailable, "kongsim is a stand-in for Kong and has no upstreams: the plugin did not answer this request itself", x.requestID)
	}
	return exit, done
}

func requestID() string { return fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()) }

// message is an answer of the gateway itself, in Kong's form.
func message(status int, text, id string) *Exit {
	return &Exit{
		Status:  status,
		Headers: []Header{{"Content-Type", "application/json; charset=utf-8"}},
		Body:    fmt.Appendf(nil, "{\n  \"message\":%q,\n  \"request_id\":%q\n}", text, id),
	}
}

// write sends a response in one write, its headers in nginx's order.
func (x *exchange) write(conn net.Conn, e *Exit, end bool) error {
	b := make([]byte, 0, 512+len(e.Body))
	reason := http.StatusText(e.Status)
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(e.Status), 10)
	b = append(b, ' ')
	b = append(b, reason...)
	b = append(b, "\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	hasServer := false
	for _, h := range e.Headers {
		switch strings.ToLower(h.Name) {
		case "date", "connection", "content-length", "transfer-encoding":
			continue
		case "server":
			hasServer = true
		}
		b = append(b, "\r\n"...)
		b = append(b, h.Name...)
		b = append(b, ": "...)
		b = append(b, h.Value...)
	}
	b = append(b, "\r\nConnection: "...)
	if end {
		b = append(b, "close"...)
	} else {
		b = append(b, "keep-alive"...)
	}
	noBody := e.Status < 200 || e.Status == http.StatusNoContent || e.Status == http.StatusNotModified
	if !noBody {
		b = append(b, "\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(e.Body)), 10)
	}
	if x.httpRequest != nil {
		b = append(b, "\r\nX-Kong-Response-Latency: "...)
		b = strconv.AppendInt(b, time.Since(x.start).Milliseconds(), 10)
	}
	if !hasServer {
		b = append(b, "\r\nServer: kongsim"...)
	}
	b = append(b, "\r\nVia: 1.1 kongsim (a stand-in for Kong)\r\nX-Kong-Request-Id: "...)
	b = append(b, x.requestID...)
	b = append(b, "\r\n\r\n"...)
	if !noBody && (x.httpRequest == nil || x.method != "HEAD") {
		b = append(b, e.Body...)
	}
	if err := conn.SetWriteDeadline(time.Now().Add(keepaliveTimeout)); err != nil {
		return err
	}
	_, err := conn.Write(b)
	return err
}

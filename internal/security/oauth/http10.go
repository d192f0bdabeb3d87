package oauth

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
)

// speakHTTP10 makes t send HTTP/1.0, which net/http does not offer: its connections replace
// the version in the request line. Each has one request.
func (t *transport) speakHTTP10() {
	dial := t.DialContext
	t.DisableKeepAlives = true
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &conn10{Conn: conn}, nil
	}
	// The Transport's own tunnels have no place for a connection within TLS.
	t.Proxy = func(r *http.Request) (*url.URL, error) {
		if r.URL.Scheme == "https" {
			return nil, nil
		}
		return t.proxy(r.URL)
	}
	t.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, t.o.Timeout)
		defer cancel()
		proxy, err := t.proxy(&url.URL{Scheme: "https", Host: addr})
		if err != nil {
			return nil, err
		}
		var conn net.Conn
		if proxy == nil {
			conn, err = dial(ctx, network, addr)
		} else {
			conn, err = t.tunnel(ctx, dial, proxy, addr)
		}
		if err != nil {
			return nil, err
		}
		config := t.TLSClientConfig.Clone()
		config.ServerName, _, _ = net.SplitHostPort(addr)
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		return &conn10{Conn: secure}, nil
	}
}

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// tunnel returns a connection to addr through a proxy.
func (t *transport) tunnel(ctx context.Context, dial dialFunc, proxy *url.URL, addr string) (net.Conn, error) {
	port := proxy.Port()
	if port == "" {
		port = "80"
	}
	conn, err := dial(ctx, "tcp", net.JoinHostPort(proxy.Hostname(), port))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err = t.connect(conn, addr)
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// connect has the proxy at the other end of conn connect it with addr.
func (t *transport) connect(conn net.Conn, addr string) error {
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: t.ProxyConnectHeader}
	if err := request.Write(conn); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxHeader)), request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New("the proxy answers " + response.Status)
	}
	return nil
}

// conn10 is a connection for one request, which it sends as HTTP/1.0.
type conn10 struct {
	net.Conn
	begun bool
}

// Write implements [net.Conn]. The first one holds the request line.
func (c *conn10) Write(b []byte) (int, error) {
	if c.begun {
		return c.Conn.Write(b)
	}
	c.begun = true
	// The replacement has the same length, so the count of written bytes is that of b.
	return c.Conn.Write(bytes.Replace(b, []byte(" HTTP/1.1\r\n"), []byte(" HTTP/1.0\r\n"), 1))
}

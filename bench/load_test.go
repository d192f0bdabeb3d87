//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// serve is a plugin: it answers START, and lets event have its say about each
// request. What event returns is sent.
func serve(t *testing.T, event func(c net.Conn) []byte) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serveOne(c, event)
		}
	}()
	return socket
}

func serveOne(c net.Conn, event func(c net.Conn) []byte) {
	defer c.Close()
	for {
		command, err := receive(c)
		if err != nil {
			return
		}
		if _, start := fieldOf(command, cmdStartInstance); start {
			status := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 7)
			_ = send(c, newFrame(bytesField(33, string(status))))
			continue
		}
		if _, err := c.Write(event(c)); err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, c)
		return
	}
}

// said is what a plugin sends to call Kong.
func said(method string, args []byte) []byte { return append([]byte(ask(method, args)), args...) }

func exit(status int) []byte {
	return said(exitMethod, protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(status)))
}

func testJob(socket string, n int64) job {
	return job{Socket: socket, Connections: 1, Configs: [][]byte{[]byte("{}")}, Workers: 1, Request: *baselineRequest(), Count: n}
}

func TestLoadFailsOnWhatKongCallsAnError(t *testing.T) {
	for name, c := range map[string]struct {
		event func(net.Conn) []byte
		want  string
	}{
		"closed early":     {func(c net.Conn) []byte { c.Close(); return nil }, "closed the connection of a request before its answer"},
		"unknown ask":      {func(net.Conn) []byte { return said("kong.request.get_weather", []byte("x")) }, `kong.request.get_weather("x")`},
		"end without exit": {func(net.Conn) []byte { return make([]byte, 4) }, "without an exit"},
		"log":              {func(net.Conn) []byte { return said("kong.log.err", []byte("trouble")) }, "trouble"},
		"no status":        {func(net.Conn) []byte { return said(exitMethod, nil) }, "status 0"},
		"no protocol":      {func(net.Conn) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n") }, "does not speak Kong's protocol"},
	} {
		_, err := runLoad(testJob(serve(t, c.event), 1))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

func TestStatusesAreCounted(t *testing.T) {
	n := 0
	o, err := runLoad(testJob(serve(t, func(net.Conn) []byte {
		n++
		return exit(200 + 303*(n%2))
	}), 10))
	if err != nil {
		t.Fatal(err)
	}
	if o.Answered["200"] != 5 || o.Answered["503"] != 5 {
		t.Errorf("%d requests, %v, %v", o.Requests, o.Answered, err)
	}
}

func TestLoadEndsAtTheFirstRefusal(t *testing.T) {
	n := 0
	j := testJob(serve(t, func(net.Conn) []byte {
		if n++; n == 7 {
			return exit(503)
		}
		return exit(200)
	}), 100)
	j.UntilRefused = true
	o, err := runLoad(j)
	if err != nil {
		t.Fatal(err)
	}
	if o.Requests != 7 || o.Answered["200"] != 6 {
		t.Errorf("%d requests, %v, %v", o.Requests, o.Answered, err)
	}
}

// A reply that is larger than the socket's buffer goes out in pieces, and so
// does what follows it.
func TestLargeReplyArrivesWhole(t *testing.T) {
	j := testJob("", 3)
	j.Request.Body = bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	type heard struct{ body, method []byte }
	all := make(chan heard, 3)
	j.Socket = serve(t, func(c net.Conn) []byte {
		_, _ = c.Write(append(said("kong.request.get_raw_body", nil), said("kong.request.get_method", nil)...))
		var head [4]byte
		_, _ = io.ReadFull(c, head[:])
		body := make([]byte, binary.LittleEndian.Uint32(head[:]))
		_, _ = io.ReadFull(c, body)
		method, _ := receive(c)
		all <- heard{body, method}
		return exit(200)
	})
	o, err := runLoad(j)
	if err != nil {
		t.Fatal(err)
	}
	if o.Answered["200"] != 3 {
		t.Error(o.Answered)
	}
	for range 3 {
		h := <-all
		if content, _ := fieldOf(h.body, 1); !bytes.Equal(content, j.Request.Body) {
			t.Errorf("%d bytes of the body arrived, not as they were", len(content))
		}
		if !bytes.Equal(h.method, text("POST")) {
			t.Errorf("the reply behind it is %q", h.method)
		}
	}
}

func TestLoadAllocatesNothingForARequest(t *testing.T) {
	p, err := startPlugin(t.Context(), program(t, noop))
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	allocated := func(n int64) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := runLoad(testJob(p.socket, n)); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.Mallocs - before.Mallocs
	}
	if few, many := allocated(10), allocated(1010); many > few+50 {
		t.Errorf("%d objects for 10 requests, %d for 1010", few, many)
	}
}

package kongsim

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
)

// BenchmarkEvent is what one event costs on Kong's side alone, against a plugin
// that asks for four things in one write.
func BenchmarkEvent(b *testing.B) {
	rec, err := LoadRecording(recordings + "/post-json.json")
	if err != nil {
		b.Fatal(err)
	}
	calls := rec.Calls[:4]
	p := startFake(b, func(c *fakeConn) { c.askAll(calls...); ok(c) })
	w := newTestWorker(b, p.socket, WorkerOptions{})
	a := Replay(rec)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.HandleEvent(b.Context(), plugin(1), a); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRequest is the same behind the HTTP front.
func BenchmarkRequest(b *testing.B) {
	p := startFake(b, ok)
	s := startSim(b, Options{Socket: p.socket, Config: []byte(recordedConfig)})
	conn, err := net.Dial("tcp", s.listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	br := bufio.NewReader(conn)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: kafka-upstream.dev\r\nContent-Length: 7\r\n\r\nfoo=bar"); err != nil {
			b.Fatal(err)
		}
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
	}
}

package companion

import (
	"bytes"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/request"
)

// play has a session receive b, n bytes at a time, and answers each request that comes. It
// returns what was sent, how many requests there were, and whether the session has ended.
func play(t testing.TB, b []byte, n int) (sent received, seen []string, ended bool) {
	limit := memory.NewLimit(1 << 20)
	out := new(outbox)
	s := &session{
		plugin: &Plugin{Version: "1.2.3", Start: func([]byte) plugin.Handler { return &fakeHandler{needs: fuzzed} }, Certificate: func(string, []byte, []byte) {}},
		in:     newBuffer(limit), out: out, configs: newConfigs(0), leaving: func() bool { return false },
	}
	s.x = new(exchange)
	var wire bytes.Buffer
	for {
		act := s.step()
		if act == run {
			r := new(request.Request)
			taken := int64(0)
			a := plugin.Sent.Response()
			if path, err := readRequest(s.x.payload, s.x.flags, &fuzzed, func(n int64) bool { taken += n; return taken < 1<<20 }, r); err != nil {
				a = s.x.config.handler.Refuse(err)
			} else {
				seen = append(seen, string(path)+show(r))
			}
			out.answer(s.x.id, &a, s.x.began)
			continue
		}
		if err := out.flush(&wire, func([]count) {}); err != nil {
			t.Fatal(err)
		}
		if act == end {
			ended = true
			break
		}
		k := min(n, len(b), len(s.in.room()))
		if k == 0 {
			if len(b) > 0 {
				t.Fatal("there is no room to read into")
			}
			break
		}
		s.in.add(copy(s.in.room(), b[:k]))
		b = b[k:]
	}
	s.in.free()
	if limit.Used() != 0 {
		t.Fatalf("%d bytes are taken", limit.Used())
	}
	rest, err := sent.parse(wire.Bytes())
	if err != nil || len(rest) > 0 {
		t.Fatalf("%v, %d bytes are left", err, len(rest))
	}
	return sent, seen, ended
}

var fuzzed = request.Fields{Method: true, URI: true, Query: true, Headers: true, Body: true, MaxBody: 100 << 10,
	Facts: []request.Fact{{Call: request.CallConsumer}, {Call: "kong.ctx.shared.get", Name: "x"}}}

// seeds are what a handler sends.
func seeds() [][]byte {
	facts := []byte("\x06\x01\x00\x00\x00\x02\x00\x00\x00id\x04\x01\x00\x00\x00c\x05\x02\x00\x00\x00\x01\x03\x00\x00\x00\x00\x00\x00\xf0\x3f")
	full := sentRequest{id: 7, config: 1, method: "POST", uri: "/a?b", query: "b", headers: []string{"host", "h", "x-a", ""}, facts: facts, body: "{}"}
	inFile := full
	inFile.flags, inFile.body = flagBodyFile, "/tmp/1"
	cert := appendText(appendText(appendText(nil, "id"), "cert"), "key")
	return [][]byte{
		slices.Concat(hello(), configOf(1, "{}"), full.frame(), full.frame()),
		slices.Concat(hello(), configOf(1, "{}"), inFile.frame(), forget(1), full.frame()),
		slices.Concat(hello(), frameOf(kindCertificate, 0, cert), configOf(1, "{}"), post(1, 1, string(make([]byte, 50<<10)))),
		[]byte("GET / HTTP/1.1\r\n\r\n"),
	}
}

// However the bytes arrive, the same is done, each request that is there in whole gets at most
// one answer, and what is sent can be read.
func FuzzSession(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed, uint16(7))
	}
	f.Fuzz(func(t *testing.T, b []byte, n uint16) {
		whole, seen, ended := play(t, b, len(b))
		parts, again, endedToo := play(t, b, int(n)+1)
		if !reflect.DeepEqual(seen, again) || ended != endedToo || !reflect.DeepEqual(whole, parts) {
			t.Errorf("at once: %q, %+v; in parts: %q, %+v", seen, whole, again, parts)
		}
	})
}

// FRAMES=100000000 go test -run TestMutatedFrames does what its name says for that many.
func TestMutatedFrames(t *testing.T) {
	frames, _ := strconv.Atoi(os.Getenv("FRAMES"))
	frames = max(frames, 100_000)
	rng := rand.New(rand.NewPCG(1, uint64(frames)))
	full := seeds()[0]
	prefix := len(hello()) + len(configOf(1, "{}"))
	full = full[:prefix+(len(full)-prefix)/2]
	b := make([]byte, 0, 1<<20)
	for done := 0; done < frames; {
		b = append(b[:0], full[:prefix]...)
		for range 200 {
			from := len(b)
			b = append(b, full[prefix:]...)
			for range rng.IntN(3) {
				// The length and the kind stay, so that what follows is read.
				b[from+5+rng.IntN(len(b)-from-5)] = byte(rng.Uint32())
			}
			done++
		}
		play(t, b, 16<<10)
	}
}

package brokerconn

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzCheck has kafka-go decode whatever is taken for an answer.
func FuzzCheck(f *testing.F) {
	keys := []kmsg.Key{kmsg.ApiVersions, kmsg.Metadata, kmsg.Produce, kmsg.SASLHandshake, kmsg.SASLAuthenticate, kmsg.InitProducerID}
	for i, key := range keys {
		for v := range newest(int16(key)) + 1 {
			f.Add(byte(i), byte(v), bodyOf(answerTo(key, v)))
		}
	}
	f.Fuzz(func(t *testing.T, k, v byte, body []byte) {
		key := keys[int(k)%len(keys)]
		version := int16(v) % (newest(int16(key)) + 1)
		r := asking(key, version)
		if len(body) > r.limit() || r.check(body) != nil {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, _, err := protocol.ReadResponse(bytes.NewReader(frame(7, body)), protocol.ApiKey(key), version); err != nil {
			t.Errorf("taken, and kafka-go says %v", err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > uint64(16*len(body)+64<<10) {
			t.Errorf("%d bytes were allocated for %d", n, len(body))
		}
	})
}

package registry

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
)

// FuzzAnswers: whatever a registry answers, a schema is had or there is an error of a bounded
// line, and what a schema makes of a document begins with its header.
func FuzzAnswers(f *testing.F) {
	f.Add(200, []byte(`{"subject":"user","version":1,"id":5,"schema":"\"string\""}`), []byte(`"a"`))
	f.Add(200, []byte(`{"version":1,"id":5,"schemaType":"JSON","schema":"{\"type\":\"object\"}","references":[{"name":"a","subject":"user","version":1}]}`), []byte(`{}`))
	f.Add(200, []byte(`{"version":1,"id":5,"schemaType":"PROTOBUF","schema":"syntax = \"proto3\"; message M { string a = 1; }"}`), []byte(`{"a":"b"}`))
	f.Add(404, []byte(`{"error_code":40401,"message":"Subject \n not found."}`), []byte(``))
	f.Add(302, []byte(`<html>`), []byte(``))
	f.Fuzz(func(t *testing.T, status int, body, doc []byte) {
		if status < 200 || status > 599 {
			status = 200
		}
		synctest.Test(t, func(t *testing.T) {
			d := &direct{handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				_, _ = w.Write(body)
			})}
			p := NewPool(Env{Log: discard, transport: d})
			defer p.Close()
			s := acquire(t, p, Options{URL: "http://registry", TTL: time.Hour, Value: Subject{Name: "user"}, MaxValue: 1 << 20})
			if err := ready(t, s); err != nil {
				_, unavailable := errors.AsType[*UnavailableError](err)
				_, unusable := errors.AsType[*SchemaError](err)
				text := err.Error()
				if !unavailable && !unusable || len(text) > 2000 || !utf8.ValidString(text) || strings.ContainsAny(text, "\n\x1b") {
					t.Errorf("%T: %q", err, text)
				}
				return
			}
			for _, key := range []bool{false, true} {
				got, err := (&Serializer{s.Value.entry, key}).Append([]byte("x"), doc)
				bad, isBad := errors.AsType[*record.BadRequest](err)
				switch {
				case err == request.ErrTooLarge && string(got) == "x":
				case err == nil && (len(got) < 6 || got[1] != 0):
					t.Errorf("%q", got)
				case err != nil && (!isBad || !bad.Schema || string(got) != "x" || len(bad.Reason) > 2000):
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	})
}

package sandbox

import (
	"errors"
	"runtime"
	"testing"
	"time"

	glua "github.com/yuin/gopher-lua"
)

// Any text ends, as an Error or a value, within its limits.
func FuzzRun(f *testing.F) {
	for _, h := range hostile {
		f.Add(h.source)
	}
	f.Add("return function(m) m.x = {1, 2, y = 'z'} for k, v in pairs(m) do m[k] = v .. '!' end return m end")
	f.Add("local a <const> = 0xffULL goto x ::x:: return [==[\n]]]==] .. \"\\z \\x41\\u{7f}\"")
	limits := Limits{Instructions: 20_000, Bytes: 1 << 20, Time: time.Second}
	f.Fuzz(func(t *testing.T, source string) {
		if len(source) > 4096 {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begin := time.Now()
		p, err := Compile("fuzz", source)
		if err != nil {
			var e *SyntaxError
			if !errors.As(err, &e) || e.Line < 1 || e.Text == "" {
				t.Fatalf("%#v", err)
			}
			return
		}
		s := New(limits)
		v, err := s.Run(p)
		if fn, ok := v.(*glua.LFunction); ok && err == nil {
			_, err = s.Call(fn, s.L().NewTable())
		}
		took := time.Since(begin)
		runtime.ReadMemStats(&after)
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("%#v", err)
		}
		if made := after.TotalAlloc - before.TotalAlloc; made > 64<<20 {
			t.Errorf("made %d MiB", made>>20)
		}
		if took > 5*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

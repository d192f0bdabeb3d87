//go:build faults

package main

import (
	"bytes"

	"kafka-upstream/internal/kongpdk"
)

// A program built with the tag "faults" panics at each request of the topic "fault-panic", so
// that tests can see what happens to the others.
func init() {
	fault = func(p *kongpdk.Plugin) {
		start := p.Start
		p.Start = func(config []byte) kongpdk.Instance {
			in := start(config)
			if bytes.Contains(config, []byte(`"fault-panic"`)) {
				return panicking{in}
			}
			return in
		}
	}
}

type panicking struct{ kongpdk.Instance }

func (panicking) Access(*kongpdk.Exchange) { panic("a fault was injected") }

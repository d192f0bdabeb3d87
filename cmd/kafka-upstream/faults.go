//go:build faults

package main

import (
	"bytes"
	"context"

	"kafka-upstream/internal/kongpdk"
	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/request"
)

// A program built with the tag "faults" panics at each request of the topic "fault-panic", so
// that tests can see what happens to the others.
func init() {
	fault = func(p *kongpdk.Plugin) {
		start := p.Start
		p.Start = func(config []byte) plugin.Handler {
			h := start(config)
			if bytes.Contains(config, []byte(`"fault-panic"`)) {
				return panicking{h}
			}
			return h
		}
	}
}

type panicking struct{ plugin.Handler }

func (panicking) Handle(context.Context, plugin.Exchange, *request.Request) plugin.Response {
	panic("a fault was injected")
}

package companion

import (
	"container/list"

	"kafka-upstream/internal/plugin"
	"kafka-upstream/internal/request"
)

// configuration is a configuration that a worker has sent, and its handler.
type configuration struct {
	number  uint32 // the worker's
	handler plugin.Handler
	needs   request.Fields
	size    int64 // about how many bytes it takes
	element *list.Element
}

const (
	// configSize is about what a configuration takes in addition to its text.
	configSize = 3 << 10
	// configsShare is the share of the memory limit that the configurations of one connection
	// may take, and maxConfigs what they may take without a limit, in bytes.
	configsShare = 64
	maxConfigs   = 16 << 20
	minConfigs   = 1 << 20
)

// configs are the configurations of one connection by number, those used last first. The
// handler takes back those that Kong no longer has; beyond limit bytes those that were not used
// for the longest time are closed. A worker sends such a one again when it needs it.
type configs struct {
	byNumber map[uint32]*configuration
	order    list.List
	size     int64
	limit    int64
	maxBody  int // the largest body that any of them has ever wanted
}

func newConfigs(memory int64) *configs {
	c := &configs{byNumber: make(map[uint32]*configuration), limit: maxConfigs}
	if memory > 0 {
		c.limit = max(memory/configsShare, minConfigs)
	}
	return c
}

// get returns a configuration that is about to be used, nil if there is none.
func (c *configs) get(number uint32) *configuration {
	conf := c.byNumber[number]
	if conf != nil && c.order.Front() != conf.element {
		c.order.MoveToFront(conf.element)
	}
	return conf
}

// add adds a configuration, whose text has that length, in place of an earlier one with the same
// number. It closes those that there is no room for.
func (c *configs) add(number uint32, h plugin.Handler, text int) *configuration {
	c.remove(number)
	conf := &configuration{number: number, handler: h, needs: h.Needs(), size: configSize + int64(text)}
	conf.element = c.order.PushFront(conf)
	c.byNumber[number] = conf
	c.size += conf.size
	c.maxBody = max(c.maxBody, conf.needs.MaxBody)
	for c.size > c.limit && c.order.Len() > 1 {
		c.remove(c.order.Back().Value.(*configuration).number)
	}
	return conf
}

// remove closes a configuration, if there is one.
func (c *configs) remove(number uint32) {
	conf := c.byNumber[number]
	if conf == nil {
		return
	}
	delete(c.byNumber, number)
	c.order.Remove(conf.element)
	c.size -= conf.size
	conf.handler.Close()
}

func (c *configs) removeAll() {
	for number := range c.byNumber {
		c.remove(number)
	}
}

package spool

import "sync"

// buffers are for reading: queues read now and then.
var buffers = sync.Pool{New: func() any { return make([]byte, readSize) }}

func takeBuffer() []byte { return buffers.Get().([]byte) }

func giveBuffer(b []byte) {
	if cap(b) == readSize {
		//lint:ignore SA6002 an allocation of 24 bytes for each read
		buffers.Put(b[:readSize])
	}
}

//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// start starts an instance of each configuration for each of Kong's workers,
// over one connection, as a worker keeps it, unless the job has them.
func (l *load) start() error {
	if l.outcome.Instances = l.job.Instances; l.outcome.Instances != nil {
		return nil
	}
	c, err := net.Dial("unix", l.Socket)
	if err != nil {
		return fmt.Errorf("connecting to the plugin: %w", err)
	}
	defer c.Close()
	for range max(l.Workers, 1) {
		for _, config := range l.Configs {
			if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				return err
			}
			answer, err := converse(c, startInstance(config))
			if err != nil {
				return fmt.Errorf("starting an instance: %w", err)
			}
			id, err := instanceOf(answer)
			if err != nil {
				return err
			}
			l.outcome.Instances = append(l.outcome.Instances, id)
		}
	}
	return nil
}

// converse sends a command and returns the frame that answers it.
func converse(c net.Conn, f frame) ([]byte, error) {
	if err := send(c, f); err != nil {
		return nil, err
	}
	return receive(c)
}

func send(c net.Conn, f frame) error {
	if _, err := c.Write(f.head); err != nil {
		return err
	}
	_, err := c.Write(f.content)
	return err
}

func receive(c net.Conn) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > maxFrame {
		return nil, fmt.Errorf("a frame of %d bytes", n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(c, b)
	return b, err
}

// maxFrame is more than a plugin has to say.
const maxFrame = 1 << 20

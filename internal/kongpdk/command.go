package kongpdk

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of the commands among the fields of an RpcCall (go-pdk's
// pluginsocket.proto).
const (
	cmdGetPluginNames    = 31
	cmdGetPluginInfo     = 32
	cmdStartInstance     = 33
	cmdGetInstanceStatus = 34
	cmdCloseInstance     = 35
	cmdHandleEvent       = 36
)

// command is an RpcCall, read at wire level: one comes with each request.
type command struct {
	sequence int64
	kind     protowire.Number // 0: none
	body     []byte           // the command's own message
}

var errCommand = errors.New("the command is not a protobuf message")

// parseCommand reads an RpcCall. Its fields may be in any order. As protobuf requires, it
// skips unknown fields, and the last of several commands counts.
func parseCommand(b []byte) (command, error) {
	var c command
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return c, errCommand
		}
		b = b[n:]
		switch {
		case num == 1 && typ == protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return c, errCommand
			}
			c.sequence, b = int64(v), b[n:]
		case num >= cmdGetPluginNames && num <= cmdHandleEvent && typ == protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return c, errCommand
			}
			c.kind, c.body, b = num, v, b[n:]
		default:
			n := protowire.ConsumeFieldValue(num, typ, b)
			if n < 0 {
				return c, errCommand
			}
			b = b[n:]
		}
	}
	return c, nil
}

// parseEvent reads a CmdHandleEvent.
func parseEvent(b []byte) (instance int32, phase []byte, err error) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, nil, errCommand
		}
		b = b[n:]
		switch {
		case num == 1 && typ == protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return 0, nil, errCommand
			}
			instance, b = int32(v), b[n:]
		case num == 2 && typ == protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return 0, nil, errCommand
			}
			phase, b = v, b[n:]
		default:
			n := protowire.ConsumeFieldValue(num, typ, b)
			if n < 0 {
				return 0, nil, errCommand
			}
			b = b[n:]
		}
	}
	return instance, phase, nil
}

package main

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// What Kong's side of the plugin protocol says, in bytes; see docs/protocol.md.

// frame is a frame in the two pieces that Kong sends it in: a little-endian
// uint32, and as many bytes. The second is empty for an empty frame.
type frame struct{ head, content []byte }

func newFrame(content []byte) frame {
	return frame{binary.LittleEndian.AppendUint32(nil, uint32(len(content))), content}
}

// The numbers of the commands in an RpcCall.
const (
	cmdStartInstance = 33
	cmdHandleEvent   = 36
)

func call(command protowire.Number, fields ...[]byte) frame {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1) // sequence
	b = protowire.AppendTag(b, command, protowire.BytesType)
	return newFrame(protowire.AppendBytes(b, slices.Concat(fields...)))
}

// startInstance is the command that makes an instance of a configuration.
func startInstance(config []byte) frame {
	return call(cmdStartInstance, bytesField(1, "kafka-upstream"), bytesField(2, string(config)))
}

// handleEvent is the command that hands an instance a request.
func handleEvent(instance int32) frame {
	id := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(uint32(instance)))
	return call(cmdHandleEvent, id, bytesField(2, "access"))
}

// instanceOf reads the instance's id in the answer to startInstance.
func instanceOf(answer []byte) (int32, error) {
	status, ok := fieldOf(answer, 33)
	id, typ := status, protowire.Type(-1)
	for len(id) > 0 {
		var n protowire.Number
		var size int
		n, typ, size = protowire.ConsumeTag(id)
		if size < 0 {
			break
		}
		id = id[size:]
		if n == 2 && typ == protowire.VarintType {
			if v, size := protowire.ConsumeVarint(id); size > 0 {
				return int32(v), nil
			}
		}
		if size = protowire.ConsumeFieldValue(n, typ, id); size < 0 {
			break
		}
		id = id[size:]
	}
	return 0, fmt.Errorf("the answer to START holds no instance (%t): %q", ok, answer)
}

// fieldOf returns the bytes of the message's first field of that number.
func fieldOf(b []byte, want protowire.Number) ([]byte, bool) {
	for len(b) > 0 {
		n, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return nil, false
		}
		b = b[size:]
		if n == want && typ == protowire.BytesType {
			v, size := protowire.ConsumeBytes(b)
			return v, size >= 0
		}
		if size = protowire.ConsumeFieldValue(n, typ, b); size < 0 {
			return nil, false
		}
		b = b[size:]
	}
	return nil, false
}

// exitStatus reads the status in the arguments of kong.response.exit; 0 if
// there is none.
func exitStatus(args []byte) int {
	for len(args) > 0 {
		n, typ, size := protowire.ConsumeTag(args)
		if size < 0 {
			return 0
		}
		args = args[size:]
		if n == 1 && typ == protowire.VarintType {
			v, _ := protowire.ConsumeVarint(args)
			return int(int32(v))
		}
		if size = protowire.ConsumeFieldValue(n, typ, args); size < 0 {
			return 0
		}
		args = args[size:]
	}
	return 0
}

func bytesField(n protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, n, protowire.BytesType), s)
}

// text is Kong's String: nothing at all for an empty one.
func text(s string) []byte {
	if s == "" {
		return nil
	}
	return bytesField(1, s)
}

// ask is what a plugin sends to ask something: two frames.
func ask(method string, args []byte) string {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(method)))
	b = append(b, method...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(args)))
	return string(append(b, args...))
}

// httpRequest is the request that a plugin is told about, over and over.
type httpRequest struct {
	Method, Path, Query string
	// Headers have lower-case names.
	Headers [][2]string
	Body    []byte
	// File, if set, is the temporary file that Kong has put the body into.
	File string
}

// replies are Kong's replies to all that a plugin may ask about the request, by
// the bytes of the ask.
func (r *httpRequest) replies() map[string]frame {
	target := r.Path
	if r.Query != "" {
		target += "?" + r.Query
	}
	all := make(map[string]frame)
	add := func(method string, args, reply []byte) { all[ask("kong."+method, args)] = newFrame(reply) }
	number := func(n int) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(n))
	}

	add("request.get_method", nil, text(r.Method))
	add("request.get_path", nil, text(r.Path))
	add("request.get_path_with_query", nil, text(target))
	add("request.get_raw_query", nil, text(r.Query))
	args := make(map[string]string)
	for part := range strings.SplitSeq(r.Query, "&") {
		if name, value, ok := strings.Cut(part, "="); ok {
			args[name] = value
		}
	}
	var query [][2]string
	for _, name := range slices.Sorted(maps.Keys(args)) {
		query = append(query, [2]string{name, args[name]})
	}
	for _, limit := range [][]byte{nil, number(100), number(1000)} {
		add("request.get_query", limit, structure(query))
		n := 1000
		if len(limit) != 3 {
			n = 100
		}
		add("request.get_headers", limit, structure(r.Headers[:min(len(r.Headers), n)]))
	}
	var contentType, contentLength string
	for _, h := range r.Headers {
		add("request.get_header", text(h[0]), text(h[1]))
		add("nginx.get_var", text("http_"+strings.ReplaceAll(h[0], "-", "_")), text(h[1]))
		switch h[0] {
		case "content-type":
			contentType = h[1]
		case "content-length":
			contentLength = h[1]
		}
	}
	body := bytesField(1, string(r.Body))
	if r.File != "" {
		body = bytesField(2, r.File)
	}
	add("request.get_raw_body", nil, body)
	for name, value := range map[string]string{
		"request":                r.Method + " " + target + " HTTP/1.1",
		"kafka_upstream_request": r.Method + " " + target + "\n" + r.Query, // see docs/configuration.md
		"request_method":         r.Method, "request_uri": target, "uri": r.Path, "args": r.Query, "query_string": r.Query,
		"server_protocol": "HTTP/1.1", "content_type": contentType, "content_length": contentLength,
	} {
		add("nginx.get_var", text(name), text(value))
	}
	return all
}

// structure encodes google.protobuf.Struct with a text for each name.
func structure(pairs [][2]string) []byte {
	var b []byte
	for _, p := range pairs {
		entry := slices.Concat(bytesField(1, p[0]), bytesField(2, string(bytesField(3, p[1]))))
		b = append(b, bytesField(1, string(entry))...)
	}
	return b
}

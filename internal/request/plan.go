package request

import (
	"errors"
	"fmt"
	"io"
	"os"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"

	"kafka-upstream/internal/pluginserver"
)

// ErrTooLarge is the error of a body above the plan's limit. None of it was
// read into memory beyond that.
var ErrTooLarge = errors.New("request body above the limit")

// BodyError is the error of a body that could not be had: it says why and what
// to do, for the operator.
type BodyError struct{ Reason string }

func (e *BodyError) Error() string { return e.Reason }

// maxHeaders is Kong's own limit of what get_headers can be asked for. Above
// the number asked, Kong cuts them without a word.
const maxHeaders = 1000

// Plan is what has to be asked of Kong to know some parts of a request. It is
// read-only, so many requests may use it at once.
type Plan struct {
	parts Parts
	limit int
	asks  pluginserver.Asks

	method, uri, query, headers, body int // numbers of the asks
}

// NewPlan returns the plan for these parts, with no more asks than they need:
// each costs Kong and us a message. A body above limit bytes is refused.
func NewPlan(parts Parts, limit int) *Plan {
	p := &Plan{parts: parts, limit: limit}
	if parts.Method {
		p.method = p.asks.Add("kong.request.get_method", nil, 0)
	}
	if parts.URI {
		p.uri = p.asks.Add("kong.request.get_path_with_query", nil, 0)
		p.query = p.asks.Add("kong.request.get_raw_query", nil, 0)
	}
	if parts.Headers || parts.Body {
		p.headers = p.asks.Add("kong.request.get_headers", &pb.Int{V: maxHeaders}, 0)
	}
	if parts.Body {
		const envelope = 16 // tag and length around the content
		p.body = p.asks.Add("kong.request.get_raw_body", nil, limit+envelope)
	}
	return p
}

// Asks returns the plan's asks.
func (p *Plan) Asks() *pluginserver.Asks { return &p.asks }

// Read fills r, which must be new or reset, with Kong's replies to the asks. A
// body that Kong has put into a file is read from it. The error is
// [ErrTooLarge], a [*BodyError], or that of a conversation that broke down.
func (p *Plan) Read(x *pluginserver.Exchange, r *Request) (err error) {
	if p.parts.Method {
		if r.Method, err = text(x, p.method); err != nil {
			return fmt.Errorf("method: %w", err)
		}
	}
	if p.parts.URI {
		if r.URI, err = text(x, p.uri); err != nil {
			return fmt.Errorf("path: %w", err)
		}
		if r.Query, err = text(x, p.query); err != nil {
			return fmt.Errorf("query: %w", err)
		}
	}
	if p.parts.Headers || p.parts.Body {
		b, err := x.Reply(p.headers)
		if err == nil {
			r.Headers, err = appendHeaders(r.Headers, b)
		}
		if err != nil {
			return fmt.Errorf("headers: %w", err)
		}
	}
	if p.parts.Body {
		b, err := x.Reply(p.body)
		if errors.Is(err, pluginserver.ErrTooLarge) {
			return ErrTooLarge
		}
		if err == nil {
			err = p.readBody(r, b, x.WillBlock)
		}
		return err
	}
	return nil
}

func text(x *pluginserver.Exchange, ask int) ([]byte, error) {
	b, err := x.Reply(ask)
	if err != nil {
		return nil, err
	}
	return parseText(b)
}

func (p *Plan) readBody(r *Request, reply []byte, willBlock func()) error {
	content, path, reason, err := parseBody(reply)
	switch {
	case err != nil:
		return fmt.Errorf("body: %w", err)
	case len(reason) > 0:
		return &BodyError{fmt.Sprintf("Kong could not read the request body: %s", reason)}
	case len(path) > 0:
		willBlock() // a disk may be slow
		r.file, err = readFile(r.file, string(path), p.limit)
		r.Body = r.file
		return err
	case len(content) > p.limit:
		return ErrTooLarge
	}
	r.Body = content
	return nil
}

// readFile reads the file into b, from its start. The file exists until the
// request ends, that is until we answer.
func readFile(b []byte, path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return b, fileError(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return b, fileError(path, err)
	}
	if info.Size() > int64(limit) {
		return b, ErrTooLarge
	}
	n := int(info.Size())
	if cap(b) < n {
		b = make([]byte, n)
	}
	b = b[:n]
	if _, err := io.ReadFull(f, b); err != nil {
		return b, fileError(path, err)
	}
	return b, nil
}

func fileError(path string, err error) error {
	var cause error = err
	if e, ok := errors.AsType[*os.PathError](err); ok {
		cause = e.Err
	}
	cure := "the file must be on a file system that the plugin server shares with Kong"
	if errors.Is(err, os.ErrPermission) {
		cure = "Kong's worker user owns the file, so run the plugin server as that user"
	}
	return &BodyError{fmt.Sprintf(
		"could not read the request body from %s: %v; %s, or set nginx_http_client_body_buffer_size in kong.conf above the largest body so that none goes to a file",
		path, cause, cure)}
}

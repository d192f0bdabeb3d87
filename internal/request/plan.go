package request

import (
	"errors"
	"fmt"
	"sync/atomic"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"

	"kafka-upstream/internal/kongpdk"
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

// Plan is what has to be asked of Kong to know some parts of a request. Many
// requests may use it at once.
type Plan struct {
	parts Parts
	limit int
	asks  kongpdk.Asks

	variable      string // nginx's, that says the target; "" asks Kong's own calls
	head          int    // numbers of the asks
	headers, body int
	target        target
	further       kongpdk.Asks // where the variable is not enough
	unset         atomic.Bool  // the variable was found to be, and that was said
}

// target says which of Kong's own calls tell the method, the URI and the query.
type target struct{ method, uri, query int }

// NewPlan returns the plan for these parts, with no more asks than they need:
// each costs Kong and us a message. A body above limit bytes is refused.
//
// If variable names one of nginx's variables, the method, the URI and the query are
// read off that, one ask in place of up to three, unless it does not say them for
// certain. "request" is the request line: it must not be named where another plugin
// may have changed the method or the query, for it is what the client has sent. One
// that kong.conf defines for this is right in any case.
func NewPlan(parts Parts, limit int, variable string) *Plan {
	p := &Plan{parts: parts, limit: limit}
	if parts.URI {
		p.variable = variable
	}
	if p.variable != "" {
		p.head = p.asks.Add("kong.nginx.get_var", &pb.String{V: p.variable}, 0)
	} else {
		p.target.add(&p.asks, parts)
	}
	if parts.Headers || parts.Body {
		p.headers = p.asks.Add("kong.request.get_headers", &pb.Int{V: maxHeaders}, 0)
	}
	if parts.Body {
		const envelope = 16 // tag and length around the content
		p.body = p.asks.Add("kong.request.get_raw_body", nil, limit+envelope)
	}
	if p.variable != "" {
		p.target.add(&p.further, parts)
		p.target.follow(p.asks.Len())
	}
	return p
}

func (t *target) add(asks *kongpdk.Asks, parts Parts) {
	if parts.Method {
		t.method = asks.Add("kong.request.get_method", nil, 0)
	}
	if parts.URI {
		t.uri = asks.Add("kong.request.get_path_with_query", nil, 0)
		t.query = asks.Add("kong.request.get_raw_query", nil, 0)
	}
}

// Asks returns the plan's asks.
func (p *Plan) Asks() *kongpdk.Asks { return &p.asks }

// Read fills r, which must be new or reset, with Kong's replies to the asks. A
// body that Kong has put into a file is read from it, into memory that is reserved
// for the exchange. The error is [ErrTooLarge], [memory.ErrFull], a [*BodyError], or
// that of a conversation that broke down.
func (p *Plan) Read(x *kongpdk.Exchange, r *Request) (err error) {
	if p.variable != "" {
		err = p.readVariable(x, r)
	} else {
		err = p.target.read(x, r, p.parts)
	}
	if err != nil {
		return err
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
		if errors.Is(err, kongpdk.ErrTooLarge) {
			return ErrTooLarge
		}
		if err == nil {
			err = p.readBody(r, b, x)
		}
		return err
	}
	return nil
}

// follow has the asks stand behind n others.
func (t *target) follow(n int) { t.method, t.uri, t.query = t.method+n, t.uri+n, t.query+n }

func (t *target) read(x *kongpdk.Exchange, r *Request, parts Parts) (err error) {
	if parts.Method {
		if r.Method, err = text(x, t.method); err != nil {
			return fmt.Errorf("method: %w", err)
		}
	}
	if parts.URI {
		if r.URI, err = text(x, t.uri); err != nil {
			return fmt.Errorf("path: %w", err)
		}
		if r.Query, err = text(x, t.query); err != nil {
			return fmt.Errorf("query: %w", err)
		}
	}
	return nil
}

func (p *Plan) readVariable(x *kongpdk.Exchange, r *Request) error {
	value, err := text(x, p.head)
	if err != nil {
		return fmt.Errorf("$%s: %w", p.variable, err)
	}
	method, uri, query, certain := parseVariable(value)
	if !certain {
		if len(value) == 0 && p.unset.CompareAndSwap(false, true) {
			x.LogError(fmt.Sprintf("nginx has no variable $%s, so requests cost more instead of less: define it in a file that nginx_http_include in kong.conf names, or start kafka-upstream without -request-variable", p.variable))
		}
		if err := x.Ask(&p.further); err != nil {
			return err
		}
		return p.target.read(x, r, p.parts)
	}
	if p.parts.Method {
		r.Method = method
	}
	r.URI, r.Query = uri, query
	return nil
}

func text(x *kongpdk.Exchange, ask int) ([]byte, error) {
	b, err := x.Reply(ask)
	if err != nil {
		return nil, err
	}
	return parseText(b)
}

func (p *Plan) readBody(r *Request, reply []byte, d door) error {
	content, path, reason, err := parseBody(reply)
	switch {
	case err != nil:
		return fmt.Errorf("body: %w", err)
	case len(reason) > 0:
		return &BodyError{fmt.Sprintf("Kong could not read the request body: %.500q", reason)}
	case len(path) > 0:
		d.WillBlock() // a disk may be slow
		r.file, err = readFile(r.file, string(path), p.limit, d)
		if err == nil {
			r.Body = r.file
		}
		return err
	case len(content) > p.limit:
		return ErrTooLarge
	}
	r.Body = content
	return nil
}

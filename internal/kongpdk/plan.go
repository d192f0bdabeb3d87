package kongpdk

import (
	"errors"
	"fmt"
	"sync/atomic"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"

	"kafka-upstream/internal/bodyfile"
	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/request"
)

// maxHeaders is the most headers that Kong's get_headers can be asked for. Kong silently drops
// those beyond the number asked for.
const maxHeaders = 1000

// plan has the calls to Kong that some fields of a request need. Many requests may use it at
// once.
type plan struct {
	fields request.Fields // Query if URI
	calls  calls

	variable      string // of nginx, which has the target; "": Kong's own calls
	variableCall  int    // the number of the call
	headers, body int    // the numbers of the calls
	target        targetCalls
	fallback      calls       // if the variable is not enough
	unset         atomic.Bool // the variable is not set, and that was logged
	facts         []int       // the numbers of the calls for fields.Facts, -1 for no call
	badFact       atomic.Bool // the reply for a fact could not be used, and that was logged
}

// targetCalls are the numbers of Kong's own calls for the method, the URI and the query.
type targetCalls struct{ method, uri, query int }

// newPlan returns the plan for these fields, with no more calls than they need: each costs
// Kong and this process a message.
//
// If variable names one of nginx's variables, the method, the URI and the query are read from
// it, one call in place of up to three; Kong's own calls follow if it does not have them for
// certain. "request" is the request line as the client has sent it: it must not be used if
// another plugin may have changed the method or the query. A variable that kong.conf defines
// for this is always right.
func newPlan(fields request.Fields, variable string) *plan {
	fields.Query = fields.Query || fields.URI
	p := &plan{fields: fields}
	if fields.Query {
		p.variable = variable
	}
	if p.variable != "" {
		p.variableCall = p.calls.add("kong.nginx.get_var", &pb.String{V: p.variable}, 0)
	} else {
		p.target.add(&p.calls, fields)
	}
	if fields.Headers || fields.Body {
		p.headers = p.calls.add("kong.request.get_headers", &pb.Int{V: maxHeaders}, 0)
	}
	if fields.Body {
		const envelope = 16 // tag and length around the content
		p.body = p.calls.add("kong.request.get_raw_body", nil, fields.MaxBody+envelope)
	}
	p.addFacts()
	if p.variable != "" {
		p.target.add(&p.fallback, fields)
		p.target.shift(p.calls.size())
	}
	return p
}

func (t *targetCalls) add(c *calls, fields request.Fields) {
	if fields.Method {
		t.method = c.add("kong.request.get_method", nil, 0)
	}
	if fields.URI {
		t.uri = c.add("kong.request.get_path_with_query", nil, 0)
	}
	if fields.Query {
		t.query = c.add("kong.request.get_raw_query", nil, 0)
	}
}

// shift renumbers the calls to follow n others.
func (t *targetCalls) shift(n int) { t.method, t.uri, t.query = t.method+n, t.uri+n, t.query+n }

// read fills s, which must be new or reset, with Kong's replies to the calls. It reads a body
// that Kong has put into a file into memory that it reserves for the exchange. The error is
// one that [plugin.Handler.Refuse] knows, or that of a reply that cannot be understood.
func (p *plan) read(x *Exchange, s *scratch) error {
	err := p.readFields(x, s)
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*request.BodyError](err); ok || errors.Is(err, request.ErrTooLarge) || errors.Is(err, memory.ErrFull) {
		return err
	}
	return fmt.Errorf("unexpected reply from Kong: %w", err)
}

func (p *plan) readFields(x *Exchange, s *scratch) (err error) {
	if p.variable != "" {
		err = p.readVariable(x, &s.request)
	} else {
		err = p.target.read(x, &s.request, p.fields)
	}
	if err != nil {
		return err
	}
	if p.fields.Headers || p.fields.Body {
		b, err := x.reply(p.headers)
		if err == nil {
			s.request.Headers, err = appendHeaders(s.request.Headers, b)
		}
		if err != nil {
			return fmt.Errorf("headers: %w", err)
		}
	}
	if len(p.facts) > 0 {
		if err := p.readFacts(x, &s.request); err != nil {
			return err
		}
	}
	if p.fields.Body {
		b, err := x.reply(p.body)
		if errors.Is(err, errReplyTooLarge) {
			return request.ErrTooLarge
		}
		if err == nil {
			err = p.readBody(s, b, x)
		}
		return err
	}
	return nil
}

func (t *targetCalls) read(x *Exchange, r *request.Request, fields request.Fields) (err error) {
	if fields.Method {
		if r.Method, err = textReply(x, t.method); err != nil {
			return fmt.Errorf("method: %w", err)
		}
	}
	if fields.URI {
		if r.URI, err = textReply(x, t.uri); err != nil {
			return fmt.Errorf("path: %w", err)
		}
	}
	if fields.Query {
		if r.Query, err = textReply(x, t.query); err != nil {
			return fmt.Errorf("query: %w", err)
		}
	}
	return nil
}

// nextCalls returns Kong's own calls if the variable is not enough.
func (p *plan) nextCalls(x *Exchange) *calls {
	value, err := textReply(x, p.variableCall)
	if err != nil || len(x.replies) > p.calls.size() {
		return nil
	}
	if _, _, _, certain := parseVariable(value); certain {
		return nil
	}
	if len(value) == 0 && p.unset.CompareAndSwap(false, true) {
		x.logError(fmt.Sprintf("nginx has no variable $%s, so each request costs more calls to Kong, not fewer: define it in a file that nginx_http_include in kong.conf names, or start kafka-upstream without -request-variable", p.variable))
	}
	return &p.fallback
}

func (p *plan) readVariable(x *Exchange, r *request.Request) error {
	value, err := textReply(x, p.variableCall)
	if err != nil {
		return fmt.Errorf("$%s: %w", p.variable, err)
	}
	method, uri, query, certain := parseVariable(value)
	if !certain {
		return p.target.read(x, r, p.fields)
	}
	if p.fields.Method {
		r.Method = method
	}
	if p.fields.URI {
		r.URI = uri
	}
	r.Query = query
	return nil
}

func textReply(x *Exchange, call int) ([]byte, error) {
	b, err := x.reply(call)
	if err != nil {
		return nil, err
	}
	return parseText(b)
}

// bodyExchange is the part of [Exchange] that reading a body needs.
type bodyExchange interface {
	bodyfile.Lender
	WillBlock()
}

func (p *plan) readBody(s *scratch, reply []byte, x bodyExchange) error {
	content, path, reason, err := parseBody(reply)
	switch {
	case err != nil:
		return fmt.Errorf("body: %w", err)
	case len(reason) > 0:
		return &request.BodyError{Reason: fmt.Sprintf("Kong could not read the request body: %.500q", reason)}
	case len(path) > 0:
		x.WillBlock() // a disk may be slow
		s.file, err = bodyfile.Read(s.file, string(path), p.fields.MaxBody, x)
		if err == nil {
			s.request.Body = s.file
		}
		return err
	case len(content) > p.fields.MaxBody:
		return request.ErrTooLarge
	}
	s.request.Body = content
	return nil
}

package kongpdk

import (
	"errors"
	"fmt"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"

	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/request"
)

const (
	// maxFact bounds the reply that is read for a fact. Those of Kong itself are a few KiB;
	// what other plugins keep in kong.ctx.shared may be anything.
	maxFact = 1 << 20
	// factsFree is how much memory the facts of a request may take without being counted
	// against the memory limit, and factsStep how much is reserved at once beyond that.
	factsFree = 4 << 10
	factsStep = 16 << 10
)

// factReaders read Kong's replies to the calls that [request.KnownFact] knows.
var factReaders = map[string]factReader{
	"kong.client.get_ip":             (*factBuilder).text,
	"kong.client.get_forwarded_ip":   (*factBuilder).text,
	"kong.client.get_port":           (*factBuilder).integer,
	"kong.client.get_forwarded_port": (*factBuilder).integer,
	"kong.client.get_credential":     credential.read,
	request.CallConsumer:             consumer.read,
	"kong.client.get_protocol":       (*factBuilder).optionalText,

	"kong.request.get_scheme":           (*factBuilder).text,
	"kong.request.get_host":             (*factBuilder).text,
	"kong.request.get_port":             (*factBuilder).integer,
	"kong.request.get_forwarded_scheme": (*factBuilder).text,
	"kong.request.get_forwarded_host":   (*factBuilder).text,
	"kong.request.get_forwarded_port":   (*factBuilder).integer,
	"kong.request.get_http_version":     (*factBuilder).number,
	"kong.request.get_path":             (*factBuilder).text,
	request.CallURICaptures:             (*factBuilder).captures,

	"kong.router.get_route":   route.read,
	"kong.router.get_service": service.read,

	"kong.ctx.shared.get": (*factBuilder).value,

	request.CallVariable:        (*factBuilder).optionalText,
	"kong.nginx.get_ctx":        (*factBuilder).value,
	"kong.nginx.req_start_time": (*factBuilder).number,
	"kong.nginx.get_subsystem":  (*factBuilder).text,

	"kong.node.get_id":    (*factBuilder).text,
	request.CallIsTrusted: (*factBuilder).boolean,
}

// factReader makes the value of a fact of Kong's reply.
type factReader func(m *factBuilder, reply []byte) (any, error)

// factBuilder makes values of facts, and reserves the memory for them before they are made: a
// reply of a few bytes can mean a hundred times as many.
type factBuilder struct {
	reserve func(bytes int64) bool
	free    int64 // reserved and not used
}

func (m *factBuilder) take(bytes int) error {
	if m.free -= int64(bytes); m.free < 0 {
		more := factsStep - m.free
		if !m.reserve(more) {
			return memory.ErrFull
		}
		m.free += more
	}
	return nil
}

// addFacts appends the calls for the plan's facts. A fact that is not known is nil.
func (p *plan) addFacts() {
	for _, f := range p.fields.Facts {
		if !request.KnownFact(f) {
			p.facts = append(p.facts, -1)
			continue
		}
		var args proto.Message
		if f.Name != "" {
			args = &pb.ByteString{V: []byte(f.Name)} // a String on the wire, which may be any bytes
		}
		p.facts = append(p.facts, p.calls.add(f.Call, args, maxFact))
	}
}

// readFacts fills the request's facts. A reply that cannot be used concerns only its fact,
// which is nil: the first one is logged. The error is [memory.ErrFull].
func (p *plan) readFacts(x *Exchange, r *request.Request) error {
	m := factBuilder{reserve: x.Reserve, free: factsFree}
	for i, f := range p.fields.Facts {
		v, err := p.readFact(x, &m, i)
		if errors.Is(err, memory.ErrFull) {
			return err
		}
		if err != nil {
			v = nil
			if p.badFact.CompareAndSwap(false, true) {
				x.logError(fmt.Sprintf("Kong's reply to %s(%.100q) cannot be used and counts as nil: %v; further ones are not logged until Kong starts the plugin's instance again", f.Call, f.Name, err))
			}
		}
		r.Facts = append(r.Facts, request.FactValue{Fact: f, Value: v})
	}
	return nil
}

func (p *plan) readFact(x *Exchange, m *factBuilder, i int) (any, error) {
	if p.facts[i] < 0 {
		return nil, nil
	}
	b, err := x.reply(p.facts[i])
	if errors.Is(err, errReplyTooLarge) {
		return nil, fmt.Errorf("it is larger than %d bytes", maxFact)
	}
	if err != nil {
		return nil, err
	}
	return factReaders[p.fields.Facts[i].Call](m, b)
}

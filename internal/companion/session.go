package companion

import (
	"errors"
	"fmt"
	"time"

	"kafka-upstream/internal/foreign"
	"kafka-upstream/internal/memory"
	"kafka-upstream/internal/request"
)

// session is one connection from a worker, without its I/O: bytes in; bytes and an action out.
// One goroutine uses it at a time, but for the outbox.
type session struct {
	plugin  *Plugin
	in      *buffer
	out     *outbox
	configs *configs
	x       *exchange // of the request that is being handled
	now     time.Time // when what is in the buffer came
	greeted bool
	release string // of the worker's files
	leaving func() bool
	skip    int   // how many bytes of a refused request are still to come
	err     error // why the session has ended
}

// action is what a driver must do next for a session.
type action uint8

const (
	read action = iota // send what is in the outbox, read into s.in, and step again
	run                // handle s.x, and step again
	end                // send what is in the outbox, and close the connection because of s.err
)

// errVersion is the error of files that speak another version of the frames.
type errVersion struct {
	theirs  uint32
	release string
}

func (e errVersion) Error() string {
	return fmt.Sprintf(`the handler in Kong is of release %s and speaks version %d of the frames, and this process speaks %d: write the files again with "kafka-upstream -companion", and restart Kong`, e.release, e.theirs, version)
}

// step goes as far as the received bytes allow, and returns the next action.
func (s *session) step() action {
	for {
		if s.skip > 0 {
			n := min(s.skip, len(s.in.pending()))
			s.in.take(n)
			if s.skip -= n; s.skip > 0 {
				return s.more(headerSize)
			}
		}
		p := s.in.pending()
		if len(p) < headerSize {
			return s.more(headerSize)
		}
		h := parseHeader(p)
		if err := s.check(h); err != nil {
			return s.fail(err)
		}
		if n := headerSize + h.size; len(p) < n {
			return s.more(n)
		}
		s.in.take(headerSize)
		act, err := s.take(h, s.in.take(h.size))
		if err != nil {
			return s.fail(err)
		}
		if act == run {
			return run
		}
	}
}

func (s *session) fail(err error) action {
	s.err = err
	return end
}

// check returns an error if the handler never sends a frame with this header.
func (s *session) check(h header) error {
	most := 0
	switch {
	case h.kind == kindHello && !s.greeted:
		most = maxHello
	case !s.greeted:
	case h.kind == kindConfig:
		most = maxConfig
	case h.kind == kindRequest:
		most = maxParts + s.configs.maxBody
	case h.kind == kindForget:
		most = maxForget
	case h.kind == kindCertificate:
		most = maxCertificate
	}
	switch {
	case most == 0:
		return fmt.Errorf("%w: its kind is %d", errFrame, h.kind)
	case h.size > most:
		return fmt.Errorf("%w: it has %d bytes, and at most %d are allowed", errFrame, h.size, most)
	case h.kind == kindRequest && h.size < requestSize:
		return fmt.Errorf("%w: it has %d bytes, fewer than a request", errFrame, h.size)
	}
	return nil
}

// more has more read of a frame of n bytes. A request for which there is no memory is answered,
// and skipped.
func (s *session) more(n int) action {
	err := s.in.grow(n)
	if err == nil {
		return read
	}
	p := s.in.pending() // a full buffer
	h := parseHeader(p)
	if h.kind != kindRequest || !errors.Is(err, memory.ErrFull) {
		return s.fail(fmt.Errorf("a frame of %d bytes: %w", n, err))
	}
	s.refuse(parseRequestID(p[headerSize:]), err)
	s.skip = n - len(p)
	s.in.take(len(p))
	s.in.next()
	return read
}

// refuse answers a request that is not read.
func (s *session) refuse(r requestID, err error) {
	conf := s.configs.get(r.config)
	if conf == nil {
		s.out.refuse(r.id, statusUnknownConfig)
		return
	}
	a := conf.handler.Refuse(err)
	s.out.answer(r.id, &a, s.now)
}

// take takes a whole frame. It returns run if s.x is a request to be handled.
func (s *session) take(h header, payload []byte) (action, error) {
	switch h.kind {
	case kindHello:
		return read, s.greet(payload)

	case kindConfig:
		p := reader{b: payload}
		number := p.uint32()
		conf := s.configs.add(number, s.plugin.Start(p.b), len(p.b))
		if p.failed {
			return end, p.err("configuration")
		}
		s.out.frame(func(b []byte) []byte { return appendNeeds(b, number, conf.needs) })

	case kindForget:
		p := reader{b: payload}
		for len(p.b) >= 4 {
			s.configs.remove(p.uint32())
		}
		return read, p.err("list of configurations")

	case kindCertificate:
		p := reader{b: payload}
		id, cert, key := p.text(), p.text(), p.text()
		if err := p.err("certificate"); err != nil {
			return end, err
		}
		if s.plugin.Certificate != nil {
			s.plugin.Certificate(string(id), cert, key)
		}

	case kindRequest:
		r := parseRequestID(payload)
		conf := s.configs.get(r.config)
		switch {
		case s.leaving():
			s.out.refuse(r.id, statusLeaving)
		case conf == nil:
			s.out.refuse(r.id, statusUnknownConfig)
		default:
			s.x.begin(r.id, conf, s.now, h.flags, payload)
			return run, nil
		}
	}
	return read, nil
}

func (s *session) greet(payload []byte) error {
	frames, release, err := parseHello(payload)
	if err != nil {
		return err
	}
	s.release = foreign.Line(string(release))
	s.out.frame(func(b []byte) []byte { return appendWelcome(b, s.plugin.Version) })
	if frames != version {
		return errVersion{frames, s.release}
	}
	s.greeted = true
	return nil
}

// receive is called with n bytes that were read into the buffer.
func (s *session) receive(n int) {
	s.in.add(n)
	s.now = time.Now()
}

// readRequest fills r, which must be new or reset. It takes memory for a body in a file, which
// the driver reads. The error is one that [plugin.Handler.Refuse] knows, or of a frame that the
// handler never sends.
func readRequest(payload []byte, flags uint8, needs *request.Fields, reserve func(int64) bool, r *request.Request) (path []byte, err error) {
	f, err := parseRequest(payload, flags, r)
	if err != nil {
		return nil, err
	}
	if err := readFacts(f.facts, needs.Facts, reserve, r); err != nil {
		return nil, err
	}
	switch {
	case !needs.Body:
	case f.flags&flagBodyTooLarge != 0:
		return nil, request.ErrTooLarge
	case f.flags&flagNoBody != 0:
		return nil, &request.BodyError{Reason: fmt.Sprintf("Kong could not read the request body: %.500q", f.body)}
	case f.flags&flagBodyFile != 0:
		return f.body, nil
	case len(f.body) > needs.MaxBody:
		return nil, request.ErrTooLarge
	default:
		r.Body = f.body
	}
	return nil, nil
}

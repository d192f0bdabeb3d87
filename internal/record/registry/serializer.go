package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kafka-upstream/internal/record"
	"kafka-upstream/internal/request"
	"kafka-upstream/internal/schemafmt"
)

// Schemas are the schemas of one configuration. Their methods may be called from many
// goroutines at once.
type Schemas struct {
	Value, Key *Serializer // nil for none
	pool       *Pool
}

// readyTimeout bounds how long a request waits for first fetches.
const readyTimeout = 10 * time.Second

// Blocker is told before a wait that may be long.
type Blocker interface{ WillBlock() }

// Ready returns nil if there is a version of each schema, even if the registry has a newer one.
// It waits only for first fetches, until ctx ends and ten seconds at most, and tells x before it
// waits. The error is an [*UnavailableError] or a [*SchemaError]; a later call may succeed.
func (s *Schemas) Ready(ctx context.Context, x Blocker) error {
	var cancel context.CancelFunc // of the time for both
	for _, z := range [...]*Serializer{s.Value, s.Key} {
		if z == nil {
			continue
		}
		if _, err := z.entry.current(); err == nil {
			continue
		}
		if cancel == nil {
			ctx, cancel = context.WithTimeout(ctx, readyTimeout)
			defer cancel()
		}
		if err := z.entry.wait(ctx, x); err != nil {
			return err
		}
	}
	return nil
}

// wait waits for the first fetch, not longer than ctx.
func (e *entry) wait(ctx context.Context, x Blocker) error {
	select {
	case <-e.loaded:
	default:
		x.WillBlock()
		select {
		case <-e.loaded:
		case <-ctx.Done():
		}
	}
	_, err := e.current()
	return err
}

// Release returns the schemas, which are kept for some time in case that another configuration
// needs them. Serializers stay usable.
func (s *Schemas) Release() {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.release()
}

// release is Release with Pool.mu held.
func (s *Schemas) release() {
	for _, z := range [...]*Serializer{s.Value, s.Key} {
		if z != nil {
			s.pool.drop(z.entry)
		}
	}
}

// Serializer puts values, or keys, into the wire format of Confluent's serializers by one
// schema.
type Serializer struct {
	entry *entry
	isKey bool
}

var _ record.Serializer = (*Serializer)(nil)

// Append implements [record.Serializer]. Without a schema, which [Schemas.Ready] rules out, the
// error is that of Ready.
func (z *Serializer) Append(dst, text []byte) ([]byte, error) {
	s, err := z.entry.current()
	if err != nil {
		return dst, err
	}
	out, what := append(dst, s.header...), "message"
	if z.isKey {
		what = "key"
		out, err = s.encoder.AppendText(out, text)
	} else {
		out, err = s.encoder.AppendJSON(out, text)
	}
	if err == nil {
		return out, nil
	}
	fit, ok := errors.AsType[*schemafmt.FitError](err)
	switch {
	case !ok:
		return dst, err
	case fit.TooLarge:
		return dst, request.ErrTooLarge
	}
	return dst, &record.BadRequest{Schema: true, Reason: fmt.Sprintf("%s does not fit schema %s version %d: %s", what, z.entry.name, s.answer.Version, reason(fit))}
}

// reason returns where and why a document does not fit.
func reason(e *schemafmt.FitError) string {
	if e.Path == "" {
		return e.Reason
	}
	return e.Path + ": " + e.Reason
}

package registry

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"kafka-upstream/internal/schemafmt"
)

// fetchTimeout bounds a fetch of a schema with all that it refers to.
const fetchTimeout = 30 * time.Second

// schema is a version of a schema that values can be encoded with. It is read-only.
type schema struct {
	answer  sr.SubjectSchema
	header  []byte // of each value
	encoder schemafmt.Encoder
}

// target says which schema, and how it is used.
type target struct {
	name     string
	version  int // -1 for the latest one
	ttl      time.Duration
	maxValue int
}

// fixed reports whether the schema never changes.
func (t *target) fixed() bool { return t.version > 0 }

func (t *target) versionName() string {
	if t.fixed() {
		return strconv.Itoa(t.version)
	}
	return latest
}

// fetch returns the schema, which is known if the registry has nothing newer. The error is an
// *UnavailableError or a *SchemaError.
func (c *client) fetch(ctx context.Context, t target, known *schema) (*schema, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	answer, err := c.get(ctx, t.name, t.version)
	if err == nil && known != nil && reflect.DeepEqual(answer, known.answer) {
		return known, nil
	}
	f := references{client: c, texts: map[place]*text{}, size: len(answer.Schema.Schema)}
	if err == nil {
		err = f.add(ctx, answer.References)
	}
	if err == nil {
		return c.compile(t, answer, f.list)
	}
	if unusable, ok := err.(unusableError); ok {
		return nil, &SchemaError{t.name, answer.Version, c.shown, unusable}
	}
	return nil, &UnavailableError{t.name, t.versionName(), c.shown, err}
}

// compile returns the schema of an answer. A panic of a compiler, of what a registry has sent,
// must not end the process, whose buffers hold records.
func (c *client) compile(t target, answer sr.SubjectSchema, refs []schemafmt.Reference) (s *schema, err error) {
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, &SchemaError{t.name, answer.Version, c.shown, fmt.Errorf("its compiler failed: %v", p)}
		}
	}()
	encoder, err := schemafmt.Options{MaxValue: t.maxValue}.Compile(schemafmt.Kind(answer.Type.String()), answer.Schema.Schema, refs)
	if err != nil {
		return nil, &SchemaError{t.name, answer.Version, c.shown, err}
	}
	header, err := new(sr.ConfluentHeader).AppendEncode(nil, answer.ID, encoder.Index())
	if err != nil {
		return nil, &SchemaError{t.name, answer.Version, c.shown, err}
	}
	return &schema{answer, slices.Clip(header), encoder}, nil
}

// unusableError is why a schema cannot be used that the registry has.
type unusableError string

func (e unusableError) Error() string { return string(e) }

// place is where a registry has a schema.
type place struct {
	subject string
	version int
}

// text is a schema that another one refers to.
type text struct {
	answer sr.SubjectSchema
	listed bool // with all that it refers to; otherwise that is being done
}

// references are the schemas that a schema refers to, and those that these refer to.
type references struct {
	client *client
	texts  map[place]*text
	list   []schemafmt.Reference // each after those that it refers to
	size   int                   // of all texts
}

// maxName bounds the name of a subject that a registry refers to, in bytes.
const maxName = 1024

// add adds the schemas that a schema refers to. The error is an unusableError if they cannot
// be used.
func (f *references) add(ctx context.Context, refs []sr.SchemaReference) error {
	if len(refs) > schemafmt.MaxReferences {
		return unusableError(fmt.Sprintf("it refers to more than %d schemas", schemafmt.MaxReferences))
	}
	for _, r := range refs {
		if r.Subject == "" || r.Subject == "." || r.Subject == ".." || len(r.Subject) > maxName || r.Version < 1 {
			return unusableError("one of its references has no valid subject or version")
		}
		at := place{r.Subject, r.Version}
		t := f.texts[at]
		switch {
		case t == nil && len(f.texts) == schemafmt.MaxReferences:
			return unusableError(fmt.Sprintf("it refers to more than %d schemas", schemafmt.MaxReferences))
		case t == nil:
			answer, err := f.client.get(ctx, r.Subject, r.Version)
			if err != nil {
				return fmt.Errorf("it refers to %.200q, version %d: %w", r.Subject, r.Version, err)
			}
			if f.size += len(answer.Schema.Schema); f.size > schemafmt.MaxSchema {
				return unusableError(fmt.Sprintf("it has more than %d bytes with the schemas that it refers to", schemafmt.MaxSchema))
			}
			t = &text{answer: answer}
			f.texts[at] = t
			if err := f.add(ctx, answer.References); err != nil {
				return err
			}
			t.listed = true
		case !t.listed:
			return unusableError(fmt.Sprintf("its references form a cycle through %.200q, version %d", r.Subject, r.Version))
		}
		one := schemafmt.Reference{Name: r.Name, Subject: r.Subject, Text: t.answer.Schema.Schema}
		if !slices.ContainsFunc(f.list, func(l schemafmt.Reference) bool { return l.Name == one.Name && l.Text == one.Text }) {
			f.list = append(f.list, one)
		}
	}
	return nil
}

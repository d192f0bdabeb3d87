package schemafmt

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"kafka-upstream/internal/foreign"
)

// FitError says that a document does not fit the schema. Nothing in it is the client's: Path
// and Reason are made of fixed words, positions in arrays, and the schema's own names. Both
// are bounded.
type FitError struct {
	Path   string // where the first fault is, as a JSON pointer; "" is the whole document. "*" stands for a name that the schema does not have
	Reason string // such as "must be an integer of 32 bits"
	// TooLarge says that only its size keeps what is made of the document from being appended:
	// it would have more than [Options.MaxValue] bytes.
	TooLarge bool
}

func (e *FitError) Error() string {
	if e.Path == "" {
		return e.Reason
	}
	return "at " + e.Path + ": " + e.Reason
}

const (
	maxPath   = 512 // bytes
	maxReason = 512
	maxQuoted = 96
)

// tooLarge is the reason of a FitError that is TooLarge.
const tooLarge = "becomes too large"

// foreignName stands in a path for a name that is the client's.
const foreignName = "*"

// fault is a FitError in the making: a walk notes the reason where it fails, and the path on
// its way back. It costs nothing as long as it is only noted.
type fault struct {
	reason, name string // fixed words, and a name of the schema's or ""
	path         []step // from the fault outwards
}

type step struct {
	name  string
	index int // if name is ""
}

func (f *fault) clear() { f.reason, f.name, f.path = "", "", f.path[:0] }

func (f *fault) set(reason, name string) { f.reason, f.name, f.path = reason, name, f.path[:0] }

// in says that the fault is in a member of that name, and returns false.
func (f *fault) in(name string) bool {
	if name == "" {
		name = foreignName
	}
	f.path = append(f.path, step{name: name})
	return false
}

// inItem says that the fault is in that item of an array, and returns false.
func (f *fault) inItem(index int) bool {
	f.path = append(f.path, step{index: index})
	return false
}

func (f *fault) copy() fault { return fault{f.reason, f.name, slices.Clone(f.path)} }

func (f *fault) error() *FitError {
	e := &FitError{Reason: f.reason, TooLarge: f.reason == tooLarge}
	if f.name != "" {
		e.Reason += " " + quote(f.name)
	}
	var path strings.Builder
	for _, s := range slices.Backward(f.path) {
		if path.Len() > maxPath {
			path.WriteString("/…")
			break
		}
		if path.WriteByte('/'); s.name == "" {
			path.WriteString(strconv.Itoa(s.index))
		} else {
			path.WriteString(escapeToken.Replace(foreign.Cut(s.name, maxQuoted)))
		}
	}
	e.Path = path.String()
	return e
}

// escapeToken writes a name as RFC 6901 has it in a JSON pointer.
var escapeToken = strings.NewReplacer("~", "~0", "/", "~1")

// quote returns a text of the schema for an error: short, printable, in quotes.
func quote(s string) string { return strconv.Quote(foreign.Cut(s, maxQuoted)) }

// schemaError says in one bounded sentence why a schema cannot be used.
func schemaError(what string, err error) error {
	return errors.New(what + " cannot be used: " + foreign.Cut(err.Error(), maxReason))
}

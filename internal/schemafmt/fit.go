package schemafmt

import "strings"

// FitError says that a document does not fit the schema. Nothing in it is the client's: Path
// and Reason are made of fixed words, positions in arrays, and the schema's own names.
type FitError struct {
	Path   string // where the first fault is, as a JSON pointer; "" is the whole document. "*" stands for a name that the schema does not have
	Reason string // such as "must be an integer"
}

func (e *FitError) Error() string {
	if e.Path == "" {
		return e.Reason
	}
	return "at " + e.Path + ": " + e.Reason
}

const (
	maxPath   = 512
	maxReason = 512
)

// token appends a name of the schema's to a JSON pointer, by RFC 6901.
func token(path *strings.Builder, name string) {
	path.WriteByte('/')
	for _, r := range name {
		switch r {
		case '~':
			path.WriteString("~0")
		case '/':
			path.WriteString("~1")
		default:
			path.WriteRune(r)
		}
	}
}

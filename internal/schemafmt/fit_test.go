package schemafmt

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// checkFit checks that an error of a document is a FitError, is bounded, and has no ten bytes
// in a row that are the document's and not also the schema's.
func checkFit(t *testing.T, err error, doc []byte, schema string) {
	t.Helper()
	var fit *FitError
	if !errors.As(err, &fit) {
		t.Fatalf("%.200q: the error is a %T", doc, err)
	}
	if len(fit.Path) > 2*maxPath || len(fit.Reason) > maxReason {
		t.Fatalf("%.200q: the error has %d bytes", doc, len(err.Error()))
	}
	message := err.Error()
	for i := range len(message) - 9 {
		if ten := message[i : i+10]; bytes.Contains(doc, []byte(ten)) && !strings.Contains(schema, ten) {
			t.Fatalf("%.200q: the error shows %q: %s", doc, ten, message)
		}
	}
}

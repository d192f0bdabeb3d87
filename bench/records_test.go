//go:build linux

package main

import (
	"maps"
	"testing"
)

// Each form makes the records that it says.
func TestFormsOfRecordsArrive(t *testing.T) {
	var entrants []entrant
	for _, f := range forms {
		settings := maps.Clone(soon)
		maps.Copy(settings, f.settings)
		entrants = append(entrants, entrant{program(t, ours), scenario{connections: 4, count: 50, settings: settings, request: f.request, records: f.records}})
	}
	samples, err := sideBySide(t.Context(), entrants)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range samples {
		if want := int64(50 * max(forms[i].records, 1)); s.arrived.Records != want {
			t.Errorf("%s: %d records, want %d", forms[i].name, s.arrived.Records, want)
		}
	}
}

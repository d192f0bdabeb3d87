//go:build linux

package main

import "testing"

// Each form makes the records that it says.
func TestFormsOfRecordsArrive(t *testing.T) {
	var entrants []entrant
	registry := startRegistry()
	defer registry.Close()
	for _, f := range forms {
		s := f.scenario(registry.URL())
		s.connections, s.count, s.settings = 4, 50, merged(soon, s.settings)
		entrants = append(entrants, entrant{program(t, ours), s})
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

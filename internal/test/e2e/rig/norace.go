//go:build !race

package rig

// Race reports whether the tests, and so the program, run with the race detector.
const Race = false

//go:build race || faults

package values

// spoil has freed memory overwritten, so that tests see who uses it still.
const spoil = true

//go:build race

package sandbox

// memoryFactor times Limits.Bytes is what a call may allocate in all: the race detector needs
// memory as well.
const memoryFactor = 8

// slowness is how much longer than on a quiet machine a test may take.
const slowness = 100

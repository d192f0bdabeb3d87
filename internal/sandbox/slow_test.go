//go:build !race

package sandbox

// memoryFactor times Limits.Bytes is what a call may allocate in all.
const memoryFactor = 3

// slowness is how much longer than on a quiet machine a test may take.
const slowness = 10

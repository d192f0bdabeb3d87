//go:build race

package sandbox

// slowness is how much longer than on a quiet machine a test may take.
const slowness = 100

//go:build race

package lua

// slower is how many times longer than on a quiet machine things may take.
const slower = 40

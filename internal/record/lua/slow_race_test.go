//go:build race

package lua

// slower is how many times longer things take.
const slower = 20

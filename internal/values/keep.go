//go:build !race && !faults

package values

const spoil = false

//go:build unix && !linux

package request

// sizeUnknown reports false: here a wrong size only shows when more can be read.
func sizeUnknown(int) bool { return false }

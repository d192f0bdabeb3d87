//go:build !unix

package kongpdk

// FileLimit returns 0: there is no such limit.
func FileLimit() int { return 0 }

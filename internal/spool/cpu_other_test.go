//go:build !unix

package spool

func cpuTime() int64 { return 0 }

// Package rig runs the real binary of kafka-upstream for end-to-end tests: it builds it
// once per test run, starts it as Kong does, plays Kong's side of a request, and looks for
// secrets in everything that was printed.
package rig

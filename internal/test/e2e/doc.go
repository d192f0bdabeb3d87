// Package e2e holds the end-to-end tests: the real binary, run as Kong runs it, between a
// stand-in for Kong and brokers in the test's process or, with the build tag "kafka",
// genuine ones. Package rig has what its tests share with those of cmd/kafka-upstream.
package e2e

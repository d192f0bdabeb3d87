// Command prepare is the part of `make kafka` that comes after the fetching: it
// sees that every release of Apache Kafka starts, and makes later starts faster.
package main

import (
	"fmt"
	"os"
	"time"

	"kafka-upstream/internal/test/kafkatest"
)

func main() {
	for _, version := range kafkatest.Versions {
		took, err := kafkatest.Prepare(version)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if took > 0 {
			fmt.Printf("Apache Kafka %s starts in %v\n", version, took.Round(100*time.Millisecond))
		}
	}
}

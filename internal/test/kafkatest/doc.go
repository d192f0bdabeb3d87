// Package kafkatest gives tests a genuine Apache Kafka (KRaft, one broker or
// three) and, where a real one is not needed, a fake one in the same process.
//
// A test of real Kafka carries the build tag "kafka" and usually runs on each
// release:
//
//	//go:build kafka
//
//	func TestRecordReachesTheTopic(t *testing.T) {
//		kafkatest.EachVersion(t, func(t *testing.T, version string) {
//			kafka := kafkatest.Shared(t, version)
//			topic := kafka.CreateTopic(t, "orders", 3, 1, nil)
//			// … produce to kafka.Addrs(kafkatest.Plaintext) …
//			records := kafka.Records(t, topic, 1)
//		})
//	}
//
// TestMain ends the shared brokers by [StopShared].
//
// `make kafka` fetches Kafka's jars; without them, or without Java, such a
// test fails and says so. Nothing is skipped.
//
// [StartFake] needs only Go.
package kafkatest

package kafkatest

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(helperRole); role != "" {
		os.Exit(helperMain(role))
	}
	goleak.VerifyTestMain(TestingM(m))
}

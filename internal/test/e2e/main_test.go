package e2e

import (
	"os"
	"testing"

	"kafka-upstream/internal/test/e2e/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

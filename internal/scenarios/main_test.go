package scenarios_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain makes sure that the engine leaves no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

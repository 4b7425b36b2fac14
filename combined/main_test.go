package combined_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain makes sure that the engine leaves no goroutine behind.
func TestMain(m *testing.M) {
	// A broker that the process has for itself ends with it.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/tasker-systems/tasker-go/internal/privaterabbit.(*Server).Restart.func1"))
}

package enginetest

import (
	"os"
	"strconv"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/testbroker"
)

// backendVariable set to rabbitmq has every engine of the tests use that, for a
// sweep: TASKER_TEST_BACKEND=rabbitmq go test ./combined.
const backendVariable = "TASKER_TEST_BACKEND"

// RabbitMQ are the settings of an engine on a virtual host of its own.
func RabbitMQ(t testing.TB) Settings {
	t.Helper()
	return Broker(testbroker.New(t))
}

// Broker are the settings of an engine on the broker at the URL.
func Broker(brokerURL string) Settings {
	return Settings{"common.queues.backend": `"rabbitmq"`, "common.queues.rabbitmq.url": strconv.Quote(brokerURL)}
}

// backend are the settings of the backend that the sweep asks for.
func backend(t testing.TB) Settings {
	t.Helper()
	if os.Getenv(backendVariable) != "rabbitmq" { //nolint:forbidigo // a variable of the tests
		return Settings{}
	}
	return RabbitMQ(t)
}

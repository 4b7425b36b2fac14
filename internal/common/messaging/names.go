// Package messaging names the queues and the channels that wake their readers.
// Nothing else in the code spells the name of a queue.
package messaging

import (
	"fmt"
	"strings"

	"github.com/tasker-systems/tasker-go/config"
)

// Names builds the names of queues and channels from the configuration.
type Names struct {
	cfg config.Queues
}

// NewNames returns the names that cfg describes.
func NewNames(cfg config.Queues) Names { return Names{cfg: cfg} }

// maxQueueName is what PGMQ allows, in bytes.
const maxQueueName = 47

// Steps is the queue of the steps of a namespace: naming_pattern with the
// worker namespace and the name of the namespace filled in. It is an error when
// the name is longer than PGMQ allows.
func (n Names) Steps(namespace string) (string, error) {
	name := n.build(n.cfg.WorkerNamespace, namespace)
	if len(name) > maxQueueName {
		return "", fmt.Errorf("queue %s of namespace %s is longer than %d characters; shorten the namespace or common.queues.naming_pattern",
			name, namespace, maxQueueName)
	}
	return name, nil
}

// build fills the pattern in. A name that is one of the pattern's already is
// left as it is.
func (n Names) build(namespace, name string) string {
	prefix, suffix, _ := strings.Cut(strings.ReplaceAll(n.cfg.NamingPattern, "{namespace}", namespace), "{name}")
	if strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix) && len(name) > len(prefix)+len(suffix) {
		return name
	}
	return prefix + name + suffix
}

// Results is the queue of what workers report to orchestrators.
func (n Names) Results() string { return n.cfg.OrchestrationQueues.StepResults }

// Events is the queue of the domain events of a namespace. Programs outside of
// Tasker read it, so its name does not depend on the configuration.
func (Names) Events(namespace string) string { return namespace + "_domain_events" }

// DeadLetters is where RabbitMQ sets messages aside that it cannot get rid of: a
// queue, and the exchange before it.
func (n Names) DeadLetters() string { return n.build(n.cfg.OrchestrationNamespace, "dead_letters") }

// StepsChannel is the channel that wakes whoever sends the steps of a namespace on
// their way: its workers, who read the queue themselves, or with RabbitMQ the
// orchestrators, who publish.
func (n Names) StepsChannel(namespace string) string {
	if n.cfg.Backend == config.BackendRabbitMQ {
		return n.DispatchChannel()
	}
	return n.cfg.WorkerNamespace + "_ready." + namespace
}

// DispatchChannel is the channel that wakes the orchestrators to publish steps.
func (n Names) DispatchChannel() string { return n.cfg.OrchestrationNamespace + "_dispatch" }

// SchedulesChannel is the channel that tells the orchestrators of a change of the
// schedules.
func (n Names) SchedulesChannel() string { return n.cfg.OrchestrationNamespace + "_schedules" }

// ResultsChannel is the channel that wakes the orchestrators.
func (n Names) ResultsChannel() string { return n.cfg.OrchestrationNamespace + "_ready" }

// RecallsChannel is the channel that tells the workers of a namespace that claims
// were taken away from them.
func (n Names) RecallsChannel(namespace string) string {
	return n.cfg.WorkerNamespace + "_recalls." + namespace
}

// SignalsChannel is the channel that wakes the orchestrators when a signal has
// come for a step.
func (n Names) SignalsChannel() string { return n.cfg.OrchestrationNamespace + "_signals" }

// Requests is the queue of requests for tasks.
func (n Names) Requests() string { return n.cfg.OrchestrationQueues.TaskRequests }

// Finalizations is the queue of tasks to look at again.
func (n Names) Finalizations() string { return n.cfg.OrchestrationQueues.TaskFinalizations }

// RequestsChannel is the channel that wakes the orchestrators for what is in
// these two queues.
func (n Names) RequestsChannel() string { return n.cfg.OrchestrationNamespace + "_requests" }

// OperationsChannel is the channel that wakes an orchestrator to work off what
// operators do to many tasks.
func (n Names) OperationsChannel() string { return n.cfg.OrchestrationNamespace + "_operations" }

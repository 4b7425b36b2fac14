package config

// components says what reads the settings below a key; the longest key counts.
var components = map[string]string{
	"common.environment":                           "the loader, which chooses the overlay; logs, metrics and /config",
	"common.database":                              "the connection pool of every process",
	"common.circuit_breakers":                      "the circuit breakers",
	"common.mpsc_channels.event_publisher":         "the publisher of in-process events",
	"common.mpsc_channels.ffi":                     "the channel to handlers outside the process",
	"common.mpsc_channels.overflow_policy":         "every bounded channel",
	"common.queues":                                "messaging, in both roles",
	"common.queues.health_check_interval":          "the probe of the queues",
	"common.queues.pgmq":                           "messaging by pgmq",
	"common.queues.rabbitmq":                       "messaging by RabbitMQ",
	"common.telemetry":                             "metrics and traces",
	"common.system":                                "the process: its limits, health and name",
	"common.task_templates":                        "the registry of task templates",
	"orchestration.backoff":                        "retries of failed steps",
	"orchestration.backoff.reenqueue_delays":       "the reconciler",
	"orchestration.system":                         "the orchestrator",
	"orchestration.system.web":                     "the web API",
	"orchestration.system.web.auth":                "authentication in the web API",
	"orchestration.system.web.cors":                "CORS in the web API",
	"orchestration.system.web.tls":                 "the listener of the web API",
	"orchestration.mpsc_channels":                  "the orchestrator's channels",
	"orchestration.event_systems.orchestration":    "the event system of requests and results",
	"orchestration.event_systems.task_readiness":   "the reconciler",
	"orchestration.staleness_detection":            "the staleness detector",
	"orchestration.dlq":                            "the dead letter queue",
	"orchestration.archive":                        "the archiver",
	"orchestration.decision_points":                "decisions: results that create steps",
	"orchestration.webhooks":                       "webhooks",
	"worker.system":                                "the worker",
	"worker.system.event_driven":                   "the worker's event system",
	"worker.system.fallback_poller":                "the sweep of tasks",
	"worker.system.listener":                       "the supervisor of the worker's listening connection",
	"worker.system.queue_config":                   "the readers of step queues",
	"worker.system.resource_limits":                "the worker's intake of steps",
	"worker.system.step_processing":                "the executor of steps",
	"worker.system.health_monitoring":              "the worker's health",
	"worker.system.web":                            "the worker's web server",
	"worker.system.web.auth":                       "authentication in the worker's web server",
	"worker.system.web.tls":                        "the listener of the worker's web server",
	"worker.mpsc_channels":                         "the worker's channels",
	"worker.event_system":                          "the worker's event system",
	"worker.event_system.metadata.resource_limits": "the worker's intake of steps",
}

// componentOf returns what reads a key, "" for tables that several components
// share.
func componentOf(key string) string {
	best := ""
	for prefix := range components {
		if len(prefix) > len(best) && (key == prefix || len(key) > len(prefix) && key[:len(prefix)+1] == prefix+".") {
			best = prefix
		}
	}
	return components[best]
}

package legacy

import (
	"slices"
	"strings"
)

// A Layout is an arrangement of keys that came before the present one.
type Layout string

// The earlier layouts.
const (
	V1     Layout = "v1"           // flat tables in every file: [database], [orchestration_system]
	Phase2 Layout = "v1, phase 2"  // v1 on its way: [mpsc_channels.shared], [event_systems.worker]
	Landed Layout = "v2 as landed" // what the first Tasker shipped as its v2: [worker] worker_id
)

// A Former is a key or table of an earlier layout. It stands for everything
// below it that has no entry of its own.
type Former struct {
	Layout Layout

	// File is the one in which Key has this meaning: common, orchestration or
	// worker. Empty means any.
	File string

	// Key is the dotted key as it was.
	Key string

	// Now is the dotted key as it is; empty means that it was removed.
	Now string

	// Why says why it was removed, or what else changed. It completes a sentence
	// that ends in a colon.
	Why string
}

// unread is what changes for a key that v1 knew and no program looked at.
const unread = "v1 did not read it, now it takes effect"

// formers lists the keys that users of earlier layouts know. Where a key and a
// table around it are both listed, the key counts.
var formers = []Former{
	{V1, "", "environment", "common.environment", ""},

	{V1, "common", "database", "common.database", ""},
	{V1, "common", "database.database", "", "the database is named in common.database.url"},
	{V1, "common", "database.host", "", "the server is named in common.database.url"},
	{V1, "common", "database.adapter", "", "the database is always PostgreSQL"},
	{V1, "common", "database.username", "", "the user is named in common.database.url"},
	{V1, "common", "database.password", "", "the password is part of common.database.url"},
	{V1, "common", "database.encoding", "", "the server decides; it had no effect"},
	{V1, "common", "database.checkout_timeout", "", "common.database.pool.acquire_timeout_seconds bounds the wait"},
	{V1, "common", "database.reaping_frequency", "", "it had no effect"},
	{V1, "common", "database.skip_migration_check", "", "it had no effect"},
	{V1, "common", "database.enable_secondary_database", "", "there is one database"},

	{V1, "common", "queues", "common.queues", ""},
	{V1, "common", "queues.default_namespace", "", "namespaces come from the templates"},
	{V1, "common", "queues.pgmq_backend", "", "it had no effect; common.queues.pgmq has the settings of pgmq"},

	{V1, "common", "shared_channels", "common.mpsc_channels", ""},
	{V1, "common", "mpsc_channels.overflow_policy", "common.mpsc_channels.overflow_policy", unread},
	{V1, "common", "circuit_breakers", "common.circuit_breakers", ""},
	{V1, "common", "circuit_breakers.global_settings.auto_create_enabled", "", "breakers are made for the components there are"},

	{V1, "common", "telemetry", "common.telemetry", unread},
	{V1, "common", "telemetry.service_name", "", "common.system.process_name names the process"},
	{V1, "common", "telemetry.sample_rate", "", "common.telemetry.tracing.sampling_rate says it"},
	{V1, "common", "telemetry.opentelemetry", "", "common.telemetry.metrics and common.telemetry.tracing have its settings"},

	{V1, "common", "system", "common.system", unread},
	{V1, "common", "system.version", "", "a program knows its own version"},
	{V1, "common", "system.default_dependent_system", "", "it had no effect"},
	{V1, "common", "system.max_recursion_depth", "", "orchestration.decision_points.max_decision_depth bounds what may grow"},

	{V1, "common", "execution", "", "it had no effect"},
	{V1, "common", "execution.environment", "common.environment", ""},
	{V1, "common", "execution.timeouts", "", "it had no effect; common.queues.pgmq.shutdown_timeout_seconds and " +
		"timing.processing_timeout_seconds of the event systems come nearest"},

	{V1, "common", "task_templates", "common.task_templates", unread},
	{V1, "common", "task_templates.search_paths", "", "common.task_templates.template_path names the one directory"},
	{V1, "", "decision_points", "orchestration.decision_points", unread},

	{V1, "orchestration", "backoff", "orchestration.backoff", ""},
	{V1, "orchestration", "orchestration_system", "orchestration.system", ""},
	{V1, "orchestration", "orchestration_system.web.tls", "", "no server of v1 listened with TLS; orchestration.system.web.tls has what it needs now"},
	{V1, "orchestration", "orchestration_system.web.database_pools", "", "a process has one pool, common.database.pool"},
	{V1, "orchestration", "orchestration_system.web.rate_limiting", "", "it had no effect; limit rates in a proxy"},
	{V1, "orchestration", "orchestration_system.web.resilience", "", "common.circuit_breakers has the breaker of component web"},
	{V1, "orchestration", "orchestration_system.web.cors.max_age_seconds", "", "browsers cache as long as they like"},
	{V1, "orchestration", "orchestration_events", "orchestration.event_systems.orchestration", ""},
	{V1, "orchestration", "task_readiness_events", "orchestration.event_systems.task_readiness", ""},
	{V1, "orchestration", "orchestration_events.metadata", "", "it was filled in at run time"},
	{V1, "orchestration", "task_readiness_events.metadata", "", "it was filled in at run time"},
	{V1, "orchestration", "mpsc_channels", "orchestration.mpsc_channels", ""},
	{V1, "orchestration", "staleness_detection", "orchestration.staleness_detection", unread},
	{V1, "orchestration", "dlq", "orchestration.dlq", unread},
	{V1, "orchestration", "archive", "orchestration.archive", unread},
	{V1, "", "task_readiness", "", "orchestration.event_systems.task_readiness does its work"},

	{V1, "worker", "worker_system", "worker.system", ""},
	{V1, "worker", "worker_system.event_driven", "worker.system.event_driven", unread},
	{V1, "worker", "worker_system.listener", "worker.system.listener", unread},
	{V1, "worker", "worker_system.fallback_poller", "worker.system.fallback_poller", unread},
	{V1, "worker", "worker_system.resource_limits", "worker.system.resource_limits", unread},
	{V1, "worker", "worker_system.queue_config", "worker.system.queue_config", unread},
	{V1, "worker", "worker_system.web.tls", "", "no server of v1 listened with TLS; worker.system.web.tls has what it needs now"},
	{V1, "worker", "worker_system.web.database_pools", "", "a process has one pool, common.database.pool"},
	{V1, "worker", "worker_system.web.cors", "", "a worker serves health and metrics, to no browser"},
	{V1, "worker", "worker_system.web.auth", "", "worker.system.web.auth asks who calls, by other keys"},
	{V1, "worker", "worker_system.web.rate_limiting", "", "it had no effect; limit rates in a proxy"},
	{V1, "worker", "worker_system.web.resilience", "", "common.circuit_breakers has the breaker of component web"},
	{V1, "worker", "worker_events", "worker.event_system", ""},
	{V1, "worker", "mpsc_channels", "worker.mpsc_channels", ""},
	{V1, "worker", "mpsc_channels.event_subscribers", "worker.mpsc_channels.event_subscribers", ""},
	{V1, "worker", "mpsc_channels.in_process_events", "worker.mpsc_channels.in_process_events", ""},
	{V1, "worker", "template_path", "common.task_templates.template_path", ""},

	{Phase2, "", "mpsc_channels.shared", "common.mpsc_channels", ""},
	{Phase2, "", "mpsc_channels.orchestration", "orchestration.mpsc_channels", ""},
	{Phase2, "", "mpsc_channels.worker", "worker.mpsc_channels", ""},
	{Phase2, "", "mpsc_channels.task_readiness", "orchestration.mpsc_channels.task_readiness", ""},
	{Phase2, "", "event_systems.orchestration", "orchestration.event_systems.orchestration", ""},
	{Phase2, "", "event_systems.orchestration.metadata", "", "it was filled in at run time"},
	{Phase2, "", "event_systems.task_readiness", "orchestration.event_systems.task_readiness", ""},
	{Phase2, "", "event_systems.task_readiness.metadata", "", "it was filled in at run time"},
	{Phase2, "", "event_systems.worker", "worker.event_system", ""},

	{Landed, "", "common.execution", "", "it had no effect"},
	{Landed, "", "common.execution.environment", "common.environment", ""},
	{Landed, "", "common.backoff", "orchestration.backoff", ""},
	{Landed, "", "common.telemetry.service_name", "common.system.process_name", ""},
	{Landed, "", "common.telemetry.sample_rate", "common.telemetry.tracing.sampling_rate", ""},
	{Landed, "", "orchestration.mode", "orchestration.system.mode", ""},
	{Landed, "", "orchestration.enable_performance_logging", "orchestration.system.enable_performance_logging", ""},
	{Landed, "", "orchestration.web", "orchestration.system.web", ""},
	{Landed, "", "orchestration.web.database_pools", "", "a process has one pool, common.database.pool"},
	{Landed, "", "orchestration.web.resilience", "", "common.circuit_breakers has the breaker of component web"},
	{Landed, "", "orchestration.dlq.staleness_detection", "orchestration.staleness_detection", ""},
	{Landed, "", "worker.worker_id", "worker.system.worker_id", ""},
	{Landed, "", "worker.worker_type", "worker.system.worker_type", ""},
	{Landed, "", "worker.step_processing", "worker.system.step_processing", ""},
	{Landed, "", "worker.health_monitoring", "worker.system.health_monitoring", ""},
	{Landed, "", "worker.web", "worker.system.web", ""},
	{Landed, "", "worker.web.auth", "", "worker.system.web.auth asks who calls, by other keys"},
	{Landed, "", "worker.web.database_pools", "", "a process has one pool, common.database.pool"},
	{Landed, "", "worker.web.resilience", "", "common.circuit_breakers has the breaker of component web"},
	{Landed, "", "worker.event_systems.worker", "worker.event_system", ""},
	{Landed, "", "worker.event_systems.worker.metadata.fallback_poller.supported_namespaces", "", "a worker polls the namespaces of its handlers"},
	{Landed, "", "worker.orchestration_client", "", "workers and orchestrators meet in the database"},
}

// Formers lists the keys of earlier layouts with what became of them.
func Formers() []Former { return slices.Clone(formers) }

// Find returns what became of a dotted key that stands in a file of that
// section, "" meaning any, and where the key itself is now: "" if it was
// removed.
func Find(file, key string) (f Former, now string, found bool) {
	for _, candidate := range formers {
		if candidate.File != "" && file != "" && candidate.File != file || !isOrUnder(key, candidate.Key) {
			continue
		}
		if !found || len(candidate.Key) > len(f.Key) {
			f, found = candidate, true
		}
	}
	if f.Now != "" {
		now = f.Now + key[len(f.Key):]
	}
	return f, now, found
}

// FindRemoved returns the removed key that would be key in the present layout.
func FindRemoved(key string) (Former, bool) {
	for _, f := range formers {
		if f.Now == "" && isOrUnder(key, f.wouldBe()) {
			return f, true
		}
	}
	return Former{}, false
}

// wouldBe returns where a removed key would be if only the tables around it had
// moved.
func (f Former) wouldBe() string {
	around := f.Key
	for {
		i := strings.LastIndexByte(around, '.')
		if i < 0 {
			return f.Key
		}
		around = around[:i]
		if outer, now, found := Find(f.File, around); found && now != "" {
			return outer.Now + f.Key[len(outer.Key):]
		}
	}
}

// isOrUnder reports whether key is outer or a key in it.
func isOrUnder(key, outer string) bool {
	rest, ok := strings.CutPrefix(key, outer)
	return ok && (rest == "" || rest[0] == '.')
}

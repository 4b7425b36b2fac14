package config

import (
	"slices"
	"strings"
)

// A Layout is an arrangement of keys that came before the present one.
type Layout string

// The earlier layouts.
const (
	LayoutV1     Layout = "v1"           // flat tables in every file: [database], [orchestration_system]
	LayoutPhase2 Layout = "v1, phase 2"  // v1 on its way: [mpsc_channels.shared], [event_systems.worker]
	LayoutLanded Layout = "v2 as landed" // what the first Tasker shipped as its v2: [worker] worker_id
)

// Former is a key or table of an earlier layout. It stands for everything below
// it that has no entry of its own.
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

// formerKeys are the keys that users of earlier layouts know. Where a key and a
// table around it are both listed, the key counts.
var formerKeys = []Former{
	{LayoutV1, "", "environment", "common.environment", ""},

	{LayoutV1, "common", "database", "common.database", ""},
	{LayoutV1, "common", "database.database", "", "the database is named in common.database.url"},
	{LayoutV1, "common", "database.host", "", "the server is named in common.database.url"},
	{LayoutV1, "common", "database.adapter", "", "the database is always PostgreSQL"},
	{LayoutV1, "common", "database.username", "", "the user is named in common.database.url"},
	{LayoutV1, "common", "database.password", "", "the password is part of common.database.url"},
	{LayoutV1, "common", "database.encoding", "", "the server decides; it had no effect"},
	{LayoutV1, "common", "database.checkout_timeout", "", "common.database.pool.acquire_timeout_seconds bounds the wait"},
	{LayoutV1, "common", "database.reaping_frequency", "", "it had no effect"},
	{LayoutV1, "common", "database.skip_migration_check", "", "it had no effect"},
	{LayoutV1, "common", "database.enable_secondary_database", "", "there is one database"},

	{LayoutV1, "common", "queues", "common.queues", ""},
	{LayoutV1, "common", "queues.default_namespace", "", "namespaces come from the templates"},
	{LayoutV1, "common", "queues.pgmq_backend", "", "it had no effect; common.queues.pgmq has the settings of pgmq"},

	{LayoutV1, "common", "shared_channels", "common.mpsc_channels", ""},
	{LayoutV1, "common", "mpsc_channels.overflow_policy", "common.mpsc_channels.overflow_policy", ""},
	{LayoutV1, "common", "circuit_breakers", "common.circuit_breakers", ""},
	{LayoutV1, "common", "circuit_breakers.global_settings.auto_create_enabled", "", "breakers are made for the components there are"},

	{LayoutV1, "common", "telemetry", "common.telemetry", ""},
	{LayoutV1, "common", "telemetry.service_name", "", "common.system.process_name names the process"},
	{LayoutV1, "common", "telemetry.sample_rate", "", "common.telemetry.tracing.sampling_rate says it"},
	{LayoutV1, "common", "telemetry.opentelemetry", "", "common.telemetry.metrics and common.telemetry.tracing have its settings"},

	{LayoutV1, "common", "system", "common.system", ""},
	{LayoutV1, "common", "system.version", "", "a program knows its own version"},
	{LayoutV1, "common", "system.default_dependent_system", "", "it had no effect"},
	{LayoutV1, "common", "system.max_recursion_depth", "", "orchestration.decision_points.max_decision_depth bounds what may grow"},

	{LayoutV1, "common", "execution", "", "it had no effect"},
	{LayoutV1, "common", "execution.environment", "common.environment", ""},
	{LayoutV1, "common", "execution.timeouts", "", "it had no effect; common.queues.pgmq.shutdown_timeout_seconds and " +
		"timing.processing_timeout_seconds of the event systems come nearest"},

	{LayoutV1, "common", "task_templates", "common.task_templates", ""},
	{LayoutV1, "common", "task_templates.search_paths", "", "common.task_templates.template_path names the one directory"},
	{LayoutV1, "", "decision_points", "orchestration.decision_points", ""},

	{LayoutV1, "orchestration", "backoff", "orchestration.backoff", ""},
	{LayoutV1, "orchestration", "orchestration_system", "orchestration.system", ""},
	{LayoutV1, "orchestration", "orchestration_system.web.tls", "", "no server ever listened with TLS; put a proxy in front"},
	{LayoutV1, "orchestration", "orchestration_system.web.database_pools", "", "a process has one pool, common.database.pool"},
	{LayoutV1, "orchestration", "orchestration_system.web.rate_limiting", "", "it had no effect; limit rates in a proxy"},
	{LayoutV1, "orchestration", "orchestration_system.web.resilience", "", "common.circuit_breakers has the breaker of component web"},
	{LayoutV1, "orchestration", "orchestration_system.web.cors.max_age_seconds", "", "browsers cache as long as they like"},
	{LayoutV1, "orchestration", "orchestration_events", "orchestration.event_systems.orchestration", ""},
	{LayoutV1, "orchestration", "task_readiness_events", "orchestration.event_systems.task_readiness", ""},
	{LayoutV1, "orchestration", "mpsc_channels", "orchestration.mpsc_channels", ""},
	{LayoutV1, "orchestration", "staleness_detection", "orchestration.staleness_detection", ""},
	{LayoutV1, "orchestration", "dlq", "orchestration.dlq", ""},
	{LayoutV1, "orchestration", "archive", "orchestration.archive", ""},
	{LayoutV1, "", "task_readiness", "", "orchestration.event_systems.task_readiness does its work"},

	{LayoutV1, "worker", "worker_system", "worker.system", ""},
	{LayoutV1, "worker", "worker_system.web.tls", "", "no server ever listened with TLS; put a proxy in front"},
	{LayoutV1, "worker", "worker_system.web.database_pools", "", "a process has one pool, common.database.pool"},
	{LayoutV1, "worker", "worker_system.web.cors", "", "a worker serves health and metrics, to no browser"},
	{LayoutV1, "worker", "worker_system.web.auth", "", "a worker serves health and metrics, to everybody"},
	{LayoutV1, "worker", "worker_system.web.rate_limiting", "", "it had no effect; limit rates in a proxy"},
	{LayoutV1, "worker", "worker_system.web.resilience", "", "common.circuit_breakers has the breaker of component web"},
	{LayoutV1, "worker", "worker_events", "worker.event_system", ""},
	{LayoutV1, "worker", "mpsc_channels", "worker.mpsc_channels", ""},
	{LayoutV1, "worker", "template_path", "common.task_templates.template_path", ""},

	{LayoutPhase2, "", "mpsc_channels.shared", "common.mpsc_channels", ""},
	{LayoutPhase2, "", "mpsc_channels.orchestration", "orchestration.mpsc_channels", ""},
	{LayoutPhase2, "", "mpsc_channels.worker", "worker.mpsc_channels", ""},
	{LayoutPhase2, "", "mpsc_channels.task_readiness", "orchestration.mpsc_channels.task_readiness", ""},
	{LayoutPhase2, "", "event_systems.orchestration", "orchestration.event_systems.orchestration", ""},
	{LayoutPhase2, "", "event_systems.task_readiness", "orchestration.event_systems.task_readiness", ""},
	{LayoutPhase2, "", "event_systems.worker", "worker.event_system", ""},

	{LayoutLanded, "", "common.execution", "", "it had no effect"},
	{LayoutLanded, "", "common.execution.environment", "common.environment", ""},
	{LayoutLanded, "", "common.backoff", "orchestration.backoff", ""},
	{LayoutLanded, "", "common.telemetry.service_name", "common.system.process_name", ""},
	{LayoutLanded, "", "common.telemetry.sample_rate", "common.telemetry.tracing.sampling_rate", ""},
	{LayoutLanded, "", "orchestration.mode", "orchestration.system.mode", ""},
	{LayoutLanded, "", "orchestration.enable_performance_logging", "orchestration.system.enable_performance_logging", ""},
	{LayoutLanded, "", "orchestration.web", "orchestration.system.web", ""},
	{LayoutLanded, "", "orchestration.dlq.staleness_detection", "orchestration.staleness_detection", ""},
	{LayoutLanded, "", "worker.worker_id", "worker.system.worker_id", ""},
	{LayoutLanded, "", "worker.worker_type", "worker.system.worker_type", ""},
	{LayoutLanded, "", "worker.step_processing", "worker.system.step_processing", ""},
	{LayoutLanded, "", "worker.health_monitoring", "worker.system.health_monitoring", ""},
	{LayoutLanded, "", "worker.web", "worker.system.web", ""},
	{LayoutLanded, "", "worker.event_systems.worker", "worker.event_system", ""},
	{LayoutLanded, "", "worker.event_systems.worker.metadata.fallback_poller.supported_namespaces", "", "a worker polls the namespaces of its handlers"},
	{LayoutLanded, "", "worker.orchestration_client", "", "workers and orchestrators meet in the database"},
}

// FormerKeys lists the keys of earlier layouts with what became of them.
func FormerKeys() []Former { return slices.Clone(formerKeys) }

// FindFormer returns what became of a dotted key that stands in a file of that
// section, "" meaning any, and where the key itself is now: "" if it was
// removed.
func FindFormer(file, key string) (f Former, now string, found bool) {
	for _, candidate := range formerKeys {
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

// findRemoved returns the removed key that would be key in the present layout.
func findRemoved(key string) (Former, bool) {
	for _, f := range formerKeys {
		if f.Now == "" && isOrUnder(key, f.wouldBe()) {
			return f, true
		}
	}
	return Former{}, false
}

// wouldBe returns where a removed key would be if only the tables around it had
// moved.
func (f Former) wouldBe() string {
	table := f.Key
	for {
		i := strings.LastIndexByte(table, '.')
		if i < 0 {
			return f.Key
		}
		table = table[:i]
		if around, now, found := FindFormer(f.File, table); found && now != "" {
			return around.Now + f.Key[len(around.Key):]
		}
	}
}

// isOrUnder reports whether key is table or a key in it.
func isOrUnder(key, table string) bool {
	rest, ok := strings.CutPrefix(key, table)
	return ok && (rest == "" || rest[0] == '.')
}

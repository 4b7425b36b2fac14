package config

import (
	"slices"
	"strings"
)

// breakerComponents are the names under which calls pass a circuit breaker.
var breakerComponents = []string{"pgmq", "rabbitmq", "task_readiness", "web"}

func (c *Common) check(s scope) {
	if p := c.Database.Pool; p.MinConnections > p.MaxConnections {
		s.fail("X1", "database.pool.min_connections database.pool.max_connections",
			"is %d, above max_connections = %d", p.MinConnections, p.MaxConnections)
	}
	for name := range c.CircuitBreakers.ComponentConfigs {
		if !slices.Contains(breakerComponents, name) {
			s.warn("unknown-breaker", "circuit_breakers.component_configs."+name,
				"has no effect: no component bears that name, there are %s", strings.Join(breakerComponents, ", "))
		}
	}
	c.Queues.check(s.at("queues"))
	if path := c.TaskTemplates.TemplatePath; path != "" && !s.isDirectory(path) {
		s.fail("no-directory", "task_templates.template_path", "is no directory")
	}
}

func (q *Queues) check(s scope) {
	if q.DefaultBatchSize > q.MaxBatchSize {
		s.fail("X2", "default_batch_size max_batch_size", "is %d, above max_batch_size = %d", q.DefaultBatchSize, q.MaxBatchSize)
	}
	q.OrchestrationQueues.check(s.at("orchestration_queues"))
	if q.Backend == BackendRabbitMQ && q.RabbitMQ == nil {
		s.fail("X19", "backend", "is rabbitmq, and there is no table %s.rabbitmq", s.prefix)
	}
}

// check applies X12.
func (q *OrchestrationQueues) check(s scope) {
	names := []struct{ key, name string }{
		{"task_requests", q.TaskRequests},
		{"task_finalizations", q.TaskFinalizations},
		{"step_results", q.StepResults},
	}
	for i, n := range names {
		for _, other := range names[:i] {
			if n.name == other.name {
				s.fail("X12", n.key+" "+other.key, "names the same queue as %s", other.key)
			}
		}
	}
}

// check applies X18.
func (c *CORS) check(s scope) {
	if !c.Enabled {
		return
	}
	for _, l := range []struct {
		key  string
		list []string
	}{
		{"allowed_origins", c.AllowedOrigins},
		{"allowed_methods", c.AllowedMethods},
		{"allowed_headers", c.AllowedHeaders},
	} {
		if len(l.list) == 0 {
			s.fail("X18", l.key+" enabled", "is empty, and CORS is enabled")
		}
		if len(l.list) > 1 && slices.Contains(l.list, "*") {
			s.fail("X18", l.key, `has "*" beside other entries, which it allows already`)
		}
	}
}

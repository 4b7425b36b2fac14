package config

import (
	"encoding/pem"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// breakerComponents are the names under which calls pass a circuit breaker.
var breakerComponents = []string{"pgmq", "rabbitmq", "task_readiness", "web"}

// builtInBackends are the message backends that this version has.
var builtInBackends = []Backend{BackendPGMQ}

func (c *Common) check(s scope) {
	c.Database.check(s.at("database"))
	for name := range c.CircuitBreakers.ComponentConfigs {
		if !slices.Contains(breakerComponents, name) {
			s.warn("unknown-breaker", "circuit_breakers.component_configs."+name,
				"has no effect: no component bears that name, there are %s", strings.Join(breakerComponents, ", "))
		}
	}
	c.Queues.check(s.at("queues"))
	for _, e := range []struct{ key, url string }{
		{"telemetry.metrics.export_endpoint", c.Telemetry.Metrics.ExportEndpoint},
		{"telemetry.tracing.export_endpoint", c.Telemetry.Tracing.ExportEndpoint},
	} {
		if e.url != "" && !isHTTPURL(e.url) {
			s.fail("bad-url", e.key, "is no http or https URL; leave it empty to export nothing")
		}
	}
	if path := c.TaskTemplates.TemplatePath; path != "" && !s.isDirectory(path) {
		s.fail("no-directory", "task_templates.template_path", "is no directory; leave it empty for the usual places")
	}
}

func (d *Database) check(s scope) {
	if !isDatabaseURL(d.URL) {
		s.fail("bad-url", "url", "is no database URL; it looks like postgresql://user:password@host:5432/name")
	}
	if p := d.Pool; p.MinConnections > p.MaxConnections {
		s.fail("X1", "pool.min_connections pool.max_connections", "is %d, above max_connections = %d", p.MinConnections, p.MaxConnections)
	}
}

func (q *Queues) check(s scope) {
	if q.DefaultBatchSize > q.MaxBatchSize {
		s.fail("X2", "default_batch_size max_batch_size", "is %d, above max_batch_size = %d", q.DefaultBatchSize, q.MaxBatchSize)
	}
	for _, n := range []struct{ key, name string }{
		{"orchestration_namespace", q.OrchestrationNamespace},
		{"worker_namespace", q.WorkerNamespace},
	} {
		if !isQueueName(n.name) {
			s.fail("bad-name", n.key, "has other characters than a to z, 0 to 9 and _")
		}
	}
	q.OrchestrationQueues.check(s.at("orchestration_queues"))
	q.checkPattern(s)
	if q.Backend != BackendRabbitMQ {
		return
	}
	if q.RabbitMQ == nil {
		s.fail("X19", "backend", "is rabbitmq, and there is no table %s.rabbitmq", s.prefix)
	}
	if !slices.Contains(builtInBackends, q.Backend) {
		s.fail("X19", "backend", "is rabbitmq, which is not built into this version; use pgmq")
	}
}

func (q *OrchestrationQueues) check(s scope) {
	names := []struct{ key, name string }{
		{"task_requests", q.TaskRequests},
		{"task_finalizations", q.TaskFinalizations},
		{"step_results", q.StepResults},
	}
	for i, n := range names {
		if !isQueueName(n.name) {
			s.fail("X12", n.key, "has other characters than a to z, 0 to 9 and _")
		}
		for _, other := range names[:i] {
			if n.name == other.name {
				s.fail("X12", n.key+" "+other.key, "names the same queue as %s", other.key)
			}
		}
	}
}

// checkPattern applies X22.
func (q *Queues) checkPattern(s scope) {
	rest := strings.Replace(q.NamingPattern, "{namespace}", "", 1)
	rest = strings.Replace(rest, "{name}", "", 1)
	if len(rest) != len(q.NamingPattern)-len("{namespace}{name}") || strings.ContainsAny(rest, "{}") {
		s.fail("X22", "naming_pattern", "must have {namespace} and {name} once each and no other braces")
	}
}

func (w *Web) check(s scope) {
	_, port, err := net.SplitHostPort(w.BindAddress)
	if n, atoiErr := strconv.Atoi(port); err != nil || atoiErr != nil || n < 0 || n > 65535 {
		s.fail("bad-address", "bind_address", "is no address; write host:port, :port or [ipv6]:port")
	}
}

func (a *Auth) check(s scope) {
	if !isHeaderName(a.APIKeyHeader) {
		s.fail("bad-name", "api_key_header", "is no name of an HTTP header")
	}
	keys := []struct{ key, pem string }{
		{"jwt_private_key", a.JWTPrivateKey},
		{"jwt_public_key", a.JWTPublicKey},
	}
	for _, k := range keys {
		if block, _ := pem.Decode([]byte(k.pem)); k.pem != "" && block == nil {
			s.fail("X11", k.key, "is no PEM block; it begins with -----BEGIN")
		}
	}
	if a.Enabled && a.APIKey == "" && (a.JWTPrivateKey == "" || a.JWTPublicKey == "") {
		s.fail("X11", "enabled jwt_private_key jwt_public_key api_key",
			"is true, and there is neither an api_key nor a pair of jwt_private_key and jwt_public_key")
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
			s.fail("X18", l.key+" enabled", `is empty; write ["*"] to allow all, or set enabled = false`)
		}
		if len(l.list) > 1 && slices.Contains(l.list, "*") {
			s.fail("X18", l.key, `has "*" beside other entries; it allows all of them already`)
		}
	}
}

// isDatabaseURL reports whether text has the form of a PostgreSQL URL. The
// driver, which knows sockets and several hosts, judges the rest.
func isDatabaseURL(text string) bool {
	rest, ok := strings.CutPrefix(text, "postgresql://")
	if !ok {
		rest, ok = strings.CutPrefix(text, "postgres://")
	}
	return ok && rest != "" && !strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

func isHTTPURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// isQueueName reports whether text can be part of a PGMQ table name.
func isQueueName(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
}

// isHeaderName reports whether text is a token, RFC 9110 section 5.6.2.
func isHeaderName(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

package config

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// checker holds a configuration against the rules that look at more than one
// key or at more than a range. Rules X1 to X27 are named as in the table of
// docs/configuration-errors.md.
type checker struct {
	cfg     *Config
	tree    *tomltree.Value
	unsure  []string
	report  *Report
	offline bool
}

// run applies every rule to the sections of a context.
func (c *checker) run(context Context) {
	for _, section := range context.sections()[1:] {
		if c.tree.Lookup(section) == nil {
			c.report.Add(Problem{
				Code: "X23", Key: section, Pos: c.tree.Pos(),
				Message: fmt.Sprintf("is missing, and context %s needs it", context),
				Fix:     fmt.Sprintf("load a file that was generated for context %s", context),
			})
		}
	}
	c.cfg.Common.check(c.at("common"))
	if c.cfg.Orchestration != nil {
		c.cfg.Orchestration.check(c.at("orchestration"))
	}
	if c.cfg.Worker != nil {
		c.cfg.Worker.check(c.at("worker"))
	}
	c.acrossSections()
}

// at returns the scope of one table.
func (c *checker) at(prefix string) scope { return scope{c, prefix} }

// scope is a table under check.
type scope struct {
	*checker
	prefix string
}

// at returns the scope of a table below.
func (s scope) at(key string) scope { return scope{s.checker, s.prefix + "." + key} }

// fail reports an error of the first of keys, which are separated by spaces.
// The others have a part in it. Nothing is reported if one of them is unsure:
// its own problem comes first. The arguments must not hold secrets.
func (s scope) fail(rule, keys, format string, args ...any) {
	s.add(tomltree.Error, rule, keys, fmt.Sprintf(format, args...))
}

// warn is fail for what the system can live with.
func (s scope) warn(rule, keys, format string, args ...any) {
	s.add(tomltree.Warning, rule, keys, fmt.Sprintf(format, args...))
}

func (s scope) add(severity tomltree.Severity, rule, keys, message string) {
	problem := Problem{Severity: severity, Code: rule, Message: message}
	for i, key := range strings.Fields(keys) {
		if s.prefix != "" {
			key = s.prefix + "." + key
		}
		if s.isUnsure(key) {
			return
		}
		v := s.tree.Lookup(strings.Split(key, ".")...)
		switch {
		case i == 0:
			problem.Key = key
			if v != nil {
				problem.Pos = v.Pos()
				problem.Chain = schema().Chain(key, v)
			}
		case v != nil:
			problem.Also = append(problem.Also, tomltree.Place{Pos: v.Pos(), Note: key})
		}
	}
	s.report.Add(problem)
}

// isUnsure reports whether key, or a table it is in, or an entry of it has no
// sound value.
func (c *checker) isUnsure(key string) bool {
	return slices.ContainsFunc(c.unsure, func(u string) bool {
		return u == key || strings.HasPrefix(key, u+".") || strings.HasPrefix(u, key+".")
	})
}

// acrossSections applies the rules that compare common, orchestration and
// worker.
func (c *checker) acrossSections() {
	o, w := c.cfg.Orchestration, c.cfg.Worker
	all := c.at("")
	ids := map[string]string{}
	for _, e := range c.eventSystems() {
		if e.SystemID == "" {
			continue // reported already
		}
		if first, taken := ids[e.SystemID]; taken {
			all.fail("X13", e.key+".system_id "+first+".system_id", "is the id of another event system too")
		}
		ids[e.SystemID] = e.key
	}
	if w != nil {
		pool := c.cfg.Common.Database.Pool.MaxConnections
		for _, limits := range w.resourceLimits() {
			if limits.MaxDatabaseConnections > pool {
				all.warn("X17", limits.key+".max_database_connections common.database.pool.max_connections",
					"is %d, above the %d of the pool", limits.MaxDatabaseConnections, pool)
			}
		}
	}
	if o != nil && w != nil && o.System.Web.Enabled && w.System.Web.Enabled &&
		sameAddress(o.System.Web.BindAddress, w.System.Web.BindAddress) {
		all.fail("X10", "worker.system.web.bind_address orchestration.system.web.bind_address",
			"takes the address of the other web server of the process")
	}
	c.productionRules()
}

type namedEventSystem struct {
	key string
	EventSystem
}

// eventSystems lists the event systems that are present.
func (c *checker) eventSystems() []namedEventSystem {
	var list []namedEventSystem
	if o := c.cfg.Orchestration; o != nil {
		list = append(list,
			namedEventSystem{"orchestration.event_systems.orchestration", o.EventSystems.Orchestration},
			namedEventSystem{"orchestration.event_systems.task_readiness", o.EventSystems.TaskReadiness})
	}
	if w := c.cfg.Worker; w != nil {
		list = append(list, namedEventSystem{"worker.event_system", w.EventSystem.EventSystem})
	}
	return list
}

// productionRules warn of what suits a desk and not a public service (X16).
func (c *checker) productionRules() {
	if c.cfg.Common.Environment != Production {
		return
	}
	all := c.at("")
	if host := databaseHost(c.cfg.Common.Database.URL); slices.Contains([]string{"localhost", "127.0.0.1", "[::1]"}, host) {
		all.warn("X16", "common.database.url", "leads to this machine, in production")
	}
	if t := c.cfg.Common.Telemetry; t.Enabled && t.Tracing.Enabled && t.Tracing.SamplingRate == 1 {
		all.warn("X16", "common.telemetry.tracing.sampling_rate", "keeps every trace, in production")
	}
	if o := c.cfg.Orchestration; o != nil && o.System.Web.Enabled {
		web := o.System.Web
		web.Auth.checkProduction(c.at("orchestration.system.web.auth"))
		if web.CORS.Enabled && slices.Contains(web.CORS.AllowedOrigins, "*") {
			all.warn("X16", "orchestration.system.web.cors.allowed_origins", "lets every web page call the API, in production")
		}
	}
}

// sameAddress reports whether two servers cannot listen at a and b at once.
func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	everywhere := []string{"", "0.0.0.0", "::"}
	return hostA == hostB || slices.Contains(everywhere, hostA) || slices.Contains(everywhere, hostB)
}

// databaseHost returns the host in a database URL, "" for a socket.
func databaseHost(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.HasSuffix(rest, "]") {
		rest = rest[:i]
	}
	return rest
}

// isDirectory reports whether path is a directory, or offline, that it might be.
func (c *checker) isDirectory(path string) bool {
	if c.offline {
		return true
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

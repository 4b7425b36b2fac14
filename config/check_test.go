package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/common/signingkey"
)

// rules has an overlay for every rule of the table X1 to X27, laid over the
// built-in tree in the complete context, and what it gives: severity, code and
// key. X15, X23 and X26 have tests of their own.
var rules = []struct {
	environment Environment
	overlay     string
	want        string
}{
	{Test, "[common.database.pool]\nmin_connections = 11", "error X1 common.database.pool.min_connections"},
	{Test, "[common.queues]\ndefault_batch_size = 101", "error X2 common.queues.default_batch_size"},
	{Test, "[common.queues]\nmax_batch_size = 49", "warning X2 orchestration.event_systems.task_readiness.processing.batch_size"},
	{Test, "[worker.system.queue_config]\nbatch_size = 101\n[worker.mpsc_channels.event_systems]\nevent_channel_buffer_size = 500", "warning X2 worker.system.queue_config.batch_size"},
	{Test, "[worker.event_system.processing.backoff]\ninitial_delay_ms = 5001", "error X3 worker.event_system.processing.backoff.initial_delay_ms"},
	{Test, "[orchestration.backoff]\nmax_backoff_seconds = 3", "error X4 orchestration.backoff.default_backoff_seconds"},
	{Test, "[orchestration.backoff]\ndefault_backoff_seconds = [2, 1]", "warning X4 orchestration.backoff.default_backoff_seconds"},
	{Test, "[worker.event_system.timing]\nprocessing_timeout_seconds = 31", "warning X5 worker.event_system.timing.processing_timeout_seconds"},
	{Test, "[orchestration.event_systems.orchestration.timing]\nclaim_timeout_seconds = 29", "warning X6 orchestration.event_systems.orchestration.timing.visibility_timeout_seconds"},
	{Test, "[orchestration.staleness_detection.thresholds]\nwaiting_for_retry_minutes = 61\ntask_max_lifetime_hours = 1", "error X7 orchestration.staleness_detection.thresholds.waiting_for_retry_minutes"},
	{Test, "[orchestration.decision_points]\nwarn_threshold_steps = 11", "error X8 orchestration.decision_points.warn_threshold_steps"},
	{Test, "[orchestration.decision_points]\nwarn_threshold_depth = 6", "error X8 orchestration.decision_points.warn_threshold_depth"},
	{Test, "[worker.event_system]\ndeployment_mode = 'PollingOnly'", "error X9 worker.system.event_driven.deployment_mode"},
	{Test, "[worker.event_system]\ndeployment_mode = 'EventDrivenOnly'\nmetadata.fallback_poller.enabled = false\n[worker.system.event_driven]\nenabled = false\ndeployment_mode = 'EventDrivenOnly'", "error X9 worker.system.event_driven.enabled"},
	{Test, "[worker.system.web]\nbind_address = ':8080'", "error X10 worker.system.web.bind_address"},
	{Test, "[worker.system.web]\nbind_address = ':8080'\nenabled = false", ""},
	{Test, "[worker.system.web]\nbind_address = ':0'\n[orchestration.system.web]\nbind_address = ':0'", ""},
	{Test, "[worker.system.web]\nbind_address = '127.0.0.1:1'\n[orchestration.system.web]\nbind_address = '127.0.0.2:1'", ""},
	{Test, "[orchestration.system.web.auth]\nenabled = true", "error X11 orchestration.system.web.auth.enabled"},
	{Test, "[orchestration.system.web.auth]\nenabled = true\napi_key = 'k'\nprotected_routes = []", ""},
	{Test, "[orchestration.system.web.auth]\nenabled = true\napi_key = 'k'", "warning X11 orchestration.system.web.auth.protected_routes"},
	{Test, "[worker.system.web.auth]\nenabled = true", "error X11 worker.system.web.auth.enabled"},
	{Test, "[worker.system.web.auth]\nenabled = true\njwks_url = 'http://127.0.0.1/keys'", ""},
	{Test, "[worker.system.web.auth]\nenabled = true\njwks_url = 'http://127.0.0.1/keys'\nprotected_routes = [{method = 'GET', path = '/config', auth_type = 'api_key', required = true}]", "warning X11 worker.system.web.auth.protected_routes"},
	{Production, "[common.database]\nurl = 'postgres://db/x'\n[worker.system.web.auth]\nenabled = true\njwks_url = 'http://127.0.0.1/keys'", "error bad-url worker.system.web.auth.jwks_url"},
	{Test, "[worker.system.web.auth]\napi_keys = [{description = 'k'}]", "error X11 worker.system.web.auth.api_keys"},
	{Test, "[worker.system.web.auth]\napi_keys = [{description = 'k', key_hash = 'sha256:00'}]", "error X11 worker.system.web.auth.api_keys.0.key_hash"},
	{Test, "[worker.system.web.auth]\napi_keys = [{description = 'k', key_file = 'f', permissions = ['tasks:*', '*']}]", "error bad-permission worker.system.web.auth.api_keys"},
	{Test, "[worker.system.web.auth]\napi_keys = [{description = 'k', key_file = 'f', roles = ['r']}]", "error bad-permission worker.system.web.auth.api_keys"},
	{Test, "[worker.system.web.auth]\nroles = [{name = 'r', permissions = ['tasks:fly']}]", "error bad-permission worker.system.web.auth.roles"},
	{Test, "[worker.system.web.auth]\nroles = [{name = 'r', permissions = []}, {name = 'r', permissions = []}]", "error bad-permission worker.system.web.auth.roles"},
	{Test, "[worker.system.web.auth]\napi_keys = [{description = 'k', key_file = 'f', roles = ['r']}]\nroles = [{name = 'r', permissions = ['tasks:*', 'dlq:read']}]", ""},
	{Test, "[orchestration.system.web.auth]\njwt_public_key = 'k'", "error X11 orchestration.system.web.auth.jwt_public_key"},
	{Test, "[common.queues.orchestration_queues]\nstep_results = 'orchestration_task_requests_queue'", "error X12 common.queues.orchestration_queues.step_results"},
	{Test, "[common.queues.orchestration_queues]\nstep_results = 'Step-Results'", "error X12 common.queues.orchestration_queues.step_results"},
	{Test, "[worker.event_system]\nsystem_id = 'task-readiness-event-system'", "error X13 worker.event_system.system_id"},
	{Test, "[worker.system.fallback_poller]\nage_threshold_seconds = 3600\nmax_age_hours = 1", "error X14 worker.system.fallback_poller.age_threshold_seconds"},
	{Test, "[worker.event_system.metadata.fallback_poller]\nage_threshold_seconds = 3600\nmax_age_hours = 1", "error X14 worker.event_system.metadata.fallback_poller.age_threshold_seconds"},
	{Production, "[common.database]\nurl = 'postgres://u:p@localhost:5432/x'", "warning X16 common.database.url"},
	{Production, "[common.database]\nurl = 'postgres://[::1]/x'", "warning X16 common.database.url"},
	{Production, "[common.database]\nurl = 'postgres://db/x'\n[common.telemetry.tracing]\nsampling_rate = 1", "warning X16 common.telemetry.tracing.sampling_rate"},
	{Production, "[common.database]\nurl = 'postgres://db/x'\n[orchestration.system.web]\nauth = {enabled = true, jwks_url = 'https://id/keys'}\ncors.enabled = false", "warning X16 orchestration.system.web.auth.protected_routes"},
	{Production, "[common.database]\nurl = 'postgres://db/x'\n[orchestration.system.web]\nauth = {enabled = true, jwks_url = 'https://id/keys', protected_routes = []}\ncors.enabled = false", ""},
	{Test, "[worker.system.resource_limits]\nmax_database_connections = 11", "warning X17 worker.system.resource_limits.max_database_connections"},
	{Test, "[orchestration.system.web.cors]\nallowed_headers = []", "error X18 orchestration.system.web.cors.allowed_headers"},
	{Test, "[orchestration.system.web.cors]\nallowed_origins = ['*', 'http://x']", "error X18 orchestration.system.web.cors.allowed_origins"},
	{Test, "[orchestration.system.web.cors]\nenabled = false\nallowed_origins = []", ""},
	{Test, "[orchestration.dlq]\nenabled = false\nauto_dlq_on_staleness = false", "warning X20 orchestration.staleness_detection.actions.auto_move_to_dlq"},
	{Test, "[orchestration.dlq]\nenabled = false\n[orchestration.staleness_detection.actions]\nauto_move_to_dlq = false", "warning X20 orchestration.dlq.auto_dlq_on_staleness"},
	{Test, "[orchestration.dlq.reasons]\nstaleness_timeout = false", "warning X20 orchestration.dlq.auto_dlq_on_staleness"},
	{Test, "[worker.event_system]\ndeployment_mode = 'EventDrivenOnly'\n[worker.system.event_driven]\ndeployment_mode = 'EventDrivenOnly'", "warning X21 worker.event_system.metadata.fallback_poller.enabled"},
	{Test, "[worker.system.web.tls]\nenabled = true\ncert_path = 'c.pem'", "error X27 worker.system.web.tls.enabled"},
	{Test, "[worker.system.web.tls]\nenabled = true\ncert_path = 'c.pem'\nkey_path = 'k.pem'", ""},
	{Test, "[common.queues]\nnaming_pattern = '{name}'", "error X22 common.queues.naming_pattern"},
	{Test, "[common.queues]\nnaming_pattern = '{namespace}_{name}_{name}'", "error X22 common.queues.naming_pattern"},
	{Test, "[common.queues]\nnaming_pattern = '{name}-{namespace}'", ""},
	{Test, "[orchestration.staleness_detection]\ndetection_interval_seconds = 61\nthresholds.steps_in_process_minutes = 1", "warning X24 orchestration.staleness_detection.detection_interval_seconds"},
	{Test, "[worker.mpsc_channels.event_systems]\nevent_channel_buffer_size = 10\n[worker.event_system.processing]\nbatch_size = 11", "warning X24 worker.event_system.processing.batch_size"},
	{Test, "[worker.event_system]\ndeployment_mode = 'hybrid'", "error not-allowed worker.event_system.deployment_mode"}, // X25
	{Test, "[common.telemetry.tracing]\nsampling_rate = inf", "error X26 common.telemetry.tracing.sampling_rate"},

	{Test, "[common.queues]\nworker_namespace = 'Wörk'", "error bad-name common.queues.worker_namespace"},
	{Test, "[orchestration.system.web.auth]\napi_key_header = 'X API'", "error bad-name orchestration.system.web.auth.api_key_header"},
	{Test, "[orchestration.system.web]\nbind_address = 'localhost:65536'", "error bad-address orchestration.system.web.bind_address"},
	{Test, "[orchestration.system.web]\nbind_address = '[::]:0'", ""},
	{Test, "[common.telemetry.metrics]\nexport_endpoint = 'prometheus:9090'", "error bad-url common.telemetry.metrics.export_endpoint"},
	{Test, "[common.task_templates]\ntemplate_path = '/nowhere/at/all'", "error no-directory common.task_templates.template_path"},
	{Test, "[common.circuit_breakers.component_configs.pmgq]\nfailure_threshold = 1\ntimeout_seconds = 1\nsuccess_threshold = 1", "warning unknown-breaker common.circuit_breakers.component_configs.pmgq"},
}

func TestRules(t *testing.T) {
	t.Parallel()
	for _, r := range rules {
		t.Run(r.want, func(t *testing.T) {
			t.Parallel()
			before := problemsOf(t, options(r.environment, "", "DATABASE_URL", "postgres://db/x"))
			got := problemsOf(t, options(r.environment, r.overlay, "DATABASE_URL", "postgres://db/x"))
			got = slices.DeleteFunc(got, func(p string) bool { return slices.Contains(before, p) })
			if r.want == "" && len(got) > 0 || r.want != "" && (len(got) == 0 || got[0] != r.want || slices.ContainsFunc(got[1:], isError)) {
				t.Errorf("%s gives %q, want %q", r.overlay, got, r.want)
			}
		})
	}
}

func isError(p string) bool { return strings.HasPrefix(p, "error") }

// problemsOf lists the problems of the complete context, errors first.
func problemsOf(t *testing.T, opts Options) []string {
	t.Helper()
	loaded, err := Resolve(ContextComplete, opts)
	r, invalid := errors.AsType[*Report](err)
	if err == nil {
		r = loaded.Warnings
	} else if !invalid {
		t.Fatal(err)
	}
	var list []string
	for _, p := range r.Problems {
		list = append(list, p.Severity.String()+" "+p.Code+" "+p.Key)
	}
	slices.SortStableFunc(list, func(a, b string) int { return strings.Compare(a[:1], b[:1]) })
	return list
}

// TestRulesSkipUnsureKeys checks that a value that did not decode is judged
// once.
func TestRulesSkipUnsureKeys(t *testing.T) {
	t.Parallel()
	const overlay = "[common.database.pool]\nmax_connections = 'x'\n[orchestration.backoff]\ndefault_backoff_seconds = ['x']\n[worker.system.web]\nbind_address = 5"
	want := []string{
		"wrong-type common.database.pool.max_connections",
		"wrong-type orchestration.backoff.default_backoff_seconds.0",
		"wrong-type worker.system.web.bind_address",
	}
	if got := errorsOf(report(t, ContextComplete, options(Test, overlay))); !slices.Equal(got, want) {
		t.Errorf("errors are %v, want %v", got, want)
	}
}

// TestBindAddressVariable sets the variable that both web servers read (X10).
func TestBindAddressVariable(t *testing.T) {
	t.Parallel()
	opts := options(Test, "", "TASKER_WEB_BIND_ADDRESS", "127.0.0.1:9000")
	load(t, ContextWorker, opts)
	load(t, ContextOrchestration, opts)
	if got := errorsOf(report(t, ContextComplete, opts)); !slices.Equal(got, []string{"X10 worker.system.web.bind_address"}) {
		t.Errorf("errors are %v", got)
	}
}

// TestAuthKeys gives halves of keys that do and do not belong together (X11). No
// report quotes one.
func TestAuthKeys(t *testing.T) {
	t.Parallel()
	pair := func(algorithm string) (private, public string) {
		private1, public1, err := signingkey.Generate(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		return string(private1), string(public1)
	}
	private, public := pair(signingkey.EdDSA)
	_, other := pair(signingkey.RS256)
	overlay := "[orchestration.system.web.auth]\nenabled = true\njwt_private_key = '${TASKER_JWT_PRIVATE_KEY:-}'\njwt_public_key = '${TASKER_JWT_PUBLIC_KEY:-}'"
	for _, keys := range [][2]string{{private, public}, {private, other + public}, {"", other}} {
		load(t, ContextOrchestration, options(Test, overlay, "TASKER_JWT_PRIVATE_KEY", keys[0], "TASKER_JWT_PUBLIC_KEY", keys[1]))
	}
	for _, tt := range []struct {
		private, public string
		want            []string
	}{
		{private, other, []string{"X11 orchestration.system.web.auth.jwt_private_key"}},
		{private, "", []string{"X11 orchestration.system.web.auth.enabled", "X11 orchestration.system.web.auth.jwt_private_key"}},
		{public, private, []string{"X11 orchestration.system.web.auth.jwt_private_key", "X11 orchestration.system.web.auth.jwt_public_key"}},
		{"", "hunter2", []string{"X11 orchestration.system.web.auth.jwt_public_key"}},
	} {
		r := report(t, ContextOrchestration, options(Test, overlay, "TASKER_JWT_PRIVATE_KEY", tt.private, "TASKER_JWT_PUBLIC_KEY", tt.public))
		if got := errorsOf(r); !slices.Equal(got, tt.want) {
			t.Errorf("errors are %v, want %v", got, tt.want)
		}
		if text := fmt.Sprint(r); strings.Contains(text, strings.Split(private, "\n")[1]) || strings.Contains(text, "hunter2") {
			t.Errorf("a key shows: %s", text)
		}
	}
}

func TestDatabaseHost(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgresql://u:p@localhost:5432/x": "localhost",
		"postgres://localhost":              "localhost",
		"postgres://[::1]:5432/x":           "[::1]",
		"postgres://[::1]/x":                "[::1]",
		"postgres:///x?host=/run":           "",
		"postgres://u:p%40@db?a=b":          "db",
	} {
		if got := databaseHost(url); got != want {
			t.Errorf("the host of %s is %q, want %q", url, got, want)
		}
	}
}

package config

import (
	"slices"
	"strings"
	"testing"
)

// TestSpecCases has the cases of spec/configuration.md section 10 that fit into a
// line each. The others are tests of their own:
//
//   - here: T7 to T9 TestV1Real…, T12 TestLayouts, T14 TestLoadTypos (its effect:
//     TestRetriesFollowTheSettings in orchestration), T15 TestLoadEnvironmentNames and
//     TestV1Environments, T17 TestLoadEnvironmentAlias, T18 to T20 TestLoadDatabaseURL, T21 to
//     T24 TestLoadVariables, T25 TestLoadReportsAllVariables, T32 TestLoadOpensOnlyItsFiles,
//     T33 TestLoadMissingFiles, T34 TestLoadWrongFile, T38 TestGenerate, T40
//     TestGenerateRoundTrip, T41 TestLoadSections, T45 TestV1Keys, T53 TestLoadFindsFiles, T54
//     TestLoadConcurrently;
//   - in internal/cli: T37, T39 config_generate.txtar, T19 TestConfigShowsNoSecret, T52
//     TestDetectUnused with the gate in internal/liveness;
//   - elsewhere: T19, T43 TestConfig in internal/common/web, T49 in internal/common/messaging, T51
//     TestServerFollowsTheSettings in the web packages of the roles.
func TestSpecCases(t *testing.T) {
	t.Parallel()
	const pool, mode, breakers = "common.database.pool", "worker.event_system.deployment_mode", "common.circuit_breakers"
	for _, c := range []struct {
		name, overlay string
		want          []string // the errors; nil for none
		says          string   // a part of the report
		check         func(*Config) bool
	}{
		{
			name: "T1 sub-tables of both layers stay", overlay: "[common.mpsc_channels.ffi]\nruby_event_buffer_size = 150",
			check: func(c *Config) bool {
				return c.Common.Channels.FFI.RubyEventBufferSize == 150 && c.Common.Channels.EventPublisher.EventQueueBufferSize == 100
			},
		},
		{
			name: "T2 a scalar replaces, its siblings stay", overlay: "[" + pool + "]\nmax_connections = 9",
			check: func(c *Config) bool {
				p := c.Common.Database.Pool
				return p.MaxConnections == 9 && p.MinConnections == 2 && p.MaxLifetime == 3600
			},
		},
		{
			name: "T3 an array replaces", overlay: "[orchestration.backoff]\ndefault_backoff_seconds = [3]",
			check: func(c *Config) bool { return slices.Equal(c.Orchestration.Backoff.DefaultBackoff, []Seconds{3}) },
		},
		{
			name: "T4 numbered keys", overlay: "[orchestration.backoff.default_backoff_seconds]\n00 = 1\nx = 1\n-1 = 1",
			want: []string{
				"bad-index orchestration.backoff.default_backoff_seconds.00", "bad-index orchestration.backoff.default_backoff_seconds.x",
				"bad-index orchestration.backoff.default_backoff_seconds.-1",
			},
		},
		{
			name: "T4 a gap", overlay: "[orchestration.backoff.default_backoff_seconds]\n0 = 1\n1 = 1\n3 = 1",
			want: []string{"bad-index orchestration.backoff.default_backoff_seconds.3"}, says: "leaves a gap",
		},
		{name: "T5 a scalar over a table", overlay: "[common.database]\npool = 5", want: []string{"shape-clash " + pool}, says: "::: built-in/base/common.toml:11:18 the layer below"},
		{name: "T5 a table over a scalar", overlay: "[" + pool + ".max_connections]\nx = 1", want: []string{"shape-clash " + pool + ".max_connections"}, says: "::: built-in/environments/test/common.toml:10:1 the layer below"},
		{
			name: "T6 an empty table erases nothing", overlay: "[worker.mpsc_channels.in_process_events]",
			check: func(c *Config) bool { return c.Worker.Channels.InProcessEvents.BroadcastBufferSize == 1000 },
		},
		{
			name: "T26 a number from a placeholder", overlay: "[" + pool + "]\nmax_connections = \"${TASKER_TEMPLATE_PATH:-30}\"",
			check: func(c *Config) bool { return c.Common.Database.Pool.MaxConnections == 30 },
		},
		{name: "T26 not a number", overlay: "[" + pool + "]\nmax_connections = \"${TASKER_TEMPLATE_PATH:-30abc}\"", want: []string{"wrong-type " + pool + ".max_connections"}},
		{
			name: "T27 whole numbers for decimal ones", overlay: "[common.system]\nmax_cpu_percent = 80\n[" + breakers + ".global_settings]\nmin_state_transition_interval_seconds = 1",
			check: func(c *Config) bool {
				return c.Common.System.MaxCPU == 80 && c.Common.CircuitBreakers.GlobalSettings.MinStateTransitionInterval == 1
			},
		},
		{name: "T27 a decimal number for a whole one", overlay: "[" + pool + "]\nmax_connections = 30.0", want: []string{"wrong-type " + pool + ".max_connections"}},
		{name: "T27 a negative number", overlay: "[" + pool + "]\nmax_connections = -1", want: []string{"out-of-range " + pool + ".max_connections"}},
		{name: "T27 a large number", overlay: "[" + pool + "]\nmax_connections = 9999999999", want: []string{"out-of-range " + pool + ".max_connections"}},
		{name: "T27 a text", overlay: "[" + pool + "]\nmax_connections = '30'", want: []string{"wrong-type " + pool + ".max_connections"}, says: "write it without the quotes"},
		{name: "T27 not a number", overlay: "[common.telemetry.tracing]\nsampling_rate = nan", want: []string{"X26 common.telemetry.tracing.sampling_rate"}},
		{name: "T28 more kept than allowed", overlay: "[" + pool + "]\nmin_connections = 40\nmax_connections = 30", want: []string{"X1 " + pool + ".min_connections"}},
		{name: "T29 case counts", overlay: mode + " = 'hybrid'", want: []string{"not-allowed " + mode}, says: "want one of Hybrid, EventDrivenOnly, PollingOnly"},
		{name: "T29 a mode that there was", overlay: mode + " = 'Disabled'", want: []string{"not-allowed " + mode}, says: "want one of Hybrid, EventDrivenOnly, PollingOnly"},
		{name: "T29 no mode", overlay: mode + " = ''", want: []string{"not-allowed " + mode}, says: "want one of Hybrid, EventDrivenOnly, PollingOnly"},
		{name: "T30 drop_policy", overlay: "common.mpsc_channels.overflow_policy.drop_policy = 'drop'", want: []string{"not-allowed common.mpsc_channels.overflow_policy.drop_policy"}},
		{name: "T30 mode", overlay: "orchestration.system.mode = 'cluster'", want: []string{"not-allowed orchestration.system.mode"}},
		{name: "T30 backend", overlay: "common.queues.backend = 'kafka'", want: []string{"not-allowed common.queues.backend"}},
		{name: "T35 documentation", overlay: "[common._docs]\nx = {y = 1}\n[" + pool + "]\nmax_connections_docs = [{_docs = 1}]"},
		{name: "T35 a key that only looks like it", overlay: "[common]\ninclude_docs = true", want: []string{"unknown-key common.include_docs"}},
		{name: "T36 a key twice", overlay: "[common.system]\nprocess_name = 'a'\nprocess_name = 'b'", want: []string{"duplicate-key common.system.process_name"}, says: "overlay:3:1"},
		{name: "T36 a table twice", overlay: "[common.system]\n[common.system]", want: []string{"duplicate-key common.system"}, says: "overlay:2:9"},
		{
			name: "T36 byte order mark and CRLF", overlay: "\ufeff[common.system]\r\nprocess_name = 'a'\r\n",
			check: func(c *Config) bool { return c.Common.System.ProcessName == "a" },
		},
		{name: "T47 an old place of the mode", overlay: "[orchestration]\nmode = 'standalone'", want: []string{"renamed-key orchestration.mode"}, says: "orchestration.system.mode"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			opts := options(Test, c.overlay)
			if c.want == nil {
				if cfg := load(t, ContextComplete, opts); c.check != nil && !c.check(cfg) {
					t.Errorf("%s loads to %+v", c.overlay, cfg)
				}
				return
			}
			r := report(t, ContextComplete, opts)
			if got := errorsOf(r); !slices.Equal(got, c.want) || !strings.Contains(r.Error(), c.says) {
				t.Errorf("errors are %v, want %v\n%s", got, c.want, r)
			}
		})
	}
}

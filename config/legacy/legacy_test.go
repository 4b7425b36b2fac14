package legacy

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"

	"github.com/tasker-systems/tasker-go/internal/golden"
	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// leaves returns the values of a tree by dotted key.
func leaves(path []string, v *tomltree.Value) map[string]*tomltree.Value {
	if v.Kind() != tomltree.Table {
		return map[string]*tomltree.Value{tomltree.DottedKey(path...): v}
	}
	all := map[string]*tomltree.Value{}
	for _, key := range v.Keys() {
		maps.Copy(all, leaves(append(slices.Clip(path), key), v.Lookup(key)))
	}
	return all
}

// texts are the leaves as text.
func texts(v *tomltree.Value) map[string]string {
	all := map[string]string{}
	for key, leaf := range leaves(nil, v) {
		all[key] = leaf.Inline()
	}
	return all
}

// addSeeds adds the v1 files of the tests of package config.
func addSeeds(f *testing.F) {
	f.Helper()
	names, err := filepath.Glob("../testdata/migrate_*.txtar")
	if err != nil || len(names) == 0 {
		f.Fatal("there are no seeds", err)
	}
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if strings.HasPrefix(file.Name, "v1") {
				f.Add(string(file.Data))
			}
		}
	}
	for _, text := range []string{
		"database.url = 1\nqueues = {backend = 1}\n[mpsc_channels]\ncommand_processor.x = 1\n[worker_system]",
		"\ufeff[database]\r\nurl = '''\r\n[x]'''\r\n# end",
		"[execution]\nenvironment = 'test'\n[database]\nurl = {}",
		"[[orchestration.web.auth.protected_routes]]\nmethod = 'GET'\n[database]",
		"[orchestration_system.web.auth.protected_routes.'GET /x']\nrequired = true\n[orchestration_system.web.auth]\nenabled = true",
		"queues = {pgmq = {max_retries = 1}, default_namespace = 'x'}\nmpsc_channels = {in_process_events = {}}",
	} {
		f.Add(text)
	}
}

// FuzzLegacy converts any file. No value is lost: each stands somewhere in the
// result, in its place in the file, or a note says that it was removed.
func FuzzLegacy(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		tree, problems := tomltree.Parse("v1.toml", []byte(text))
		var e Evidence
		e.Add(tree)
		_ = e.LandedProblems()
		_ = SectionsOf(tree)
		now, notes, more := Convert(tree, Scope{Sections: []string{"common", "orchestration", "worker"}})
		if len(problems)+len(more) > 0 {
			return
		}
		places := map[string]bool{}
		for _, leaf := range leaves(nil, now) {
			places[leaf.Pos().String()+leaf.Inline()] = true
		}
		for key, leaf := range leaves(nil, tree.WithoutDocs()) {
			removed := func(n Note) bool { return n.Action == Removed && isOrUnder(key, n.Path) }
			if !places[leaf.Pos().String()+leaf.Inline()] && !slices.ContainsFunc(notes, removed) {
				t.Errorf("%s is lost; notes are %v", key, notes)
			}
		}
	})
}

// FuzzMigrate rewrites any file of the v1 layout; see [rewritten].
func FuzzMigrate(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		if _, problems := tomltree.Parse("v1.toml", []byte(text)); len(problems) == 0 {
			rewritten(t, text)
		}
	})
}

// rewritten rewrites a single file of the v1 layout, if it is one. The result is
// TOML, means what the converted file means, and has not the v1 layout any more.
func rewritten(t rapid.TB, text string) {
	t.Helper()
	tree, _ := tomltree.Parse("v1.toml", []byte(text))
	var before, after Evidence
	if before.Add(tree); before.Shape() != IsV1 {
		return
	}
	layer := Layer{Files: []File{{Name: "v1.toml", Data: []byte(text)}}, Sections: SectionsOf(tree)}
	want, _, problems := ConvertFiles(layer.Files, layer.Sections)
	want, more := ListRoutes(want)
	if len(problems)+len(more) > 0 {
		return
	}
	out, _, problems := Rewrite(layer)
	if len(problems) > 0 {
		t.Fatalf("there are %v", problems)
	}
	got, problems := tomltree.Parse("v2.toml", out[0].Data)
	if len(problems) > 0 {
		t.Fatalf("the result is no TOML:\n%s\n%v", out[0].Data, problems)
	}
	if a, b := texts(want), texts(got.WithoutDocs()); !maps.Equal(a, b) {
		t.Fatalf("the result has\n%v\nwant\n%v\nin\n%s\nfrom\n%s", b, a, out[0].Data, text)
	}
	if after.Add(got); after.Shape() == IsV1 {
		t.Fatalf("the result has the v1 layout, by %s:\n%s", after.V1.Key, out[0].Data)
	}
	comments := func(text string) int { return strings.Count(text, "#") }
	if comments(string(out[0].Data)) < comments(text) {
		t.Fatalf("comments are lost in\n%s\nfrom\n%s", out[0].Data, text)
	}
}

// v1Keys are keys of v1 in all positions that matter: moved, removed, split,
// shared, of the second phase, documented, unknown.
var v1Keys = strings.Fields(`
	environment database.url database.database database.pool.max_connections database.pool._docs.max_connections.type
	queues.backend queues.default_namespace queues.pgmq.max_retries queues.orchestration_queues.step_results
	shared_channels.ffi.ruby_event_buffer_size mpsc_channels.shared.event_publisher.event_queue_buffer_size
	mpsc_channels.overflow_policy.drop_policy mpsc_channels.overflow_policy.metrics.enabled
	mpsc_channels.command_processor.command_buffer_size mpsc_channels.event_subscribers.result_buffer_size
	mpsc_channels.worker.in_process_events.broadcast_buffer_size
	mpsc_channels.task_readiness.event_channel.buffer_size telemetry.enabled telemetry.sample_rate telemetry.metrics.enabled
	execution.environment execution.timeouts.x execution.max_retries task_templates.template_path
	decision_points.enabled decision_points.max_steps_per_decision backoff.max_backoff_seconds backoff.reenqueue_delays.initializing
	orchestration_system.mode orchestration_system.web.enabled orchestration_system.web.tls.enabled
	orchestration_system.web.cors.enabled orchestration_system.web.cors.max_age_seconds orchestration_system.web.auth.enabled
	orchestration_events.system_id orchestration_events.metadata.x task_readiness_events.timing.claim_timeout_seconds
	event_systems.worker.system_id task_readiness.x worker_system.worker_id worker_system.listener.event_timeout_seconds
	worker_system.web.auth.enabled worker_system.web.enabled worker_events.metadata.listener.retry_interval_seconds unknown.x
	orchestration_system.web.auth.protected_routes.'GET~/a'.required orchestration_system.web.auth.protected_routes.'GET~/a'.auth_type
	orchestration_system.web.auth.protected_routes.'PUT~/b'.required`)

// TestRewriteForms writes keys of v1 in all forms that TOML has, and rewrites
// them; see [rewritten].
func TestRewriteForms(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &writer{t: t}
		text := w.file(rapid.SliceOfNDistinct(rapid.SampledFrom(v1Keys), 1, 14, rapid.ID).Draw(t, "keys"))
		if _, problems := tomltree.Parse("v1.toml", []byte(text)); len(problems) > 0 {
			t.Fatalf("the test wrote\n%s\n%v", text, problems)
		}
		rewritten(t, text)
	})
}

// writer writes keys as TOML, at random.
type writer struct {
	t    *rapid.T
	b    strings.Builder
	next int // the values are numbers, each another one
}

func (w *writer) file(keys []string) string {
	parts := make([][]string, len(keys))
	for i, key := range keys {
		parts[i] = strings.Split(strings.ReplaceAll(key, "~", " "), ".")
	}
	w.block(nil, parts)
	return w.b.String()
}

// block writes keys that stand below a header, and then tables with headers of
// their own.
func (w *writer) block(path []string, keys [][]string) {
	var order []string
	tables := map[string][][]string{}
	for _, key := range keys {
		if tables[key[0]] == nil {
			order = append(order, key[0])
		}
		tables[key[0]] = append(tables[key[0]], key[1:])
	}
	var headers []string
	for _, key := range order {
		below := tables[key]
		switch form := rapid.IntRange(0, 3).Draw(w.t, "form"); {
		case len(below[0]) == 0:
			w.line(key + " = " + w.value())
		case form == 0:
			w.line(key + " = " + w.inline(below))
		case form == 1:
			for _, rest := range below {
				w.line(key + "." + strings.Join(rest, " . ") + "=" + w.value())
			}
		default:
			headers = append(headers, key)
		}
	}
	for _, key := range headers {
		at := append(slices.Clip(path), key)
		direct := slices.ContainsFunc(tables[key], func(rest []string) bool { return len(rest) == 1 })
		if direct || rapid.Bool().Draw(w.t, "header") || !w.onlyHeaders(at, tables[key]) {
			w.line("[" + strings.Join(at, ".") + "]")
			w.block(at, tables[key])
		}
	}
}

// onlyHeaders writes the tables of a table that gets no header itself.
func (w *writer) onlyHeaders(path []string, keys [][]string) bool {
	seen := map[string]bool{}
	for _, key := range keys {
		if seen[key[0]] {
			continue
		}
		seen[key[0]] = true
		at := append(slices.Clip(path), key[0])
		w.line("[" + strings.Join(at, ".") + "]")
		var below [][]string
		for _, other := range keys {
			if other[0] == key[0] {
				below = append(below, other[1:])
			}
		}
		w.block(at, below)
	}
	return true
}

func (w *writer) inline(keys [][]string) string {
	var items []string
	for _, key := range keys { // dotted, so that none comes twice
		items = append(items, strings.Join(key, ".")+" = "+w.value())
	}
	return "{ " + strings.Join(items, ", ") + " }"
}

func (w *writer) value() string {
	w.next++
	switch number := strconv.Itoa(w.next); rapid.IntRange(0, 3).Draw(w.t, "value") {
	case 0:
		return "[\n  " + number + ", # first\n]"
	case 1:
		return "\"\"\"\n" + number + "\n[x]\n\"\"\""
	case 2:
		return "'" + number + "'"
	default:
		return number
	}
}

// line writes a line, with comments and blank lines around it.
func (w *writer) line(text string) {
	if rapid.Bool().Draw(w.t, "blank") {
		w.b.WriteString("\n")
	}
	if rapid.Bool().Draw(w.t, "above") {
		w.b.WriteString("# above\n")
	}
	w.b.WriteString(text)
	if rapid.Bool().Draw(w.t, "behind") {
		w.b.WriteString(" # behind")
	}
	w.b.WriteString("\n")
}

// TestTable checks that every entry of the table has one meaning, and that its
// reason goes on from a colon.
func TestTable(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range Formers() {
		id := string(f.Layout) + " " + f.File + " " + f.Key
		if seen[id] {
			t.Errorf("%s is listed twice", id)
		}
		seen[id] = true
		if f.Now == "" && f.Why == "" {
			t.Errorf("%s is removed without a reason", id)
		}
		if strings.HasSuffix(f.Why, ".") {
			t.Errorf("the reason of %s ends in a full stop", id)
		}
	}
}

// TestMigrationDocument compares the tables of MIGRATION.md with the table here.
// UPDATE_GOLDEN=1 writes them anew.
func TestMigrationDocument(t *testing.T) {
	t.Parallel()
	const name, begin, end = "../../MIGRATION.md", "<!-- the table of config/legacy/mapping.go -->\n", "<!-- the end of the table -->\n"
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(data), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the table", name)
	}
	golden.File(t, name, before+begin+tables()+end+after)
}

// tables prints the moved and the removed keys of v1.
func tables() string {
	var moved, removed strings.Builder
	for _, f := range Formers() {
		file := f.File
		if file == "" {
			file = "any"
		}
		switch {
		case f.Layout == Landed:
		case f.Now == "":
			fmt.Fprintf(&removed, "| %s | `%s` | %s |\n", file, f.Key, f.Why)
		default:
			fmt.Fprintf(&moved, "| %s | `%s` | `%s` | %s |\n", file, f.Key, f.Now, f.Why)
		}
	}
	return "\n| file | v1 | now | |\n|---|---|---|---|\n" + moved.String() +
		"\nGone:\n\n| file | v1 | |\n|---|---|---|\n" + removed.String() + "\n"
}

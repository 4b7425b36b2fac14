package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tasker-systems/tasker-go/internal/testdb"
)

// The queues that the statements speak to in these tests.
const (
	testQueue   = "worker_test_queue"
	testResults = "orchestration_step_results_queue"
	testEvents  = "test_domain_events"
)

// statements are all statements of the package, by the name of the constant or
// of the function that builds them.
func statements() map[string]string {
	all := operatorStatements()
	maps.Copy(all, scheduleStatements())
	maps.Copy(all, housekeepingStatements())
	maps.Copy(all, workerStatements())
	maps.Copy(all, searchStatements())
	maps.Copy(all, map[string]string{
		"announceSlotsSQL":          announceSlotsSQL(),
		"asideSQL":                  asideSQL(testQueue, testResults),
		"examineAgainSQL":           examineAgainSQL,
		"setMalformedAsideSQL":      setMalformedAsideSQL(testQueue),
		"candidatesSQL":             candidatesSQL,
		"claimSQL":                  claimSQL(testQueue),
		"completeSQL":               completeSQL(testQueue),
		"insertWebhookSQL":          insertWebhookSQL,
		"listWebhooksSQL":           listWebhooksSQL,
		"deleteWebhookSQL":          deleteWebhookSQL,
		"listDeliveriesSQL":         listDeliveriesSQL,
		"claimDeliveriesSQL":        claimDeliveriesSQL,
		"finishDeliveriesSQL":       finishDeliveriesSQL,
		"redeliverSQL":              redeliverSQL,
		"nextDeliverySQL":           nextDeliverySQL,
		"dropDeliveriesSQL":         dropDeliveriesSQL,
		"correlationsSQL":           correlationsSQL,
		"createEventQueuesSQL":      createEventQueuesSQL,
		"createQueuesSQL":           createQueuesSQL,
		"declareLimitsSQL":          declareLimitsSQL,
		"deleteSQL":                 deleteSQL(testQueue),
		"dropLeaseSQL":              dropLeaseSQL,
		"dropOrphanSlotsSQL":        dropOrphanSlotsSQL,
		"dropUnusedLimitsSQL":       dropUnusedLimitsSQL,
		"existingTasksSQL":          existingTasksSQL,
		"extendSQL":                 extendSQL(testQueue),
		"failSQL":                   failSQL(testQueue),
		"findSQL":                   findSQL(testQueue),
		"prepareDispatchSQL":        prepareDispatchSQL,
		"dispatchSQL":               dispatchSQL(testQueue),
		"nextUnsentSQL":             nextUnsentSQL(testQueue),
		"undispatchSQL":             undispatchSQL(testQueue),
		"redispatchSQL":             redispatchSQL(testQueue),
		"redispatchStepsSQL":        redispatchStepsSQL(testQueue),
		"publishedDueSQL":           publishedDueSQL(testQueue),
		"listNamespacesSQL":         listNamespacesSQL,
		"storeLettersSQL":           storeLettersSQL(testQueue),
		"buryLettersSQL":            buryLettersSQL(testQueue),
		"forgetBrokerMessagesSQL":   forgetBrokerMessagesSQL,
		"findTaskSQL":               findTaskSQL,
		"findTemplateSQL":           findTemplateSQL,
		"gateRootsSQL":              gateRootsSQL(limitedGates, created),
		"growSQL":                   growSQL,
		"linkSQL":                   linkSQL,
		"listLimitsSQL":             listLimitsSQL,
		"lockNamespaceSQL":          lockNamespaceSQL,
		"namespaceUseSQL":           namespaceUseSQL,
		"nextClaimSQL":              nextClaimSQL(testQueue),
		"removeLimitSQL":            removeLimitSQL,
		"setLimitSQL":               setLimitSQL,
		"siblingsSQL":               siblingsSQL,
		"stopCopiesSQL":             stopCopiesSQL,
		"heldSQL":                   heldSQL,
		"insertDistinctTasksSQL":    insertDistinctTasksSQL,
		"insertStepsSQL":            insertStepsSQL(limitedGates, created),
		"insertTasksSQL":            insertTasksSQL,
		"keepLimitsSQL":             keepLimitsSQL,
		"leaseEndSQL":               leaseEndSQL,
		"letThroughSQL":             letThroughSQL(testQueue),
		"listNamespaceTemplatesSQL": listNamespaceTemplatesSQL,
		"listQueuesSQL":             listQueuesSQL,
		"listStepsSQL":              listStepsSQL,
		"listTemplatesSQL":          listTemplatesSQL,
		"lockTasksSQL":              lockTasksSQL,
		"lockUnusedLimitsSQL":       lockUnusedLimitsSQL,
		"namespacesSQL":             namespacesSQL,
		"nextDueSQL":                nextDueSQL(testQueue),
		"nextReadySQL":              nextReadySQL,
		"notifySQL":                 notifySQL,
		"parkSQL":                   parkSQL,
		"passAloneSQL":              passAloneSQL,
		"pingSQL":                   pingSQL,
		"publishSQL":                publishSQL(testEvents),
		"readContextsSQL":           readContextsSQL,
		"readResultsSQL":            readResultsSQL,
		"readReportsSQL":            readReportsSQL(testResults),
		"readTemplatesSQL":          readTemplatesSQL,
		"readyGatesSQL":             readyGatesSQL,
		"recountSQL":                recountSQL(testQueue),
		"registerTemplatesSQL":      registerTemplatesSQL,
		"registerTurnSQL":           registerTurnSQL,
		"releaseSQL":                releaseSQL(testQueue),
		"returnSQL":                 returnSQL(testQueue),
		"depthsSQL":                 depthsSQL([]string{testQueue, testQueue}),
		"releaseSlotsSQL":           releaseSlotsSQL(),
		"reportSQL":                 reportSQL(testQueue, testResults),
		"resendAloneSQL":            resendAloneSQL,
		"resendReportsSQL":          resendReportsSQL(testResults),
		"resendStepsSQL":            resendStepsSQL(testQueue),
		"roomsSQL":                  roomsSQL,
		"saveCheckpointSQL":         saveCheckpointSQL,
		"listSignalsSQL":            listSignalsSQL,
		"nextGateSQL":               nextGateSQL,
		"passSignalsSQL":            passSignalsSQL(testResults),
		"sendSignalSQL":             sendSignalSQL,
		"createLoggedQueuesSQL":     createLoggedQueuesSQL,
		"deleteLettersSQL":          deleteLettersSQL(testQueue),
		"expandTasksSQL":            expandTasksSQL,
		"readLettersSQL":            readLettersSQL(testQueue),
		"refuseLettersSQL":          refuseLettersSQL(testQueue),
		"takeInitializingSQL":       takeInitializingSQL,
		"tasksByNamespaceSQL":       tasksByNamespaceSQL,
		"sampleDeadLettersSQL":      sampleDeadLettersSQL,
		"sampleGatedSQL":            sampleGatedSQL,
		"sampleQueuesSQL":           sampleQueuesSQL([]string{testQueue, testResults}),
		"sampleTasksSQL":            sampleTasksSQL,
		"sendRootsSQL":              sendRootsSQL(testQueue, created),
		"sentinelSQL":               sentinelSQL,
		"setSentinelSQL":            setSentinelSQL,
		"settleSQL":                 settleSQL,
		"shownSQL":                  shownSQL(Invariants(testQueues())[0]), // all of them: see TestInvariantsPrepare
		"takeLeaseSQL":              takeLeaseSQL,
		"taskStatesSQL":             taskStatesSQL,
		"tokenWaitsSQL":             tokenWaitsSQL,
		"unsettledSQL":              unsettledSQL,
		"waitingGatesSQL":           waitingGatesSQL,
	})
	return all
}

// notPrepared are the names that stand for no statement to prepare.
var notPrepared = []string{
	"archivedCountsSQL", "builtSQL", "countsSQL", "entryColumnsSQL", "entryTablesSQL", "freeSlotsSQL", "lanesSQL", "lastOpenSQL", "namespaceRoomSQL", "operationColumnsSQL", "sampleSQL", "saysSQL",
	"selectedSQL", "snapshotSQL", // parts of statements
	"plannerSQL", "unhurriedSQL", // SET is no query
}

// seldom are the statements that look at whole tables or that nobody waits for;
// the plans of all others must not depend on the size of a table.
var seldom = []string{
	"sampleDeadLettersSQL", "sampleGatedSQL", "sampleQueuesSQL", "sampleTasksSQL", // metrics, with the planner of its own
	"countSelectedSQL", "listSelectedSQL", // bulk operations, with the planner of its own
	"findSQL",                             // after a crash of the server
	"redispatchSQL", "redispatchStepsSQL", // the same of the broker
	"forgetBrokerMessagesSQL", "listNamespacesSQL", // tidying; all of a small table
	"namespaceUseSQL",                                    // for people
	"resendStepsSQL", "resendReportsSQL", "unsettledSQL", // the reconciler, with the planner of its own
	"takeInitializingSQL",                        // all of an index that holds nothing but what it takes
	"shownSQL",                                   // db check, likewise
	"dropUnusedLimitsSQL", "lockUnusedLimitsSQL", // tidying, likewise
	"archiveSQL", "cyclesSQL", "enterSQL", "examineSQL", "findOldSQL", "giveUpStepsSQL", "giveUpTasksSQL", // housekeeping, likewise
	"leasedSQL", "restingSQL",
}

func testQueues() Queues {
	return Queues{Steps: map[string]string{"test": testQueue}, Results: testResults}
}

// connect returns a connection to a new database that has the test's queues,
// with the session settings of the engine.
func connect(t *testing.T) *pgx.Conn {
	t.Helper()
	cfg, err := pgx.ParseConfig(testdb.New(t))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(cfg.RuntimeParams, settings)
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	if err := CreateQueues(t.Context(), conn, []string{testQueue, testResults}); err != nil {
		t.Fatal(err)
	}
	if err := CreateEventQueues(t.Context(), conn, []string{testEvents}); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestStatementsPrepare has PostgreSQL parse and type every statement.
func TestStatementsPrepare(t *testing.T) {
	t.Parallel()
	conn := connect(t)
	for name, sql := range statements() {
		if _, err := conn.Prepare(t.Context(), name, sql); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, queues := range []Queues{testQueues(), {}} {
		for _, inv := range Invariants(queues) {
			if _, err := conn.Prepare(t.Context(), "", shownSQL(inv)); err != nil {
				t.Errorf("%s: %v", inv.ID, err)
			}
		}
	}
}

// TestStatementsAreKnown makes sure that the tests miss no statement.
func TestStatementsAreKnown(t *testing.T) {
	t.Parallel()
	declared := declaredStatements(t)
	known := map[string]bool{}
	for name := range statements() {
		name, _, _ = strings.Cut(name, " ") // one of several forms
		known[name] = true
	}
	for _, name := range declared {
		if !known[name] && !slices.Contains(notPrepared, name) {
			t.Errorf("%s is neither in statements nor in notPrepared", name)
		}
	}
	for name := range known {
		if !slices.Contains(declared, name) {
			t.Errorf("statements has %s, which the package does not", name)
		}
	}
}

// declaredStatements are the constants and functions of the package whose names
// end in SQL.
func declaredStatements(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		src, err := fs.ReadFile(os.DirFS("."), file)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			for _, name := range declaredNames(decl) {
				if strings.HasSuffix(name, "SQL") {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

func declaredNames(decl ast.Decl) []string {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		return []string{d.Name.Name}
	case *ast.GenDecl:
		var names []string
		for _, spec := range d.Specs {
			if values, ok := spec.(*ast.ValueSpec); ok {
				for _, ident := range values.Names {
					names = append(names, ident.Name)
				}
			}
		}
		return names
	}
	return nil
}

// A plan is a node of what EXPLAIN says.
type plan struct {
	Node     string `json:"Node Type"`
	Relation string `json:"Relation Name"`
	Alias    string `json:"Alias"`
	Index    string `json:"Index Name"`
	Cond     string `json:"Index Cond"`
	Plans    []plan `json:"Plans"`
}

// TestPlansUseIndexes looks at the generic plans that the engine runs by: made
// while tables are small, kept while they grow. A scan of tasks, steps or a
// queue must have an index condition; a queue may also be read in the order of an
// index, up to a limit.
func TestPlansUseIndexes(t *testing.T) {
	t.Parallel()
	conn := connect(t)
	for _, tables := range []struct{ are, sql string }{
		{"empty", ""},
		{"empty, vacuumed", "vacuum analyze"},
		{"of one row", rows(1, 1)},
		{"of one row, vacuumed", "vacuum analyze"},
		{"of ten rows", rows(3, 3)},
		{"of ten rows, vacuumed", "vacuum analyze"},
		{"of a thousand rows, vacuumed", rows(33, 30) + "; vacuum analyze"},
	} {
		for sql := range strings.SplitSeq(tables.sql, "; ") { // vacuum wants to be alone
			if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatal(err)
			}
		}
		if err := conn.DeallocateAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, sql := range statements() {
			if slices.Contains(seldom, name) {
				continue
			}
			p := explain(t, conn, name, sql)
			for _, scan := range fullScans(p, false) {
				t.Errorf("tables %s: %s scans all of %s", tables.are, name, scan)
			}
		}
	}
}

// rows adds tasks with so many steps each, and a message per step to both
// queues.
func rows(tasks, steps int) string {
	return fmt.Sprintf(`
		with added as (
			insert into tasker.tasks (task_id, template_id, state, context)
			select gen_random_uuid(), md5(i::text)::uuid, 'steps_in_process', '{}' from generate_series(1, %d) i
			returning task_id
		)
		insert into tasker.steps (task_id, ordinal, name, state, waiting_on, max_attempts)
		select task_id, n, 's' || n, 'enqueued', 0, 1 from added cross join generate_series(1, %d) n;
		select pgmq.send(queue, '{}') from unnest(array['%s', '%s']) queue, generate_series(1, %d)`,
		tasks, steps, testQueue, testResults, tasks*steps)
}

// explain returns the generic plan of a statement.
func explain(t *testing.T, conn *pgx.Conn, name, sql string) plan {
	t.Helper()
	prepared, err := conn.Prepare(t.Context(), name, sql)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	call := pgx.Identifier{name}.Sanitize()
	if n := len(prepared.ParamOIDs); n > 0 {
		call += "(" + strings.TrimSuffix(strings.Repeat("null, ", n), ", ") + ")"
	}
	var out []byte
	err = conn.QueryRow(t.Context(), "explain (format json, costs off) execute "+call, pgx.QueryExecModeSimpleProtocol).Scan(&out)
	if err != nil {
		t.Fatalf("explain %s: %v", name, err)
	}
	var plans []struct{ Plan plan }
	if err := json.Unmarshal(out, &plans); err != nil {
		t.Fatal(err)
	}
	return plans[0].Plan
}

// fullScans names the scans below p that read all of a table that grows.
func fullScans(p plan, limited bool) []string {
	limited = limited || p.Node == "Limit"
	var found []string
	queue := strings.HasPrefix(p.Relation, "q_")
	if queue || p.Relation == "tasks" || p.Relation == "steps" {
		reads := p.Node == "Seq Scan" || strings.HasSuffix(p.Node, "Scan") && p.Cond == "" && p.Node != "Bitmap Heap Scan"
		inOrder := queue && limited && p.Index != ""
		if reads && !inOrder {
			found = append(found, fmt.Sprintf("%s %s (%s %s)", p.Relation, p.Alias, p.Node, p.Index))
		}
	}
	for _, below := range p.Plans {
		found = append(found, fullScans(below, limited)...)
	}
	return found
}

// TestRefusals tells refused values from statements that are wrong.
func TestRefusals(t *testing.T) {
	t.Parallel()
	conn := connect(t)
	tests := []struct {
		name, sql string
		data      bool
		reason    string
	}{
		{"NUL in JSON", `select '"\u0000"'::jsonb`, true, `unsupported Unicode escape sequence: \u0000 cannot be converted to text.`},
		{"lone surrogate", `select '"\ud800"'::jsonb`, true, `invalid input syntax for type json: Unicode low surrogate must follow`},
		{"no JSON", `select '{'::jsonb`, true, `invalid input syntax for type json`},
		{"too long", `select repeat('x', 1073741824)`, true, `requested length too large`},
		{"no table", `select 1 from nowhere`, false, `relation "nowhere" does not exist`},
		{"division", `select 1/0`, true, `division by zero`},
	}
	for _, tt := range tests {
		_, err := conn.Exec(t.Context(), tt.sql)
		if err == nil {
			t.Fatalf("%s: no error", tt.name)
		}
		if got := IsDataError(fmt.Errorf("apply: %w", err)); got != tt.data {
			t.Errorf("%s: IsDataError is %t", tt.name, got)
		}
		if got := Reason(err); !strings.HasPrefix(got, tt.reason) {
			t.Errorf("%s: Reason is %q", tt.name, got)
		}
	}
}

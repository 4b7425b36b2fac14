package scenarios_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
)

// data is where a copy of the original's data lies, if there is one.
const data = "../../../shared/data"

// publishers are those that the original's templates name.
func publishers() *tasker.Events {
	events := tasker.NewEvents()
	for _, name := range []string{"PaymentEventPublisher", "NotificationEventPublisher"} {
		events.AddPublisher(name, func(_ context.Context, _ *tasker.Step, e tasker.Event) (any, error) { return e.Payload, nil })
	}
	return events
}

const order = `{"customer": {"id": 1, "name": "A", "email": "a@example.org"}, "items": [{"sku": "S", "quantity": 2, "price": 9.5}],
	"payment": {"method": "paypal", "token": "t"}, "shipping": {"method": "express", "address": {}}}`

// TestOriginalTemplates plays the template files of the original, which lie
// beside the repository or not at all, as they are but for the identity_strategy
// that enginetest adds.
func TestOriginalTemplates(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(data + "/templates/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) > 0 {
		play(t, os.DirFS(data+"/templates"), originals(t))
	}
}

// originals are the scenarios of the original's templates.
func originals(t *testing.T) []scenario {
	t.Helper()
	const complete = tasker.TaskComplete
	all := []scenario{
		{
			"mathematical_sequence", `{"even_number": 6}`, complete, done("linear_step_1", "linear_step_2", "linear_step_3", "linear_step_4"),
			map[string]string{"linear_step_1": "36", "linear_step_2": sixTo(4), "linear_step_3": sixTo(8), "linear_step_4": sixTo(16)},
		},
		{
			"diamond_pattern", `{"even_number": 6}`, complete, done("diamond_start", "diamond_branch_b", "diamond_branch_c", "diamond_end"),
			map[string]string{"diamond_branch_b": sixTo(4), "diamond_branch_c": sixTo(4), "diamond_end": sixTo(16)},
		},
		{
			"hierarchical_tree", `{"even_number": 6}`, complete,
			done("tree_root", "tree_branch_left", "tree_branch_right", "tree_leaf_d", "tree_leaf_e", "tree_leaf_f", "tree_leaf_g", "tree_final_convergence"),
			map[string]string{"tree_leaf_g": sixTo(8), "tree_final_convergence": sixTo(64)},
		},
		{
			"complex_dag", `{"even_number": 6}`, complete,
			done("dag_init", "dag_process_left", "dag_process_right", "dag_validate", "dag_transform", "dag_analyze", "dag_finalize"),
			map[string]string{"dag_validate": sixTo(16), "dag_transform": sixTo(8), "dag_analyze": sixTo(8), "dag_finalize": sixTo(64)},
		},
		{
			"business_workflow", order, complete, done("validate_order", "reserve_inventory", "process_payment", "ship_order"),
			map[string]string{"process_payment": `"reserve_inventory validate_order"`, "ship_order": `"process_payment reserve_inventory validate_order"`},
		},
		{
			"domain_event_publishing", `{"order_id": "8f14e45f-ceea-467f-a0e6-38b1f0a2b1c9", "customer_id": "c", "amount": 7}`, complete,
			done("domain_events_validate_order", "domain_events_process_payment", "domain_events_update_inventory", "domain_events_send_notification"), nil,
		},
		{"dlq_staleness_test", `{"test_input": 1}`, complete, done("dlq_step_1", "dlq_step_2"), map[string]string{"dlq_step_2": `"dlq_step_1"`}},
	}
	all = append(all, approvals("approval_routing")...)
	all = append(all, parities("diamond_decision_batch_processor")...)
	all = append(all, retries()...)
	return append(all, inventory(t, "csv_product_inventory_analyzer", data+"/products.csv", 5))
}

// retries are the scenarios of steps that fail.
func retries() []scenario {
	all := []scenario{
		{"retry_mechanics_test", `{}`, tasker.TaskComplete, "fail_twice_then_succeed:complete:3", map[string]string{"fail_twice_then_succeed": "3"}},
		{"retry_exhaustion_test", `{}`, tasker.TaskError, "always_fail:error:3", nil},
	}
	for name, attempts := range map[string]int{"max_attempts_zero": 1, "max_attempts_one": 1, "max_attempts_three": 3, "non_retryable_first": 1} {
		all = append(all,
			scenario{"boundary_" + name, `{}`, tasker.TaskComplete, done("boundary_test_step"), nil},
			scenario{"boundary_" + name, `{"fail": true}`, tasker.TaskError, fmt.Sprintf("boundary_test_step:error:%d", attempts), nil})
	}
	return all
}

// approvals are amounts on both sides of each limit.
func approvals(template string) []scenario {
	var all []scenario
	for amount, approvers := range map[string][]string{
		"0.01": {"auto_approve"}, "500": {"auto_approve"}, "999.99": {"auto_approve"},
		"1000": {"manager_approval"}, "3000": {"manager_approval"}, "4999.99": {"manager_approval"},
		"5000": {"finance_review", "manager_approval"}, "10000": {"finance_review", "manager_approval"},
	} {
		gathered := approvers[0]
		if len(approvers) > 1 {
			gathered += " " + approvers[1]
		}
		all = append(all, scenario{
			template, `{"amount": ` + amount + `}`, tasker.TaskComplete,
			done(append([]string{"validate_request", "routing_decision", "finalize_approval"}, approvers...)...),
			map[string]string{"finalize_approval": `"` + gathered + `"`},
		})
	}
	return all
}

// parities are numbers of which the even ones, the odd ones or neither are more.
func parities(template string) []scenario {
	var all []scenario
	for _, tt := range []struct {
		numbers, side string
		batches       int
		sum           string
	}{
		{"[2, 4, 6, 8, 10, 1, 3]", "even", 3, "30"},
		{"[1, 3, 5, 7, 9, 2, 4]", "odd", 3, "25"},
		{"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]", "even", 3, "30"},
		{"[1, 2, 3]", "odd", 1, "4"},
	} {
		steps := []string{"ddb_diamond_start", "branch_evens", "branch_odds", "ddb_routing_decision", tt.side + "_batch_analyzer", "aggregate_" + tt.side + "_results"}
		for i := range tt.batches {
			steps = append(steps, fmt.Sprintf("process_%s_batch_%03d", tt.side, i+1))
		}
		all = append(all, scenario{
			template, `{"numbers": ` + tt.numbers + `, "batch_size": 2}`, tasker.TaskComplete, done(steps...),
			map[string]string{"aggregate_" + tt.side + "_results": tt.sum},
		})
	}
	return all
}

// inventory is a file in batches, with what a scan of the whole file gives.
func inventory(t *testing.T, template, path string, batches int) scenario {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	header, rows, err := readCSV(path)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := takeStock(header, rows)
	if err != nil {
		t.Fatal(err)
	}
	steps := []string{"analyze_csv", "aggregate_csv_results"}
	for i := range batches {
		steps = append(steps, fmt.Sprintf("process_csv_batch_%03d", i+1))
	}
	want, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	input, err := json.Marshal(map[string]string{"csv_file_path": path})
	if err != nil {
		t.Fatal(err)
	}
	return scenario{template, string(input), tasker.TaskComplete, done(steps...), map[string]string{"aggregate_csv_results": string(want)}}
}

package scenarios_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tasker "github.com/tasker-systems/tasker-go"
)

// TestOwnTemplates plays workflows of the same shapes as the original's.
func TestOwnTemplates(t *testing.T) {
	t.Parallel()
	const complete = tasker.TaskComplete
	all := []scenario{
		{
			"linear", `{"even_number": 6}`, complete,
			done("linear_1", "linear_2", "linear_3", "linear_4"),
			map[string]string{"linear_1": "36", "linear_2": sixTo(4), "linear_3": sixTo(8), "linear_4": sixTo(16)},
		},
		{
			"tree", `{"even_number": 6}`, complete,
			done("tree_root", "tree_left", "tree_right", "tree_leaf_1", "tree_leaf_2", "tree_leaf_3", "tree_leaf_4", "tree_end"),
			map[string]string{"tree_leaf_4": sixTo(8), "tree_end": sixTo(64)},
		},
		{
			"mixed", `{"even_number": 6}`, complete,
			done("dag_init", "dag_left", "dag_right", "dag_validate", "dag_transform", "dag_analyze", "dag_finalize"),
			map[string]string{"dag_validate": sixTo(16), "dag_transform": sixTo(8), "dag_finalize": sixTo(64)},
		},
	}
	all = append(all, approvals("approval")...)
	all = append(all, parities("parity")...)
	for _, rows := range []int{1, 200, 201, 1000} {
		all = append(all, inventory(t, "inventory", writeCSV(t, rows), (rows+199)/200))
	}
	play(t, os.DirFS("testdata/templates"), all)
}

// writeCSV writes a file of products with the given number of rows.
func writeCSV(t *testing.T, rows int) string {
	t.Helper()
	var text strings.Builder
	text.WriteString("id,title,category,price,stock\n")
	for i := range rows {
		fmt.Fprintf(&text, "%d,\"Product, %d\",kind %d,%d.%02d,%d\n", i+1, i+1, i%7, i%50, i%100, i*31%97)
	}
	path := filepath.Join(t.TempDir(), "products.csv")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

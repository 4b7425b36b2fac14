package permission_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/common/permission"
)

// TestAllIsAll reads the constants from the source, so that none is forgotten.
func TestAllIsAll(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "permission.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var named []permission.Permission
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Permission" && spec.Names[0].Name != "Public" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			named = append(named, permission.Permission(value))
		}
		return true
	})
	if len(named) == 0 || !slices.Equal(named, permission.All()) {
		t.Errorf("the constants are %v, All says %v", named, permission.All())
	}
}

func TestKnown(t *testing.T) {
	t.Parallel()
	for _, p := range permission.All() {
		if !permission.Known(p) {
			t.Errorf("%s is not known", p)
		}
	}
	for p, want := range map[permission.Permission]bool{
		"tasks:*": true, "dlq:*": true, "system:*": true,
		"*": false, "*:*": false, ":*": false, "": false, "task:*": false, "tasks:": false, "tasks": false,
		"tasks:delete": false, "tasks:*:*": false, "TASKS:read": false, " tasks:read": false, "public": false, "public:*": false,
	} {
		if got := permission.Known(p); got != want {
			t.Errorf("Known(%q) is %t", p, got)
		}
	}
}

func TestGranted(t *testing.T) {
	t.Parallel()
	tests := []struct {
		held  []permission.Permission
		needs permission.Permission
		want  bool
	}{
		{nil, "tasks:read", false},
		{[]permission.Permission{"tasks:read"}, "tasks:read", true},
		{[]permission.Permission{"tasks:read"}, "tasks:create", false},
		{[]permission.Permission{"tasks:*"}, "tasks:create", true},
		{[]permission.Permission{"tasks:*"}, "tasksx:create", false},
		{[]permission.Permission{"task:*"}, "tasks:create", false},
		{[]permission.Permission{"*", "*:*"}, "tasks:create", false},
		{[]permission.Permission{"dlq:read", "steps:*"}, "steps:resolve", true},
		{[]permission.Permission{"tasks:*", "", ":*"}, "", false},
		{nil, permission.Public, true},
	}
	for _, tt := range tests {
		if got := permission.Granted(tt.held, tt.needs); got != tt.want {
			t.Errorf("%v for %q: %t", tt.held, tt.needs, got)
		}
	}
}

package config

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tasker-systems/tasker-go/internal/golden"
)

// TestCodes compares the table of codes with those in the Go code.
func TestCodes(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, pattern := range []string{"*.go", "legacy/*.go", "../internal/tomltree/*.go", "../internal/cli/config*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if !strings.HasSuffix(name, "_test.go") && name != "codes.go" {
				addCodes(t, used, name)
			}
		}
	}
	names := map[string]bool{}
	for _, c := range Codes() {
		if names[c.Name] {
			t.Errorf("%s is there twice", c.Name)
		}
		names[c.Name] = true
		if !used[c.Name] && !slices.Contains([]string{"renamed-key", "removed-key"}, c.Name) { // set in codes.go
			t.Errorf("%s is used nowhere", c.Name)
		}
		if c.Title == "" || c.Effect == "" || c.Fix == "" || strings.HasSuffix(c.Title, ".") {
			t.Errorf("%s is not explained as it should be", c.Name)
		}
		if _, known := FindCode(c.Name); !known {
			t.Errorf("%s is not found", c.Name)
		}
	}
	for name := range used {
		if !names[name] {
			t.Errorf("%s is not in the table", name)
		}
	}
}

// isCode matches what can be a code.
var isCode = regexp.MustCompile(`^(X[0-9]+|[a-z]+(-[a-z]+)*)$`)

// addCodes notes the codes in a file: what stands at the key Code of a literal
// or is assigned to a field Code, and the first argument of fail, warn and unfit.
func addCodes(t *testing.T, used map[string]bool, name string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	add := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok {
			if text, err := strconv.Unquote(lit.Value); err == nil && isCode.MatchString(text) {
				used[text] = true
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Code" {
				add(n.Value)
			}
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if field, ok := left.(*ast.SelectorExpr); ok && field.Sel.Name == "Code" && i < len(n.Rhs) {
					add(n.Rhs[i])
				}
			}
		case *ast.CallExpr:
			method, ok := n.Fun.(*ast.SelectorExpr)
			if ok && slices.Contains([]string{"fail", "warn", "unfit", "report"}, method.Sel.Name) && len(n.Args) > 0 {
				add(n.Args[0])
			}
		}
		return true
	})
}

// errorsDocument makes docs/configuration-errors.md from the table of codes and
// the cases of TestReports.
func errorsDocument(t *testing.T) {
	t.Helper()
	var b strings.Builder
	b.WriteString("# Configuration errors\n\n" +
		"What is wrong with a configuration is said at once, every fault of every file in one run. Each fault is\n" +
		"one block:\n\n" +
		"* its severity, its code, the key and what is wrong;\n" +
		"* the file, line and column, the line itself, and other places that have a part in it;\n" +
		"* *chain*: the layers of the value, the one in effect first, and what became of the variables in it;\n" +
		"* *effect*: what comes of the fault, if nothing else does;\n" +
		"* *fix*: what to do.\n\n" +
		"Programs get the same with `tasker-cli config validate --json`, and exit with 78 (`EX_CONFIG`). A server\n" +
		"that cannot read a file exits with 3, a command that was asked wrongly with 2. Secrets, and what\n" +
		"variables hold, are never shown.\n\n" +
		"This page is made by a test: the cases are those of `config/testdata/report_*.txtar`, laid over the\n" +
		"shipped tree; its own warnings are left out.\n\n## Examples\n")
	names, err := filepath.Glob("testdata/report_*.txtar")
	if err != nil || len(names) < 12 {
		t.Fatalf("there are %d cases (%v)", len(names), err)
	}
	for _, name := range names {
		writeCase(t, &b, name)
	}
	b.WriteString("\n## Codes\n\n" +
		"Codes are stable: none changes its meaning. `tasker-cli config explain CODE` prints a line of this\n" +
		"table. X1 to X27 are rules that compare keys.\n\n| code | what is wrong | effect | fix |\n|---|---|---|---|\n")
	for _, c := range Codes() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.Name, c.Title, c.Effect, strings.ReplaceAll(c.Fix, "|", "\\|"))
	}
	golden.File(t, "../docs/configuration-errors.md", b.String())
}

// writeCase writes one case as a part of the page.
func writeCase(t *testing.T, b *strings.Builder, name string) {
	t.Helper()
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	title, text, _ := strings.Cut(strings.TrimSpace(string(archive.Comment)), "\n")
	fmt.Fprintf(b, "\n### %s\n\n%s\n", title, strings.TrimSpace(text))
	for _, f := range archive.Files {
		data := strings.TrimSpace(string(f.Data))
		switch f.Name {
		case "report.txt":
			fmt.Fprintf(b, "\nGives:\n\n```text\n%s\n```\n", data)
		case "variables":
			fmt.Fprintf(b, "\nIn the environment:\n\n```sh\n%s\n```\n", data)
		default:
			fmt.Fprintf(b, "\n`%s`:\n\n```toml\n%s\n```\n", f.Name, data)
		}
	}
}

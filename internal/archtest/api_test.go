package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// apiFile holds what the module's users can name.
const apiFile = "../../docs/api.txt"

// TestAPI compares the exported names of the packages that users may import
// with docs/api.txt. UPDATE_GOLDEN=1 writes the file; a change of it is a decision.
func TestAPI(t *testing.T) {
	t.Parallel()
	got, err := publicAPI("../..")
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.MkdirAll(filepath.Dir(apiFile), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(apiFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(apiFile)
	if err != nil {
		t.Fatalf("%v; write it with: make generate", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the public API is not that of docs/api.txt; if that is meant, run make generate:\n%s",
			difference(string(want), string(got)))
	}
}

// difference lists the lines that only one of two texts has.
func difference(want, got string) string {
	var b strings.Builder
	for _, side := range []struct{ sign, text, other string }{{"-", want, got}, {"+", got, want}} {
		other := strings.Split(side.other, "\n")
		for line := range strings.SplitSeq(side.text, "\n") {
			if !slices.Contains(other, line) {
				fmt.Fprintf(&b, "%s %s\n", side.sign, line)
			}
		}
	}
	return b.String()
}

// publicAPI describes every package below root that another module can import.
func publicAPI(root string) ([]byte, error) {
	files := map[string][]string{} // by package
	err := walk(os.DirFS(root), func(file string) error {
		if !strings.HasSuffix(file, "_test.go") {
			files[path.Dir(file)] = append(files[path.Dir(file)], file)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, pkg := range slices.Sorted(maps.Keys(files)) {
		if slices.Contains(strings.Split(pkg, "/"), "internal") {
			continue
		}
		if err := describe(&out, root, pkg, files[pkg]); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// describe writes the exported declarations of one package, without comments:
// a better wording is no change of the API. Programs have none.
func describe(out *bytes.Buffer, root, pkg string, names []string) error {
	fset := token.NewFileSet()
	files := make([]*ast.File, len(names))
	for i, name := range names {
		var err error
		if files[i], err = parser.ParseFile(fset, filepath.Join(root, name), nil, parser.SkipObjectResolution); err != nil {
			return err
		}
	}
	if files[0].Name.Name == "main" {
		return nil
	}
	p, err := doc.NewFromFiles(fset, files, path.Join(module, pkg))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "package %s // import %q\n", p.Name, p.ImportPath)
	w := apiWriter{out: out, fset: fset}
	w.values(p.Consts)
	w.values(p.Vars)
	w.funcs(p.Funcs)
	for _, t := range p.Types {
		w.node(t.Decl)
		w.values(t.Consts)
		w.values(t.Vars)
		w.funcs(t.Funcs)
		w.funcs(t.Methods)
	}
	out.WriteByte('\n')
	return w.err
}

// An apiWriter prints declarations, a blank line between two. It keeps the
// first error.
type apiWriter struct {
	out  *bytes.Buffer
	fset *token.FileSet
	err  error
}

func (w *apiWriter) values(values []*doc.Value) {
	for _, v := range values {
		w.node(v.Decl)
	}
}

func (w *apiWriter) funcs(funcs []*doc.Func) {
	for _, f := range funcs {
		w.node(f.Decl)
	}
}

func (w *apiWriter) node(node ast.Node) {
	w.out.WriteByte('\n')
	config := printer.Config{Mode: printer.UseSpaces | printer.TabIndent, Tabwidth: 8}
	if err := config.Fprint(w.out, w.fset, node); err != nil && w.err == nil {
		w.err = err
	}
	w.out.WriteByte('\n')
}

// TestPublicAPI describes a small module.
func TestPublicAPI(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, src := range map[string]string{
		"cmd/run/main.go":     "package main\nfunc Main() {}\n",
		"internal/x/x.go":     "package x\nfunc Hidden() {}\n",
		"queue/queue_test.go": "package queue\nfunc TestX() {}\n",
		"queue/unexported.go": "package queue\nfunc helper() {}\ntype ring struct{}\n",
		"queue/testdata/t.go": "package t\n",
		"queue/queue.go": `package queue

import "errors"

// ErrFull is commented.
var ErrFull = errors.New("full")

// A Queue too.
type Queue struct {
	// Size is exported.
	Size  int
	items []string
}

// New makes one.
func New(size int) *Queue { return &Queue{Size: size} }

func (q *Queue) Send(item string) error { return nil }

func (q *Queue) grow() {}
`,
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := publicAPI(root)
	if err != nil {
		t.Fatal(err)
	}
	want := `package queue // import "github.com/tasker-systems/tasker-go/queue"

var ErrFull = errors.New("full")

type Queue struct {
	Size int
	// contains filtered or unexported fields
}

func New(size int) *Queue

func (q *Queue) Send(item string) error

`
	if string(got) != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

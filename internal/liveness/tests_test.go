package liveness

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// coverage returns the keys that the tests below fsys cover, each with the place
// of one call of Covers. A call that the gate cannot read is an error.
func coverage(fsys fs.FS) (map[string]string, error) {
	covered := map[string]string{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, "_test.go") || path.Dir(name) == "internal/liveness":
			return nil
		}
		source, err := fs.ReadFile(fsys, name)
		if err != nil || !bytes.Contains(source, []byte("liveness.Covers(")) {
			return err
		}
		return collect(covered, name, source)
	})
	return covered, err
}

// collect adds the keys that the tests of one file cover.
func collect(covered map[string]string, name string, source []byte) error {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, source, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, decl := range file.Decls {
		function, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		ast.Inspect(function, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !isCovers(call) || len(call.Args) == 0 {
				return true
			}
			at := fset.Position(call.Pos()).String()
			if !strings.HasPrefix(function.Name.Name, "Test") {
				err = fmt.Errorf("%s: %s is no test; call Covers in the test itself", at, function.Name.Name)
			}
			for _, arg := range call.Args[1:] {
				key, ok := literal(arg)
				if !ok {
					err = fmt.Errorf("%s: keys must be string literals", at)
				}
				covered[key] = at
			}
			return true
		})
	}
	return err
}

func isCovers(call *ast.CallExpr) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != "Covers" {
		return false
	}
	pkg, ok := selector.X.(*ast.Ident)
	return ok && pkg.Name == "liveness"
}

func literal(e ast.Expr) (text string, ok bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}

package liveness

import (
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"reflect"
	"strings"

	"golang.org/x/tools/go/packages"
)

// A program is the source of a module, with what its commands reach.
//
// Reachability is generous where it must guess: mentioning a function reaches it,
// a call of an interface's method reaches every method of that name, and
// mentioning a type reaches those of its methods that bear the name of a method
// of an interface outside the module, such as String. Package variables and
// init functions are reached when a command imports their package.
type program struct {
	module  string
	bodies  map[*types.Func]body
	methods map[string][]*types.Func // of the module, by name
	foreign map[string]bool          // names of methods of interfaces outside the module

	reached map[*types.Func]bool
	named   map[*types.TypeName]bool
	pending []body
	read    map[*types.Var]bool // fields
}

// A body is code of one package.
type body struct {
	node ast.Node
	pkg  *packages.Package
}

// readLeaves returns all leaves of the module in dir, and whether code outside
// package config that a command reaches reads them. The tree is the struct
// Config of package config, as the toml tags tell.
func readLeaves(dir string) (map[string]bool, error) {
	pkgs, err := packages.Load(&packages.Config{
		Dir: dir,
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedSyntax |
			packages.NeedTypes | packages.NeedTypesInfo | packages.NeedModule,
	}, "./...")
	if err != nil {
		return nil, err
	}
	for _, pkg := range pkgs {
		for _, problem := range pkg.Errors {
			err = errors.Join(err, problem)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the module does not build: %w", err)
	}
	p := newProgram(pkgs)
	p.run(pkgs)
	leaves := map[string]bool{}
	for _, pkg := range pkgs {
		if pkg.PkgPath == p.module+"/config" {
			p.tree(pkg.Types.Scope().Lookup("Config").Type(), "", leaves)
		}
	}
	return leaves, nil
}

func newProgram(pkgs []*packages.Package) *program {
	p := &program{
		module: pkgs[0].Module.Path,
		bodies: map[*types.Func]body{}, methods: map[string][]*types.Func{}, foreign: map[string]bool{"Error": true},
		reached: map[*types.Func]bool{}, named: map[*types.TypeName]bool{}, read: map[*types.Var]bool{},
	}
	seen := map[*types.Package]bool{}
	for _, pkg := range pkgs {
		seen[pkg.Types] = true
	}
	for _, pkg := range pkgs {
		for _, imported := range pkg.Types.Imports() {
			p.interfaces(imported, seen)
		}
		for _, file := range pkg.Syntax {
			for _, decl := range file.Decls {
				if f, ok := decl.(*ast.FuncDecl); ok {
					p.declare(f, pkg)
				}
			}
		}
	}
	return p
}

// interfaces notes the methods of the interfaces of a package outside the
// module, and of those that it imports.
func (p *program) interfaces(pkg *types.Package, seen map[*types.Package]bool) {
	if seen[pkg] {
		return
	}
	seen[pkg] = true
	for _, name := range pkg.Scope().Names() {
		if i, ok := pkg.Scope().Lookup(name).Type().Underlying().(*types.Interface); ok {
			for m := range i.Methods() {
				p.foreign[m.Name()] = true
			}
		}
	}
	for _, imported := range pkg.Imports() {
		p.interfaces(imported, seen)
	}
}

func (p *program) declare(decl *ast.FuncDecl, pkg *packages.Package) {
	f := pkg.TypesInfo.Defs[decl.Name].(*types.Func)
	p.bodies[f] = body{decl, pkg}
	if decl.Recv != nil {
		p.methods[f.Name()] = append(p.methods[f.Name()], f)
	}
}

// run visits everything that the commands reach.
func (p *program) run(pkgs []*packages.Package) {
	linked := map[string]bool{}
	for _, pkg := range pkgs {
		if pkg.Name == "main" && strings.HasPrefix(pkg.PkgPath, p.module+"/cmd/") {
			p.link(pkg, linked)
		}
	}
	for len(p.pending) > 0 {
		next := p.pending[len(p.pending)-1]
		p.pending = p.pending[:len(p.pending)-1]
		p.visit(next)
	}
}

// link reaches what runs without being called: main, init and the variables of
// a package, and of those that it imports.
func (p *program) link(pkg *packages.Package, linked map[string]bool) {
	if linked[pkg.PkgPath] || !strings.HasPrefix(pkg.PkgPath, p.module) {
		return
	}
	linked[pkg.PkgPath] = true
	for _, file := range pkg.Syntax {
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.GenDecl:
				if d.Tok == token.VAR {
					p.pending = append(p.pending, body{d, pkg})
				}
			case *ast.FuncDecl:
				if d.Recv == nil && (d.Name.Name == "init" || d.Name.Name == "main" && pkg.Name == "main") {
					p.reach(pkg.TypesInfo.Defs[d.Name].(*types.Func))
				}
			}
		}
	}
	for _, imported := range pkg.Imports {
		p.link(imported, linked)
	}
}

// reach has a function visited, once; of one outside the module there is no body.
func (p *program) reach(f *types.Func) {
	f = f.Origin()
	b, ours := p.bodies[f]
	if ours && !p.reached[f] {
		p.reached[f] = true
		p.pending = append(p.pending, b)
	}
}

// visit notes what a piece of code mentions and reads.
func (p *program) visit(b body) {
	info := b.pkg.TypesInfo
	written := map[ast.Expr]bool{}
	ast.Inspect(b.node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				written[ast.Unparen(left)] = true
			}
		case *ast.IncDecStmt:
			written[ast.Unparen(n.X)] = true
		case *ast.SelectorExpr:
			if s := info.Selections[n]; s != nil && s.Kind() == types.FieldVal && !written[n] && !p.isConfig(b.pkg.PkgPath) {
				p.read[s.Obj().(*types.Var).Origin()] = true
			}
		case *ast.Ident:
			p.mention(info.Uses[n])
		}
		return true
	})
}

func (p *program) isConfig(path string) bool {
	return path == p.module+"/config" || strings.HasPrefix(path, p.module+"/config/")
}

func (p *program) mention(obj types.Object) {
	switch obj := obj.(type) {
	case *types.Func:
		p.reach(obj)
		if receiver := obj.Signature().Recv(); receiver != nil && types.IsInterface(receiver.Type()) {
			for _, m := range p.methods[obj.Name()] {
				p.reach(m)
			}
		}
	case *types.TypeName:
		named, ok := obj.Type().(*types.Named)
		if !ok || p.named[obj] {
			return
		}
		p.named[obj] = true
		for m := range named.Methods() {
			if p.foreign[m.Name()] {
				p.reach(m)
			}
		}
	}
}

// tree notes for every leaf of type t, the table at prefix, whether it is read.
func (p *program) tree(t types.Type, prefix string, leaves map[string]bool) {
	s := t.Underlying().(*types.Struct)
	for i := range s.NumFields() {
		f := s.Field(i)
		tag := reflect.StructTag(s.Tag(i)).Get("toml")
		switch {
		case f.Name() == "_":
		case f.Embedded():
			p.tree(f.Type(), prefix, leaves)
		default:
			key, below := element(f.Type(), prefix+tag)
			if below != nil {
				p.tree(below, key+".", leaves)
			} else {
				leaves[key] = p.read[f]
			}
		}
	}
}

// element returns the struct that a table at key has, or nil for a leaf.
func element(t types.Type, key string) (string, types.Type) {
	switch u := t.Underlying().(type) {
	case *types.Pointer:
		return element(u.Elem(), key)
	case *types.Map:
		return element(u.Elem(), key+".*")
	case *types.Struct:
		return key, t
	}
	return key, nil
}

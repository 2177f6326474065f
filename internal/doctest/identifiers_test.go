package doctest

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// packages are those whose identifiers pages name, by the name that the pages use.
var packages = func() map[string]string {
	all := map[string]string{
		"discoverer": "subscribers/discoverer", "finalizer": "subscribers/finalizer", "reenqueuer": "subscribers/reenqueuer",
		"telemetry": "subscribers/telemetry", "jsonschema": "infra/jsonschema", "memlog": "infra/memlog", "taskertest": "taskertest",
	}
	for name, folder := range folders {
		if name != "main" {
			all[name] = folder
		}
	}
	return all
}()

// declared is a top-level name of a package. The members are those of a type; others are found through alias and embeds,
// which are "package.Type".
type declared struct {
	members map[string]bool
	embeds  []string
}

type declarations map[string]map[string]*declared // package, name

func declarationsOf(t *testing.T) declarations {
	t.Helper()
	all := declarations{}
	for pkg, folder := range packages {
		all[pkg] = map[string]*declared{}
		paths, err := filepath.Glob(filepath.Join(root(t), folder, "*.go"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("package %s: %v", pkg, err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range file.Decls {
				all.add(pkg, decl)
			}
		}
	}
	return all
}

func (all declarations) of(pkg, name string) *declared {
	d := all[pkg][name]
	if d == nil {
		d = &declared{members: map[string]bool{}}
		all[pkg][name] = d
	}
	return d
}

func (all declarations) add(pkg string, decl ast.Decl) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Recv == nil {
			all.of(pkg, decl.Name.Name)
		} else {
			all.of(pkg, typeName(decl.Recv.List[0].Type)).members[decl.Name.Name] = true
		}
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					all.of(pkg, name.Name)
				}
			case *ast.TypeSpec:
				all.of(pkg, spec.Name.Name).describe(pkg, spec.Type)
			}
		}
	}
}

// describe notes the members of a type, and the types that it has the members of.
func (d *declared) describe(pkg string, of ast.Expr) {
	var fields *ast.FieldList
	switch of := of.(type) {
	case *ast.StructType:
		fields = of.Fields
	case *ast.InterfaceType:
		fields = of.Methods
	default:
		d.embed(pkg, of)
		return
	}
	for _, f := range fields.List {
		for _, name := range f.Names {
			d.members[name.Name] = true
		}
		if len(f.Names) == 0 {
			d.embed(pkg, f.Type)
		}
	}
}

func (d *declared) embed(pkg string, of ast.Expr) {
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	switch of := of.(type) {
	case *ast.Ident:
		d.embeds = append(d.embeds, pkg+"."+of.Name)
	case *ast.SelectorExpr:
		if x, ok := of.X.(*ast.Ident); ok {
			d.embeds = append(d.embeds, x.Name+"."+of.Sel.Name)
		}
	}
}

func typeName(of ast.Expr) string {
	switch of := of.(type) {
	case *ast.StarExpr:
		return typeName(of.X)
	case *ast.IndexExpr:
		return typeName(of.X)
	case *ast.Ident:
		return of.Name
	}
	return ""
}

// has reports whether the type has the field or method.
func (all declarations) has(pkg, name, member string) bool {
	d := all[pkg][name]
	if d == nil {
		return false
	}
	if d.members[member] {
		return true
	}
	for _, e := range d.embeds {
		from, of, _ := strings.Cut(e, ".")
		if e != pkg+"."+name && all.has(from, of, member) {
			return true
		}
	}
	return false
}

// identifier is Type.Member of package tasker, package.Name, or package.Type.Member.
var identifier = regexp.MustCompile(`^(?:([a-z]+)\.)?([A-Z][A-Za-z0-9]*)(?:\.([A-Z][A-Za-z0-9]*))?$`)

// A page names what there is: package.Name, package.Type.Member, and Type.Member of package tasker.
func TestIdentifiersInThePagesExist(t *testing.T) {
	all := declarationsOf(t)
	found := 0
	for _, p := range users(t) {
		p.inline(func(at, text string) {
			m := identifier.FindStringSubmatch(text)
			if m == nil || m[1] == "" && (m[3] == "" || all["tasker"][m[2]] == nil) {
				return
			}
			pkg, name, part := cmp.Or(m[1], "tasker"), m[2], m[3]
			if all[pkg] == nil {
				return // of the standard library, or of somebody else
			}
			found++
			if all[pkg][name] == nil {
				t.Errorf("%s: package %s has no %s", at, pkg, name)
			} else if part != "" && !all.has(pkg, name, part) {
				t.Errorf("%s: %s.%s has no %s", at, pkg, name, part)
			}
		})
	}
	if found < 300 {
		t.Errorf("only %d identifiers were found", found)
	}
}

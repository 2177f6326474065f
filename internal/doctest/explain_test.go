package doctest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// Every reason that an explanation can have stands in docs/explain.md, and nothing else does.
func TestReasonsAreDocumented(t *testing.T) {
	root := filepath.Join("..", "..")
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "domain", "explain.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Reason" {
			name, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			reasons[name] = true
		}
		return true
	})
	page, err := os.ReadFile(filepath.Join(root, "docs", "explain.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		if rows++; !reasons[row[1]] {
			t.Errorf("docs/explain.md has %q, or has it twice; domain/explain.go has not", row[1])
		}
		delete(reasons, row[1])
	}
	if rows < 16 {
		t.Errorf("%d reasons were found in the page", rows)
	}
	for name := range reasons {
		t.Errorf("docs/explain.md does not have %q", name)
	}
}

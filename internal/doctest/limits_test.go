package doctest

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	face "github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/natsserver"
)

// folders are the packages that pages name constants of.
var folders = map[string]string{
	"tasker": ".", "main": "cmd/tasker", "domain": "domain", "projections": "projections", "subscribers": "subscribers",
	"attached": "subscribers/attached", "executor": "subscribers/executor", "exechandler": "infra/exechandler",
	"httphandler": "infra/httphandler", "natslog": "infra/natslog", "natsserver": "infra/natsserver", "yamldef": "infra/yamldef",
}

var constantName = regexp.MustCompile(`^([a-z]+)\.([A-Za-z]+)$`)

func TestLimitsOfThePageAreThoseOfTheCode(t *testing.T) {
	found := 0
	for _, r := range readPage(t, operatingPage).tables(t, "## Limits", "what", "value", "constant") {
		m := constantName.FindStringSubmatch(code(r.cells["constant"]))
		if m == nil {
			if r.cells["constant"] != "" {
				t.Errorf("%s: %s is no constant", r.at, r.cells["constant"])
			}
			continue
		}
		found++
		want, err := constantOf(t, m[1], m[2])
		if err != nil {
			t.Errorf("%s: %v", r.at, err)
			continue
		}
		if have, err := quantity(r.cells["value"]); err != nil || have != want {
			t.Errorf("%s: %s is %d, the page says %s (%v)", r.at, r.cells["constant"], want, r.cells["value"], err)
		}
	}
	if found < 30 {
		t.Errorf("only %d limits were found", found)
	}
}

var amount = regexp.MustCompile(`^([0-9][0-9,]*)(?: (KiB|MiB|s|min|h|days))?(?:,|$)`)

// quantity reads "20,000", "16 MiB" and "30 days"; times are in nanoseconds.
func quantity(text string) (int64, error) {
	m := amount.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%q is no quantity", text)
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(strings.TrimSuffix(m[1], ","), ",", ""), 10, 64)
	unit := map[string]int64{
		"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "s": int64(time.Second), "min": int64(time.Minute), "h": int64(time.Hour),
		"days": 24 * int64(time.Hour),
	}[m[2]]
	return n * unit, err
}

// constantOf computes a constant from the source of its package.
func constantOf(t *testing.T, pkg, name string) (int64, error) {
	t.Helper()
	folder, ok := folders[pkg]
	if !ok {
		return 0, fmt.Errorf("package %s is not known here", pkg)
	}
	files, err := filepath.Glob(filepath.Join(root(t), folder, "*.go"))
	if err != nil {
		return 0, err
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return 0, err
		}
		for _, decl := range file.Decls {
			g, ok := decl.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				spec := s.(*ast.ValueSpec)
				if spec.Names[0].Name != name || len(spec.Values) != 1 {
					continue
				}
				v := compute(spec.Values[0])
				n, exact := constant.Int64Val(constant.ToInt(v))
				if !exact {
					return 0, fmt.Errorf("%s.%s is not computed here: %v", pkg, name, v)
				}
				return n, nil
			}
		}
	}
	return 0, fmt.Errorf("package %s has no constant %s", pkg, name)
}

// compute evaluates numbers, operators and units of time.
func compute(e ast.Expr) constant.Value {
	switch e := e.(type) {
	case *ast.BasicLit:
		return constant.MakeFromLiteral(e.Value, e.Kind, 0)
	case *ast.ParenExpr:
		return compute(e.X)
	case *ast.BinaryExpr:
		x, y := compute(e.X), compute(e.Y)
		if e.Op == token.SHL {
			if n, ok := constant.Uint64Val(y); ok {
				return constant.Shift(x, e.Op, uint(n))
			}
		}
		return constant.BinaryOp(x, e.Op, y)
	case *ast.SelectorExpr:
		return constant.MakeInt64(map[string]int64{
			"Nanosecond": 1, "Microsecond": int64(time.Microsecond), "Millisecond": int64(time.Millisecond),
			"Second": int64(time.Second), "Minute": int64(time.Minute), "Hour": int64(time.Hour),
		}[e.Sel.Name])
	}
	return constant.MakeUnknown()
}

var fieldName = regexp.MustCompile(`^(Config|AttachOptions|natsserver\.Options)\.([A-Za-z]+)$`)

func TestFieldsOfConfigurationsExist(t *testing.T) {
	types := map[string]reflect.Type{
		"Config": reflect.TypeFor[face.Config](), "AttachOptions": reflect.TypeFor[face.AttachOptions](),
		"natsserver.Options": reflect.TypeFor[natsserver.Options](),
	}
	found := 0
	for _, p := range users(t) {
		if strings.HasPrefix(p.path, "docs/events") {
			continue
		}
		p.inline(func(at, text string) {
			if m := fieldName.FindStringSubmatch(text); m != nil {
				found++
				if _, ok := types[m[1]].FieldByName(m[2]); !ok {
					t.Errorf("%s: %s has no field %s", at, m[1], m[2])
				}
			}
		})
	}
	if found < 10 {
		t.Errorf("only %d fields were found", found)
	}
}

var testName = regexp.MustCompile(`^(Test|Fuzz)[A-Z][A-Za-z0-9]+$`)

func TestTestsThatThePagesNameExist(t *testing.T) {
	defined := map[string]bool{}
	eachGoFile(t, func(path string, file *ast.File) {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && strings.HasSuffix(path, "_test.go") {
				defined[f.Name.Name] = true
			}
		}
	})
	for _, p := range pages(t) {
		p.inline(func(at, text string) {
			if testName.MatchString(text) && !defined[text] {
				t.Errorf("%s: there is no test %s", at, text)
			}
		})
	}
}

// placeholder stands in a message of a page for what differs.
var placeholder = regexp.MustCompile(`<[^<>]+>`)

// Messages that operators search for stand in the code, word for word.
func TestMessagesOfThePageAreInTheCode(t *testing.T) {
	var code strings.Builder
	eachGoFile(t, func(path string, file *ast.File) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch e := n.(type) {
			case *ast.BinaryExpr:
				if text, ok := textOf(e); ok {
					code.WriteString(text + "\x00")
					return false
				}
			case *ast.BasicLit:
				if text, ok := textOf(e); ok {
					code.WriteString(text + "\x00")
				}
			}
			return true
		})
	})
	// What a verb stands for is written as a placeholder in the pages.
	all := regexp.MustCompile(`%[0-9.]*[a-z]`).ReplaceAllString(code.String(), "<>")
	p := readPage(t, operatingPage)
	found := 0
	for _, heading := range []string{"## A partition is closed", "## Lines in the log", "## The data directory"} {
		for _, r := range p.tables(t, heading, "it says", "do") {
			for _, m := range inlineCode.FindAllStringSubmatch(r.cells["it says"], -1) {
				found++
				if !strings.Contains(all, placeholder.ReplaceAllString(m[1], "<>")) {
					t.Errorf("%s: the code does not say %q", r.at, m[1])
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d messages were found", found)
	}
}

// textOf is the value of a string constant, also of one that is put together.
func textOf(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, err := strconv.Unquote(e.Value)
			return text, err == nil
		}
	case *ast.BinaryExpr:
		x, ok := textOf(e.X)
		if !ok || e.Op != token.ADD {
			return "", false
		}
		y, ok := textOf(e.Y)
		return x + y, ok
	}
	return "", false
}

func eachGoFile(t *testing.T, f func(path string, file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(root(t), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "bin" || strings.HasPrefix(d.Name(), ".") && path != root(t)):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.SkipObjectResolution)
		if err == nil {
			f(path, file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Apidoc writes httpapi/openapi.json: the description of the HTTP API, with the doc comments of the types where they say
// more. go generate ./httpapi runs it.
package main

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"log"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/tasker-go/tasker/httpapi"
)

const module = "github.com/tasker-go/tasker"

func main() {
	log.SetFlags(0)
	log.SetPrefix("apidoc: ")
	root := flag.String("root", ".", "directory of the module")
	flag.Parse()
	text, err := generate(*root)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*root, "httpapi", "openapi.json"), text, 0o600); err != nil {
		log.Fatal(err)
	}
}

func generate(root string) ([]byte, error) {
	c := comments{root: root, packages: map[string]map[string]string{}}
	text, err := httpapi.Describe(c.of)
	if err == nil {
		err = c.err
	}
	return text, err
}

// comments finds doc comments in the source.
type comments struct {
	root     string
	packages map[string]map[string]string // by path: by "Type" or "Type.Field"
	err      error
}

func (c *comments) of(t reflect.Type, field string) string {
	rest, ours := strings.CutPrefix(t.PkgPath(), module)
	if !ours {
		return ""
	}
	known, ok := c.packages[rest]
	if !ok {
		known = c.read(filepath.Join(c.root, filepath.FromSlash(rest)))
		c.packages[rest] = known
	}
	name := t.Name()
	if field != "" {
		name += "." + field
	}
	return known[name]
}

// read reads the comments of one package.
func (c *comments) read(dir string) map[string]string {
	found := map[string]string{}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		c.err = err
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			c.err = err
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if decl, ok := n.(*ast.GenDecl); ok && decl.Tok == token.TYPE {
				for _, spec := range decl.Specs {
					declared(found, decl, spec.(*ast.TypeSpec)) //nolint:forcetypeassert // of a declaration of types
				}
			}
			return true
		})
	}
	return found
}

func declared(found map[string]string, decl *ast.GenDecl, spec *ast.TypeSpec) {
	doc := spec.Doc
	if doc == nil && len(decl.Specs) == 1 {
		doc = decl.Doc
	}
	found[spec.Name.Name] = plain(doc)
	body, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, field := range body.Fields.List {
		text := plain(field.Doc)
		if text == "" {
			text = plain(field.Comment)
		}
		for _, name := range field.Names {
			found[spec.Name.Name+"."+name.Name] = text
		}
	}
}

// plain is a comment as one paragraph.
func plain(doc *ast.CommentGroup) string { return strings.Join(strings.Fields(doc.Text()), " ") }

// Package arch holds no code: its tests hold the architecture. Each rule is a function from a module's tree to the
// places that break it; rules_test.go breaks each of them on purpose.
package arch

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/tasker-go/tasker"

	// maxLines: DESIGN section 8 says about 400; the rest is for a file that is worse when it is split.
	maxLines = 450
)

// longFiles may be longer than maxLines, each for a reason.
var longFiles = map[string]string{}

func TestArchitecture(t *testing.T) {
	root := moduleRoot(t)
	m := load(t, root)
	for name, broken := range rules(m) {
		t.Run(name, func(t *testing.T) {
			for _, b := range broken {
				t.Error(b)
			}
		})
	}
}

// rules runs all of them. The names are the sentences that hold.
func rules(m *tree) map[string][]string {
	return map[string][]string{
		"imports follow the arrows":                      m.arrows(),
		"the face does not link the NATS server":         m.faceLinksNoServer(),
		"the domain imports what is pure":                m.domainImports(),
		"pure packages have no clock and no randomness":  m.clocks(),
		"packages are named for what they do":            m.packageNames(),
		"files are short":                                m.lengths(longFiles),
		"event names are written in the domain only":     m.eventLiterals(),
		"the coordinator names no state of task or step": m.coordinatorStates(),
	}
}

// tree is the module: its packages as the go command sees them, its non-test files as the parser does.
type tree struct {
	root string
	pkgs map[string]pkg // by import path, dependencies included
	fset *token.FileSet
	src  map[string]*ast.File // by slash path below root; no tests, no testdata
	size map[string]int       // lines
}

type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func load(t *testing.T, root string) *tree {
	t.Helper()
	m := &tree{root: root, pkgs: map[string]pkg{}, fset: token.NewFileSet(), src: map[string]*ast.File{}, size: map[string]int{}}
	// -e: a package that does not compile is a failure of the compiler's, not of the architecture's.
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "-json=ImportPath,Standard,Imports,Deps", "./...")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		m.pkgs[p.ImportPath] = p
	}
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); file != root && (strings.HasPrefix(n, ".") || strings.HasPrefix(n, "_") || n == "testdata" || n == "node_modules" || n == "bin") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		return m.read(file)
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *tree) read(file string) error {
	buf, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	f, err := parser.ParseFile(m.fset, file, buf, parser.ParseComments)
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(m.root, file)
	if err != nil {
		return err
	}
	rel = filepath.ToSlash(rel)
	m.src[rel] = f
	m.size[rel] = strings.Count(string(buf), "\n")
	return nil
}

// in reports whether an import path is folder of the module or below it. The folder "." is the face alone.
func in(importPath, folder string) bool {
	if folder == "." {
		return importPath == module
	}
	full := module + "/" + folder
	return importPath == full || strings.HasPrefix(importPath, full+"/")
}

// files are the sources in a folder or below it, in order.
func (m *tree) files(folder string) []string {
	var fs []string
	for f := range m.src {
		if strings.HasPrefix(f, folder+"/") {
			fs = append(fs, f)
		}
	}
	slices.Sort(fs)
	return fs
}

func (m *tree) at(pos token.Pos) string {
	p := m.fset.Position(pos)
	rel, err := filepath.Rel(m.root, p.Filename)
	if err != nil {
		return p.String()
	}
	return fmt.Sprintf("%s:%d", filepath.ToSlash(rel), p.Line)
}

// chain is how from comes to import to, for a reader who looks for the line to change.
func (m *tree) chain(from, to string) string {
	before := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		p := queue[0]
		if p == to {
			way := strings.TrimPrefix(p, module+"/")
			for p = before[p]; p != ""; p = before[p] {
				way = strings.TrimPrefix(p, module+"/") + " -> " + way
			}
			return way
		}
		for _, next := range m.pkgs[p].Imports {
			if _, seen := before[next]; !seen {
				before[next] = p
				queue = append(queue, next)
			}
		}
	}
	return from + " -> ... -> " + to
}

// layers are the arrows of DESIGN section 8: what of this module and what of others a folder may reach, directly or not.
var layers = []struct {
	from    string
	own     []string // folders of this module; the folder itself is always allowed
	foreign func(importPath string) bool
	why     string
}{
	{"domain", nil, only("github.com/google/uuid"), "the domain is the law and depends on nothing"},
	{"projections", []string{"domain"}, only("github.com/google/uuid"), "projections fold what the domain says"},
	{"subscribers", []string{"domain", "projections"}, not("github.com/nats-io/", "github.com/ThreeDotsLabs/"), "subscribers declare ports, adapters implement them"},
	{"infra", []string{"domain", "projections"}, anything, "infra implements ports and does not know who calls it"},
	{".", []string{"domain", "projections", "subscribers", "infra", "internal"}, anything, "the face wires the layers"},
	{"web", nil, only(), "the UI is files"},
}

func only(prefixes ...string) func(string) bool {
	return func(p string) bool { return hasAnyPrefix(p, prefixes) }
}
func not(prefixes ...string) func(string) bool {
	return func(p string) bool { return !hasAnyPrefix(p, prefixes) }
}
func anything(string) bool { return true }

func hasAnyPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// startsServers are the folders of programs and tests, which start an embedded server where a user would have one.
var startsServers = []string{"cmd", "bench", "examples", "internal", "infra/natsserver"}

func (m *tree) arrows() []string {
	var broken []string
	for _, p := range m.pkgs {
		if p.ImportPath != module && !strings.HasPrefix(p.ImportPath, module+"/") {
			continue
		}
		for _, l := range layers {
			if !in(p.ImportPath, l.from) {
				continue
			}
			for _, dep := range p.Deps {
				ours := dep == module || strings.HasPrefix(dep, module+"/")
				switch {
				case ours && (in(dep, l.from) || slices.ContainsFunc(l.own, func(f string) bool { return in(dep, f) })):
				case !ours && (m.pkgs[dep].Standard || l.foreign(dep)):
				default:
					broken = append(broken, fmt.Sprintf("%s: %s", m.chain(p.ImportPath, dep), l.why))
				}
			}
		}
		for _, dep := range p.Imports {
			if why := overHTTP(p.ImportPath, dep); why != "" {
				broken = append(broken, fmt.Sprintf("%s: %s", m.chain(p.ImportPath, dep), why))
			}
			if in(dep, "web") && !in(p.ImportPath, "cmd") {
				broken = append(broken, fmt.Sprintf("%s: only a program carries the UI, whoever embeds the engine must not link it", m.chain(p.ImportPath, dep)))
			}
			if a, b := sibling(p.ImportPath), sibling(dep); a != "" && b != "" && a != b {
				broken = append(broken, fmt.Sprintf("%s: siblings react to events, they do not call each other", m.chain(p.ImportPath, dep)))
			}
			if in(dep, "infra/natsserver") && !slices.ContainsFunc(startsServers, func(f string) bool { return in(p.ImportPath, f) }) {
				broken = append(broken, fmt.Sprintf("%s: only programs and tests start an embedded server", m.chain(p.ImportPath, dep)))
			}
		}
	}
	slices.Sort(broken)
	return broken
}

// overHTTP says what is wrong with an import of the HTTP API, or by it: it stands above the face (ADR 13).
func overHTTP(from, to string) string {
	switch {
	case in(to, "httpapi") && !in(from, "httpapi") && !in(from, "cmd") && !in(from, "examples"):
		return "the HTTP API stands above everything but programs"
	case !in(from, "httpapi") || to != module && !strings.HasPrefix(to, module+"/"):
		return ""
	case !slices.Contains([]string{module, module + "/domain", module + "/projections", module + "/projections/index"}, to) && !in(to, "httpapi"):
		return "the HTTP API serves what the face has; what is missing there belongs there"
	}
	return ""
}

// sibling is the name of the subscriber that a package belongs to, "" for the contract and everything else.
func sibling(importPath string) string {
	rest, ok := strings.CutPrefix(importPath, module+"/subscribers/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func (m *tree) faceLinksNoServer() []string {
	var broken []string
	for _, dep := range m.pkgs[module].Deps {
		if strings.HasPrefix(dep, "github.com/nats-io/nats-server") {
			broken = append(broken, m.chain(module, dep)+": whoever imports the engine must not link the server")
		}
	}
	return broken[:min(len(broken), 1)] // one way in is enough to find it
}

// pure is what the domain may import of the standard library. What is added does no I/O and gives the same answer to
// the same question.
var pure = []string{
	"bytes", "cmp", "compress/flate", "container/heap", "container/list", "crypto/sha256", "crypto/subtle", "encoding", "encoding/base32", "encoding/base64",
	"encoding/binary", "encoding/hex", "encoding/json", "errors", "fmt", "hash", "hash/crc32", "hash/fnv", "hash/maphash", "io",
	"iter", "maps", "math", "math/big", "math/bits", "reflect", "regexp", "slices", "sort", "strconv", "strings", "time", "unicode",
	"unicode/utf16", "unicode/utf8", "unique",
	"context", // the handler contract has one; the domain never waits for it
}

func (m *tree) domainImports() []string {
	var broken []string
	for _, file := range m.files("domain") {
		for _, imp := range m.src[file].Imports {
			p := strings.Trim(imp.Path.Value, `"`)
			if !slices.Contains(pure, p) && !strings.HasPrefix(p, "github.com/google/uuid") && !in(p, "domain") {
				broken = append(broken, fmt.Sprintf("%s: the domain imports %q: if that is pure, add it to the list of this test", m.at(imp.Pos()), p))
			}
		}
	}
	return broken
}

// impure are the functions of packages with pure parts; "*" is all of a package.
var impure = map[string][]string{
	"time":                   {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"},
	"github.com/google/uuid": {"New", "NewString", "NewRandom", "NewRandomFromReader", "NewUUID", "NewV6", "NewV7", "NewV7FromReader", "SetRand", "EnableRandPool"},
	"math/rand":              {"*"},
	"math/rand/v2":           {"*"},
	"crypto/rand":            {"*"},
}

func (m *tree) clocks() []string {
	var broken []string
	for _, folder := range []string{"domain", "projections", "subscribers/discoverer", "subscribers/finalizer", "subscribers/reenqueuer"} {
		for _, file := range m.files(folder) {
			m.selectors(file, func(pos token.Pos, importPath, name string) {
				if names := impure[importPath]; slices.Contains(names, name) || slices.Contains(names, "*") {
					broken = append(broken, fmt.Sprintf("%s: %s.%s: time, ids and chance are arguments of pure code", m.at(pos), importPath, name))
				}
			})
		}
	}
	return broken
}

// selectors calls visit for every pkg.Name of a file.
func (m *tree) selectors(file string, visit func(pos token.Pos, importPath, name string)) {
	imports := map[string]string{}
	for _, imp := range m.src[file].Imports {
		p := strings.Trim(imp.Path.Value, `"`)
		name := path.Base(p)
		if name == "v2" {
			name = path.Base(path.Dir(p))
		}
		if imp.Name != nil {
			name = imp.Name.Name
		}
		imports[name] = p
	}
	ast.Inspect(m.src[file], func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && imports[x.Name] != "" {
				visit(sel.Pos(), imports[x.Name], sel.Sel.Name)
			}
		}
		return true
	})
}

func (m *tree) packageNames() []string {
	var broken []string
	empty := []string{"util", "utils", "common", "helper", "helpers", "type", "types", "model", "models", "misc"}
	for file, f := range m.src {
		for _, name := range []string{f.Name.Name, path.Base(path.Dir(file))} {
			if slices.Contains(empty, name) {
				broken = append(broken, fmt.Sprintf("%s: a package named %s says nothing about what it does", file, name))
			}
		}
	}
	slices.Sort(broken)
	return slices.Compact(broken)
}

func (m *tree) lengths(long map[string]string) []string {
	var broken []string
	for file, lines := range m.size {
		_, listed := long[file]
		switch {
		case ast.IsGenerated(m.src[file]):
		case lines > maxLines && !listed:
			broken = append(broken, fmt.Sprintf("%s has %d lines, more than %d: split it, or list it with the reason", file, lines, maxLines))
		case lines <= maxLines && listed:
			broken = append(broken, fmt.Sprintf("%s is listed as long and has %d lines: take it off the list", file, lines))
		}
	}
	for file, reason := range long {
		if m.src[file] == nil || reason == "" {
			broken = append(broken, fmt.Sprintf("%s is listed as long: it does not exist or has no reason", file))
		}
	}
	slices.Sort(broken)
	return broken
}

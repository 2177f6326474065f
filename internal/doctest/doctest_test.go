// Package doctest holds no code: its tests keep the documentation true. What a page says of the code (fields, defaults,
// limits, flags, messages, outputs) is compared with the code, or with what the command prints.
package doctest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	definitionsPage = "docs/definitions.md"
	conceptsPage    = "docs/concepts.md"
	operatingPage   = "docs/operating.md"
)

// generated are pages that a make target writes; a checkout may not have them yet.
var generated = map[string]string{"docs/performance.md": "make bench"}

// page is one Markdown file. Lines and fences know where they stand, for messages.
type page struct {
	path   string // from the root of the module, with slashes
	lines  []line
	fences []fence
}

type line struct {
	number int
	text   string
}

// fence is a block of code.
type fence struct {
	page   string
	number int // of its first line
	info   string
	text   string
}

func (f fence) at() string { return fmt.Sprintf("%s:%d", f.page, f.number) }

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// pages are all Markdown files of the module.
func pages(t *testing.T) []page {
	t.Helper()
	dir := root(t)
	var all []page
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && path != dir && (name == "testdata" || name == "bin" || name == "node_modules" || strings.HasPrefix(name, ".")):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".md":
			return nil
		}
		rel, err := filepath.Rel(dir, path)
		if err == nil {
			all = append(all, readPage(t, filepath.ToSlash(rel)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("only %d pages were found", len(all))
	}
	return all
}

// users are the pages that tell users what to write and to type.
func users(t *testing.T) []page {
	t.Helper()
	return slices.DeleteFunc(pages(t), func(p page) bool { return strings.HasPrefix(p.path, "docs/adr/") })
}

func readPage(t *testing.T, path string) page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	p := page{path: path}
	var open *fence
	for i, text := range strings.Split(string(text), "\n") {
		info, isFence := strings.CutPrefix(text, "```")
		switch {
		case isFence && open == nil:
			open = &fence{page: path, number: i + 2, info: strings.TrimSpace(info)}
		case isFence:
			p.fences = append(p.fences, *open)
			open = nil
		case open != nil:
			open.text += text + "\n"
		default:
			p.lines = append(p.lines, line{i + 1, text})
		}
	}
	if open != nil {
		t.Fatalf("%s: the fence has no end", open.at())
	}
	return p
}

var inlineCode = regexp.MustCompile("`([^`]+)`")

// inline calls f for every piece of inline code.
func (p page) inline(f func(at, code string)) {
	for _, l := range p.lines {
		for _, m := range inlineCode.FindAllStringSubmatch(l.text, -1) {
			f(fmt.Sprintf("%s:%d", p.path, l.number), m[1])
		}
	}
}

// row is one row of a table, by its column's names.
type row struct {
	at    string
	cells map[string]string
	first string
}

// tables gives the rows of every table below the heading whose columns include the given ones, up to the next heading of
// the same level.
func (p page) tables(t *testing.T, heading string, columns ...string) []row {
	t.Helper()
	level := strings.Repeat("#", strings.Count(strings.SplitN(heading, " ", 2)[0], "#")) + " "
	var rows []row
	inside := false
	var head []string
	for _, l := range p.lines {
		switch {
		case l.text == heading:
			inside = true
		case strings.HasPrefix(l.text, level):
			inside = false
		case !inside || !strings.HasPrefix(l.text, "|"):
			head = nil
		case head == nil:
			head = cells(l.text)
		case !strings.HasPrefix(l.text, "|---") && contains(head, columns):
			r := row{at: fmt.Sprintf("%s:%d", p.path, l.number), cells: map[string]string{}}
			values := cells(l.text)
			if len(values) != len(head) {
				t.Errorf("%s: %d cells below %d columns", r.at, len(values), len(head))
				continue
			}
			for i, name := range head {
				r.cells[name] = values[i]
			}
			r.first = values[0]
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		t.Fatalf("%s has no table with the columns %v below %q", p.path, columns, heading)
	}
	return rows
}

func contains(head, columns []string) bool {
	for _, c := range columns {
		if !slices.Contains(head, c) {
			return false
		}
	}
	return true
}

func cells(text string) []string {
	text = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(text), "|"), "|")
	list := strings.Split(text, "|")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// code takes the quotes from inline code.
func code(cell string) string { return strings.Trim(cell, "`") }

package yamldef_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/yamldef"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// TestFilesGiveWhatTheirGoldenFileSays shows the canonical body of a file that is right, and the text of the error of
// one that is wrong.
func TestFilesGiveWhatTheirGoldenFileSays(t *testing.T) {
	files := testFiles(t)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			f, err := yamldef.Read(filepath.Base(file), data, yamldef.Options{})
			golden(t, file+".golden", shown(t, f, err))
		})
	}
}

func testFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.[yj]*")
	files = slices.DeleteFunc(files, func(name string) bool { return strings.HasSuffix(name, ".golden") })
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no test data")
	}
	return files
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestYAMLAndJSONAndGoGiveTheSameDefinition(t *testing.T) {
	fromYAML, err := yamldef.LoadFile("testdata/order.yaml")
	if err != nil {
		t.Fatal(err)
	}
	fromJSON, err := yamldef.Load("order.json", append([]byte("\ufeff\n"), fromYAML.Body()...))
	if err != nil {
		t.Fatal(err)
	}
	inGo := &domain.Definition{
		Namespace: fromYAML.Namespace, Name: fromYAML.Name, Version: fromYAML.Version, Description: fromYAML.Description,
		Schema: fromYAML.Schema, Steps: fromYAML.Steps, Output: fromYAML.Output,
	}
	if err := inGo.Validate(); err != nil {
		t.Fatal(err)
	}
	if fromYAML.Hash() != fromJSON.Hash() || fromYAML.Hash() != inGo.Hash() {
		t.Errorf("%s\n%s\n%s", fromYAML.Body(), fromJSON.Body(), inGo.Body())
	}
}

func TestJSONIsReadAsJSONWhateverTheFileIsCalled(t *testing.T) {
	body := `{"name":"a","description":"\ud83d\ude00\/","steps":[{"name":"s","handler":"h","handler_config":{"n":1152921504606846977.0}}]}`
	want, err := domain.ParseDefinition([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.json", "a.yaml"} {
		d, err := yamldef.Load(name, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if d.Hash() != want.Hash() {
			t.Errorf("%s: %s", name, d.Body())
		}
	}
}

// bomb is a file whose aliases stand for width to the power of levels values.
func bomb(levels, width int, use string) string {
	var b strings.Builder
	b.WriteString("name: a\nschema:\n  a0: &a0 {k: v}\n")
	for i := 1; i <= levels; i++ {
		refs := make([]string, width)
		for k := range refs {
			refs[k] = fmt.Sprintf("*a%d", i-1)
		}
		fmt.Fprintf(&b, "  a%d: &a%d "+use+"\n", i, i, strings.Join(refs, ", "))
	}
	return b.String()
}

func TestHostileFilesEndInAnError(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for name, tt := range map[string]struct{ data, want string }{
		"aliases":           {bomb(20, 10, "[%s]"), "the aliases of this file stand for more than 100000 values or 32 MiB"},
		"merges":            {bomb(20, 10, "{<<: [%s]}"), "the aliases of this file stand for more than 100000 values or 32 MiB"},
		"long text":         {"name: a\ndescription: &l " + long + "\ntags: [" + strings.Repeat("*l, ", 100) + "]", "32 MiB"},
		"nested flow":       {"name: " + strings.Repeat("[", 5_000) + strings.Repeat("]", 5_000), "nested deeper than 100 levels"},
		"nested block":      {"name:\n  " + strings.Repeat("- ", 5_000) + "a", "nested deeper than 100 levels"},
		"nested very deep":  {"name: " + strings.Repeat("[", 1_000_000), "not valid YAML"},
		"nested in JSON":    {`{"name":` + strings.Repeat("[", 5_000) + strings.Repeat("]", 5_000) + "}", "nested deeper than 100 levels"},
		"a huge number":     {"name: a\ndeadline: 1e300", "deadline is too long: 1e300 seconds"},
		"too large":         {strings.Repeat("#", yamldef.MaxFileSize+1), "the file is larger than 8 MiB"},
		"too many problems": {"name: a\nsteps:\n" + strings.Repeat("- {a: .nan, b: }\n", 10_000), "more problems"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := yamldef.Load("a.yaml", []byte(tt.data))
			var wrong *yamldef.Error
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %.300v, want %q", err, tt.want)
			}
		})
	}
}

func TestFolderIsLoadedSortedAndNotItsSubfolders(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"b.yaml": "name: b\nsteps: [{name: s, command: x}]", "a.json": `{"name":"a","steps":[{"name":"s","command":"x"}]}`,
		"c.YML": "name: c\nsteps: [{name: s, command: x}]", "readme.md": "# hi", "sub/d.yaml": "nonsense",
	} {
		write(t, dir, name, text)
	}
	all, err := yamldef.LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range all {
		names = append(names, d.Name)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestFolderReportsTheErrorsOfAllItsFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "1.yaml", "name: a\nsteps: [{name: s, command: x}]")
	write(t, dir, "2.yaml", "name: a\nversion: 0.1.0\nsteps: [{name: s, command: y}]")
	write(t, dir, "3.yaml", "name: c")
	write(t, dir, "4.json", "{")
	_, err := yamldef.LoadDir(dir)
	if err == nil {
		t.Fatal("no error")
	}
	got := strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "")
	want := `2.yaml:1:1: default.a@0.1.0 is already defined in 1.yaml; give it another version
3.yaml:1:1: a definition needs at least one step; write steps, each with a name and a handler
4.json:1:1: not valid JSON: unexpected end of JSON input`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMissingFileKeepsTheErrorOfTheSystem(t *testing.T) {
	if _, err := yamldef.LoadFile("testdata/none.yaml"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := yamldef.LoadDir("testdata/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzLoad(f *testing.F) {
	files := testFiles(f)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in, _ := yamldef.Read("f.yaml", data, yamldef.Options{Environment: "production", Lint: (*domain.Definition).Lint})
		if d := in.Definition; d != nil && d.Validate() != nil {
			t.Fatalf("%s is not valid", d.Body())
		}
		d, err := yamldef.Load("f.yaml", data)
		if err == nil {
			again, err := domain.ParseDefinition(d.Body())
			if err != nil || again.Hash() != d.Hash() {
				t.Fatalf("%s: %v", d.Body(), err)
			}
			return
		}
		var wrong *yamldef.Error
		if !errors.As(err, &wrong) || len(wrong.Problems) == 0 {
			t.Fatalf("not an *Error: %v", err)
		}
		for _, p := range wrong.Problems {
			// A parser finds the end of the file one line behind the last, and YAML knows more line breaks than \n.
			lines := 2 + len(strings.FieldsFunc(strings.NewReplacer("\n", "\n ", "\r", "\n ", "\u0085", "\n ",
				"\u2028", "\n ", "\u2029", "\n ").Replace(string(data)), func(r rune) bool { return r == '\n' }))
			if p.Line > lines || p.Message == "" {
				t.Fatalf("%+v in %d lines", p, lines)
			}
		}
	})
}

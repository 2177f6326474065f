package yamldef

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/jsonschema"
)

// MaxFileSize is the largest file that is read, in bytes.
const MaxFileSize = 8 << 20

// Options say how a file is read. The zero value reads it as it stands, without its environments.
type Options struct {
	// Environment is the one of the file's environments whose changes are merged in; "" is none. A file that has
	// environments, but not this one, is an error; a file without any is the same in all.
	Environment string
	// Check finds more that is wrong, such as a configuration that cannot work, and Lint what is legal but surely not
	// meant; both with the paths of values ("steps[2].handler"). nil finds nothing. They also see definitions that are
	// wrong otherwise: without a graph, and with fields that cannot be trusted (see domain.InspectDefinition).
	Check, Lint func(*domain.Definition) []domain.Problem
}

// File is a definition file that has been read.
type File struct {
	Name         string             // as it was given
	Definition   *domain.Definition // nil when the file is wrong
	Environment  string             // whose changes were merged in; "" = none
	Environments []string           // that the file has, in its order
	Warnings     []Problem          // what it was read otherwise than it says, and what Lint found; by place

	tree *node
}

// Read reads the definition in data, which is YAML or JSON, in our words or in Tasker's, and validates it. name is the
// file's name for the messages; one that ends in .json must be JSON. Everything that is wrong is reported at once, as an
// *Error, each problem with line and column; a file that does not parse has one problem, the first. With an error the
// File has what is known of it, but no Definition.
func Read(name string, data []byte, o Options) (*File, error) {
	f := &File{Name: name, Environment: o.Environment}
	if problem := checkBytes(data); problem != nil {
		return f, newError(name, []Problem{*problem})
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var problems []Problem
	if isJSON := json.Valid(data); isJSON || strings.EqualFold(filepath.Ext(name), ".json") {
		f.tree, problems = readJSON(data)
	} else {
		f.tree, problems = readYAML(data)
	}
	if f.tree == nil {
		return f, newError(name, problems)
	}
	t := &translator{problems: problems}
	t.translate(f.tree, o.Environment)
	f.Environments = t.environments
	d, problems := f.parse(o, t)
	if len(problems) > 0 {
		return f, newError(name, problems)
	}
	f.Definition = d
	return f, nil
}

// parse hands the tree to the domain as JSON, and places what that and the others find wrong.
func (f *File) parse(o Options, t *translator) (*domain.Definition, []Problem) {
	body, err := encode(f.tree)
	if err != nil {
		return nil, append(t.problems, Problem{Message: err.Error()})
	}
	d, err := domain.InspectDefinition(body)
	var wrong *domain.DefinitionError
	var found, suspect []domain.Problem
	switch {
	case errors.As(err, &wrong):
		found = wrong.Problems
	case err != nil:
		found = []domain.Problem{{Message: err.Error()}}
	}
	found = append(found, checkSchema(d)...)
	if o.Check != nil {
		found = append(found, o.Check(d)...)
	}
	if o.Lint != nil {
		suspect = o.Lint(d)
	}
	f.Warnings = sorted(append(t.warnings, f.tree.locate(suspect)...))
	return d, append(t.problems, f.tree.locate(found)...)
}

// checkSchema reports what is wrong with the schema of the context, at its place.
func checkSchema(d *domain.Definition) []domain.Problem {
	if !bytes.HasPrefix(d.Schema, []byte("{")) {
		return nil
	}
	_, err := jsonschema.Compile(d.Schema)
	var wrong *jsonschema.SchemaError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &wrong):
		return []domain.Problem{{Path: "schema", Message: err.Error()}}
	}
	problems := make([]domain.Problem, len(wrong.Violations))
	for i, v := range wrong.Violations {
		at := "schema"
		for key := range strings.SplitSeq(v.Path, "/") {
			if key != "" {
				at = domain.JoinPath(at, unescape.Replace(key))
			}
		}
		problems[i] = domain.Problem{
			Path: at, Message: "schema: " + v.String(),
			Hint: cmp.Or(wrong.Hint, "it is JSON Schema 2020-12, unless $schema names another draft"),
		}
	}
	return problems
}

// unescape is for the tokens of a JSON pointer (RFC 6901).
var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// Load is Read without options, for a definition that has no environments or is used as it stands.
func Load(name string, data []byte) (*domain.Definition, error) {
	f, err := Read(name, data, Options{})
	return f.Definition, err
}

// ReadFile is Read of a file. A file that cannot be read gives the error of package os, and no File.
func ReadFile(path string, o Options) (*File, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Read(path, data, o)
}

// LoadFile is Load of a file. A file that cannot be read gives the error of package os.
func LoadFile(path string) (*domain.Definition, error) {
	f, err := ReadFile(path, Options{})
	if err != nil {
		return nil, err
	}
	return f.Definition, nil
}

// ReadDir reads every *.yaml, *.yml and *.json file of a folder, not of its subfolders, sorted by file name. The error
// joins those of all files. Two files with the same namespace, name and version are an error.
func ReadDir(dir string, o Options) ([]*File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the folder of definitions: %w", err)
	}
	var all []*File
	var errs []error
	from := map[string]string{}
	for _, entry := range entries {
		if entry.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(entry.Name()))) {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		f, err := ReadFile(path, o)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		name := f.Definition.FullName()
		if first, twice := from[name]; twice {
			errs = append(errs, &Error{File: path, Problems: []Problem{{
				Line: 1, Column: 1, Message: fmt.Sprintf("%s is already defined in %s", name, first), Hint: "give it another version",
			}}})
			continue
		}
		from[name] = path
		all = append(all, f)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return all, nil
}

// LoadDir is ReadDir without options.
func LoadDir(dir string) ([]*domain.Definition, error) {
	files, err := ReadDir(dir, Options{})
	if err != nil {
		return nil, err
	}
	all := make([]*domain.Definition, len(files))
	for i, f := range files {
		all[i] = f.Definition
	}
	return all, nil
}

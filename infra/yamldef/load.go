package yamldef

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tasker-go/tasker/domain"
)

// MaxFileSize is the largest file that is read, in bytes.
const MaxFileSize = 8 << 20

// Load reads the definition in data, which is YAML or JSON, and validates it. name is the file's name for the messages;
// one that ends in .json must be JSON. Everything that is wrong is reported at once, as an *Error, each problem with
// line and column; a file that does not parse has one problem, the first.
func Load(name string, data []byte) (*domain.Definition, error) {
	if problem := checkBytes(data); problem != nil {
		return nil, newError(name, []Problem{*problem})
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var d *domain.Definition
	var problems []Problem
	if isJSON := json.Valid(data); isJSON || strings.EqualFold(filepath.Ext(name), ".json") {
		d, problems = loadJSON(data)
	} else {
		d, problems = loadYAML(data)
	}
	if len(problems) > 0 {
		return nil, newError(name, problems)
	}
	return d, nil
}

// LoadFile is Load of a file. A file that cannot be read gives the error of package os.
func LoadFile(path string) (*domain.Definition, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Load(path, data)
}

// LoadDir loads every *.yaml, *.yml and *.json file of a folder, not of its subfolders, sorted by file name. The error
// joins those of all files. Two files with the same namespace, name and version are an error.
func LoadDir(dir string) ([]*domain.Definition, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the folder of definitions: %w", err)
	}
	var all []*domain.Definition
	var errs []error
	from := map[string]string{}
	for _, entry := range entries {
		if entry.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(entry.Name()))) {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		d, err := LoadFile(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if first, twice := from[d.FullName()]; twice {
			errs = append(errs, &Error{File: path, Problems: []Problem{{
				Line: 1, Column: 1, Message: fmt.Sprintf("%s is already defined in %s", d.FullName(), first),
				Hint: "give it another version",
			}}})
			continue
		}
		from[d.FullName()] = path
		all = append(all, d)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return all, nil
}

func readFile(path string) (data []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the definition: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err = io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the definition: %w", err)
	}
	return data, nil
}

// checkBytes refuses what is not a text that a person wrote.
func checkBytes(data []byte) *Problem {
	if len(data) > MaxFileSize {
		return &Problem{Message: fmt.Sprintf("the file is larger than %d MiB", MaxFileSize>>20)}
	}
	if len(bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))) == 0 {
		return &Problem{Line: 1, Column: 1, Message: "the file is empty", Hint: "a definition needs at least a name and steps"}
	}
	bad := bytes.IndexByte(data, 0)
	for i := 0; bad < 0 && i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			bad = i
		}
		i += size
	}
	if bad < 0 {
		return nil
	}
	line, column := place(data, bad)
	return &Problem{Line: line, Column: column, Message: fmt.Sprintf("not UTF-8 text: byte 0x%02x", data[bad])}
}

// place is the line and column of an offset.
func place(data []byte, offset int) (line, column int) {
	before := data[:min(offset, len(data))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return 1 + bytes.Count(before, []byte("\n")), 1 + utf8.RuneCount(before[start:])
}

// mark is a place in a file.
type mark struct{ line, column int }

// parse hands the JSON form to the domain and finds the places of the problems. Paths in broken have been reported.
func parse(body []byte, broken map[string]bool, places func() map[string]mark) (*domain.Definition, []Problem) {
	d, err := domain.ParseDefinition(body)
	if err == nil {
		return d, nil
	}
	var wrong *domain.DefinitionError
	if !errors.As(err, &wrong) {
		return nil, []Problem{{Message: err.Error()}}
	}
	at := places()
	var problems []Problem
	for _, p := range wrong.Problems {
		if broken[p.Path] {
			continue
		}
		m := nearest(at, p.Path)
		problems = append(problems, Problem{Line: m.line, Column: m.column, Message: p.Message, Hint: p.Hint})
	}
	return nil, problems
}

package yamldef

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/tasker-go/tasker/domain"
)

// Locate says where in a definition file something is wrong that only its user can know, such as a handler that does
// not exist: it finds the places of the paths of problems ("steps[2].handler"). The file has been loaded before; if it
// cannot be read any more, the problems have no place.
func Locate(path string, problems []domain.Problem) *Error {
	at := map[string]mark{}
	if data, err := readFile(path); err == nil {
		at = marks(path, bytes.TrimPrefix(data, []byte("\ufeff")))
	}
	located := make([]Problem, len(problems))
	for i, p := range problems {
		m := nearest(at, p.Path)
		located[i] = Problem{Line: m.line, Column: m.column, Message: p.Message, Hint: p.Hint}
	}
	return newError(path, located)
}

// marks are the places of all values of a file that is known to be good.
func marks(name string, data []byte) map[string]mark {
	if json.Valid(data) || strings.EqualFold(filepath.Ext(name), ".json") {
		return jsonMarks(data)
	}
	root, _ := parseYAML(data)
	if root == nil {
		return nil
	}
	c := converter{at: map[string]mark{}, broken: map[string]bool{}, open: map[*yaml.Node]bool{}}
	c.value(root, "", 1)
	return c.at
}

// nearest is the place of a path; a path that has none of its own, such as that of a key that is missing, has that of
// the value around it.
func nearest(at map[string]mark, path string) mark {
	m, ok := at[path]
	for !ok && path != "" {
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
		m, ok = at[path]
	}
	return m
}

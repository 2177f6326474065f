package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tasker-go/tasker/domain"
)

// lint finds what is legal but surely not meant: see domain.Definition.Lint; and what only shows when one knows the
// handlers that come with tasker.
func lint(d *domain.Definition) []domain.Problem {
	found := d.Lint()
	for i := range d.Steps {
		s, at := &d.Steps[i], domain.IndexPath("steps", i)
		if configChecks[s.Handler] == nil {
			if near := domain.Nearest(s.Handler, builtIn()); near != "" {
				found = append(found, domain.Problem{
					Path: at + ".handler", Message: fmt.Sprintf("step %q has the handler %q, which is not built in", s.Name, s.Handler),
					Hint: fmt.Sprintf("did you mean %q?", near),
				})
			}
			continue
		}
		for _, r := range references(s) {
			if p := strayReference(d, i, r.step); p != nil {
				p.Path = at + "." + r.path
				found = append(found, *p)
			}
		}
	}
	return found
}

// strayReference is the warning about a template in step number i that reads the result of the named step.
func strayReference(d *domain.Definition, i int, name string) *domain.Problem {
	names := make([]string, len(d.Steps))
	for k := range d.Steps {
		names[k] = d.Steps[k].Name
	}
	reader := fmt.Sprintf("step %q reads the result of %q", d.Steps[i].Name, name)
	switch {
	case !slices.Contains(names, name):
		hint := "write the name of a step that it depends on"
		if near := domain.Nearest(name, names); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return &domain.Problem{Message: reader + ", which is no step", Hint: hint}
	case d.Graph() != nil && !isAncestor(d.Graph(), d.Graph().Index(name), i):
		hint := fmt.Sprintf("add %q to depends_on", name)
		if name == d.Steps[i].Name || isAncestor(d.Graph(), i, d.Graph().Index(name)) {
			hint = "a step has no result before it has run"
		}
		return &domain.Problem{Message: reader + ", which it does not wait for", Hint: hint}
	}
	return nil
}

// isAncestor reports whether step a comes before step i in every run.
func isAncestor(g *domain.Graph, a, i int) bool {
	seen := make([]bool, g.Len())
	for todo := []int32{int32(i)}; len(todo) > 0; { // #nosec G115 -- at most MaxSteps
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, p := range g.Parents(int(at)) {
			if int(p) == a {
				return true
			}
			if !seen[p] {
				seen[p] = true
				todo = append(todo, p)
			}
		}
	}
	return false
}

// reference is a place in a handler_config where a template names the result of a step.
type reference struct{ path, step string }

// references finds the templates of a built-in handler's configuration. A command that is one text holds none: what looks
// like one there is the shell's.
func references(s *domain.StepTemplate) []reference {
	var config map[string]any
	if json.Unmarshal(s.HandlerConfig, &config) != nil {
		return nil
	}
	if _, line := config["command"].(string); line && s.Handler == domain.ExecHandler {
		delete(config, "command")
	}
	return collectReferences(config, "handler_config", nil)
}

func collectReferences(v any, path string, found []reference) []reference {
	switch v := v.(type) {
	case string:
		for _, step := range resultsIn(v) {
			found = append(found, reference{path, step})
		}
	case []any:
		for i := range v {
			found = collectReferences(v[i], domain.IndexPath(path, i), found)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			found = collectReferences(v[key], domain.JoinPath(path, key), found)
		}
	}
	return found
}

// resultsIn are the steps whose results a template names: ${results.step...}, and not $${results.step...}.
func resultsIn(template string) []string {
	const open = "${results."
	var steps []string
	for {
		before, after, found := strings.Cut(template, open)
		if !found {
			return steps
		}
		template = after
		if strings.HasSuffix(before, "$") {
			continue
		}
		end := strings.IndexFunc(after, func(r rune) bool { return !isName(string(r)) })
		if end > 0 {
			steps = append(steps, after[:end])
		}
	}
}

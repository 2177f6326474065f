package yamldef

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Tasker's keys (SEMANTICS 7). Each says the same as the key of ours behind it; those without one are dealt with by name.
var (
	topKeys = map[string]string{
		"step_templates": "steps", "namespace_name": "namespace",
		"task_handler_class": "", "module_namespace": "", "concurrent": "", "named_steps": "", "default_dependent_system": "",
	}
	stepKeys = map[string]string{
		"handler_class": "handler", "default_retryable": "retryable", "default_retry_limit": "retry_limit",
		"depends_on_step": "", "depends_on_steps": "",
	}
)

// translator turns Tasker's words into ours. It changes the tree; what it does not know it leaves to the validator.
type translator struct {
	tasker       bool // the file has a key that only Tasker's files have
	problems     []Problem
	warnings     []Problem
	environments []string // those of the file, in its order
	suggestions  int
}

func (t *translator) problem(at mark, message, hint string) {
	if len(t.problems) >= maxProblems {
		return
	}
	t.problems = append(t.problems, Problem{Line: at.line, Column: at.column, Message: message, Hint: hint})
}

func (t *translator) warn(at mark, message, hint string) {
	if len(t.warnings) >= maxProblems {
		return
	}
	t.warnings = append(t.warnings, Problem{Line: at.line, Column: at.column, Message: message, Hint: hint})
}

// translate reads the definition as it is in the environment; "" is the file without its environments.
func (t *translator) translate(root *node, environment string) {
	if root.kind != isObject {
		return
	}
	t.rename(root)
	t.environment(root, environment)
	for key := range topKeys {
		t.tasker = t.tasker || root.find(key) != nil
	}
	if t.tasker {
		t.name(root)
	}
	t.identity(root)
	t.concurrent(root)
	steps := objectsOf(root.value("steps"))
	for _, step := range steps {
		t.dependencies(step)
	}
	t.dependentSystem(root, steps)
	t.handlerConfig(root, steps)
	t.namedSteps(root, steps)
	t.timeouts(steps)
	for _, key := range []string{"task_handler_class", "module_namespace"} {
		root.remove(key) // a task handler is registered by namespace, name and version
	}
}

// objectsOf are the items of a list that are objects; the others are for the validator.
func objectsOf(list *node) []*node {
	if list == nil || list.kind != isList {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(list.items), func(n *node) bool { return n.kind != isObject })
}

// rename gives the keys of a definition, or of an environment, and those of its steps our names.
func (t *translator) rename(n *node) {
	t.renameKeys(n, topKeys)
	for _, step := range objectsOf(n.value("steps")) {
		t.renameKeys(step, stepKeys)
	}
}

func (t *translator) renameKeys(n *node, names map[string]string) {
	for theirs, ours := range names {
		f, other := n.value(theirs), n.value(ours)
		switch {
		case ours == "" || n.find(theirs) == nil:
			continue
		case f != nil && other != nil:
			t.problem(n.find(theirs).at, fmt.Sprintf("%s and %s are the same", theirs, ours), "leave one of the two out")
			n.remove(theirs)
		case f == nil && n.find(ours) != nil:
			n.remove(theirs)
		default:
			n.remove(ours) // it is null
			for i := range n.fields {
				if n.fields[i].key == theirs {
					n.fields[i].key, n.fields[i].was = ours, theirs
				}
			}
		}
		t.tasker = t.tasker || topKeys[theirs] != ""
	}
}

// name makes a name of Tasker's, which may hold slashes, one of ours.
func (t *translator) name(root *node) {
	f := root.find("name")
	if f == nil || f.value.kind != isText || !strings.Contains(f.value.text, "/") {
		return
	}
	name := strings.ReplaceAll(f.value.text, "/", "_")
	t.warn(f.at, fmt.Sprintf("name %q is read as %q: a name has no slash here", f.value.text, name),
		"submit tasks under "+strconv.Quote(name))
	f.value = textNode(name, f.value.at)
}

// identity refuses the strategy that a file cannot hold.
func (t *translator) identity(root *node) {
	f := root.find("identity")
	if f == nil {
		return
	}
	if f.value.kind == isObject {
		if f = f.value.find("strategy"); f == nil {
			return
		}
	}
	if f.value.kind == isText && f.value.text == string(domain.IdentityCustom) {
		t.problem(f.at, "identity strategy \"custom\" is a Go function, which a file cannot hold",
			"write hash, or leave it out and give every submission an idempotency key")
		f.value = &node{at: f.value.at}
	}
}

func (t *translator) concurrent(root *node) {
	f := root.take("concurrent")
	switch {
	case f == nil || f.value.kind == isNull || f.value.kind == isBool && f.value.text == "true":
	case f.value.kind == isBool:
		t.problem(f.at, "concurrent: false never did anything: steps that do not depend on each other run at the same time",
			"leave it out, and let depends_on say what comes first")
	default:
		t.problem(f.at, "concurrent must be true, not "+f.value.kind.String(), "leave it out")
	}
}

// dependencies makes one list of depends_on_step, depends_on_steps and depends_on, each name once, as Tasker does.
func (t *translator) dependencies(step *node) {
	if step.find("depends_on_step") == nil && step.find("depends_on_steps") == nil {
		return
	}
	list := &node{kind: isList}
	at := mark{}
	for _, key := range []string{"depends_on_step", "depends_on_steps", "depends_on"} {
		f := step.take(key)
		if f == nil {
			continue
		}
		if at == (mark{}) {
			at = f.at
		}
		items := []*node{f.value}
		if f.value.kind == isList {
			items = f.value.items
		}
		for _, item := range items {
			switch {
			case item.kind == isNull:
			case item.kind != isText:
				t.problem(f.at, key+" must be a string or a list of strings, not "+item.kind.String(), "write the names of steps")
			case item.text != "" && !slices.ContainsFunc(list.items, func(n *node) bool { return n.text == item.text }):
				if f.value.kind != isList {
					item = textNode(item.text, f.at)
				}
				list.items = append(list.items, item)
			}
		}
	}
	list.at = at
	step.fields = append(step.fields, field{key: "depends_on", at: at, value: list})
}

// dependentSystem gives every step that names none the system of the file.
func (t *translator) dependentSystem(root *node, steps []*node) {
	f := root.take("default_dependent_system")
	if f == nil {
		return
	}
	switch f.value.kind {
	case isNull:
		return
	case isText:
	case isBool, isNumber, isList, isObject:
		t.problem(f.at, "default_dependent_system must be a string, not "+f.value.kind.String(), "write the name of a system")
		return
	}
	for _, step := range steps {
		if step.value("dependent_system") == nil {
			step.remove("dependent_system")
			step.fields = append(step.fields, field{key: "dependent_system", at: f.at, value: f.value})
		}
	}
}

// builtIn are the handlers whose configuration is ours, and strict.
var builtIn = []string{domain.ExecHandler, "http", "log", domain.SleepHandler}

// handlerConfig merges the configuration of the file below that of each step whose handler is the user's.
func (t *translator) handlerConfig(root *node, steps []*node) {
	f := root.take("handler_config")
	if f == nil {
		return
	}
	switch f.value.kind {
	case isNull:
		return
	case isObject:
	case isBool, isNumber, isText, isList:
		t.problem(f.at, "handler_config of a definition must be an object, not "+f.value.kind.String(), "it is merged below that of each step")
		return
	}
	for _, step := range steps {
		handler := step.string("handler")
		if handler == "" || slices.Contains(builtIn, handler) {
			continue
		}
		own := step.value("handler_config")
		if own != nil && own.kind != isObject {
			continue
		}
		merged := f.value
		if own != nil {
			merged = merge(f.value, own)
		}
		at := f.at
		if of := step.take("handler_config"); of != nil {
			at = of.at
		}
		step.fields = append(step.fields, field{key: "handler_config", at: at, value: merged})
	}
}

// namedSteps checks the list that says which steps there may be.
func (t *translator) namedSteps(root *node, steps []*node) {
	f := root.take("named_steps")
	if f == nil {
		return
	}
	if f.value.kind == isNull {
		return
	}
	named := map[string]bool{}
	var names []string
	ok := f.value.kind == isList
	if ok {
		for _, item := range f.value.items {
			ok = ok && item.kind == isText
			named[item.text] = true
			names = append(names, item.text)
		}
	}
	if !ok {
		t.problem(f.at, "named_steps must be a list of strings", "leave it out: the steps have their names")
		return
	}
	used := map[string]bool{}
	for _, step := range steps {
		name := step.string("name")
		if used[name] = true; name != "" && !named[name] {
			t.problem(step.find("name").at, fmt.Sprintf("step %q is not in named_steps", name),
				t.meant(name, names, "add it there, or leave named_steps out"))
		}
	}
	for _, item := range f.value.items {
		if !used[item.text] {
			t.warn(item.at, fmt.Sprintf("named_steps has %q, which is no step", item.text), "leave it out")
		}
	}
}

// maxSuggestions bounds the work of looking for names that were meant.
const maxSuggestions = 20

// meant is the hint for a name that is none of those.
func (t *translator) meant(name string, names []string, otherwise string) string {
	if t.suggestions++; t.suggestions > maxSuggestions {
		return otherwise
	}
	if near := domain.Nearest(name, names); near != "" {
		return "did you mean " + strconv.Quote(near) + "?"
	}
	return otherwise
}

// timeouts warns of steps that expect more time than they get: Tasker has no timeout of a step, its handlers read
// handler_config.timeout_seconds themselves.
func (t *translator) timeouts(steps []*node) {
	for _, step := range steps {
		config := step.value("handler_config")
		if config == nil || config.kind != isObject || step.find("timeout") != nil {
			continue
		}
		f := config.find("timeout_seconds")
		if f == nil || f.value.kind != isNumber {
			continue
		}
		seconds, err := strconv.ParseFloat(f.value.text, 64)
		if err == nil && seconds > domain.DefaultTimeout.Seconds() && seconds < 1e9 {
			t.warn(f.at, fmt.Sprintf("timeout_seconds is for the handler; the engine ends the step after %s", minutes(domain.DefaultTimeout)),
				"write timeout: "+minutes(time.Duration(seconds*float64(time.Second)))+" in the step")
		}
	}
}

// minutes is a duration without the seconds that it does not have: 30m, and not 30m0s.
func minutes(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		return strings.TrimSuffix(text, "0s")
	}
	return text
}

package yamldef

import (
	"fmt"
	"slices"
	"strings"
)

// An environment holds keys of a definition with other values. Objects are merged key by key, steps by name, and
// everything else is replaced. What a definition is called is the same in every environment.
var fixedKeys = []string{"name", "namespace", "version", "environments"}

// environment takes the environments off the definition and merges the chosen one into it.
func (t *translator) environment(root *node, chosen string) {
	f := root.take("environments")
	if f == nil {
		return
	}
	if f.value.kind != isObject {
		if f.value.kind != isNull {
			t.problem(f.at, "environments must be an object, not "+f.value.kind.String(),
				"write it like environments: {production: {deadline: 1h}}")
		}
		return
	}
	var changes *field
	for i := range f.value.fields {
		e := &f.value.fields[i]
		if !slices.Contains(t.environments, e.key) {
			t.environments = append(t.environments, e.key)
		}
		if e.value.kind != isObject && e.value.kind != isNull {
			t.problem(e.at, fmt.Sprintf("environment %q must be an object, not %s", e.key, e.value.kind), "it holds what is different there")
		} else if e.key == chosen {
			changes = e
		}
	}
	switch {
	case chosen == "":
	case changes != nil:
		t.apply(root, changes)
	case !slices.Contains(t.environments, chosen):
		hint := "there are none"
		if len(t.environments) > 0 {
			hint = "there are " + strings.Join(t.environments, ", ")
		}
		t.problem(f.at, fmt.Sprintf("there is no environment %q", chosen), hint)
	}
}

// apply changes the definition to what it is in an environment.
func (t *translator) apply(root *node, environment *field) {
	t.rename(environment.value)
	for _, change := range environment.value.fields {
		old := root.find(change.key)
		switch {
		case slices.Contains(fixedKeys, change.key):
			key := change.key
			if change.was != "" {
				key = change.was
			}
			t.problem(change.at, fmt.Sprintf("an environment cannot change %s", key), "a definition has one name and version everywhere")
		case change.key == "steps" && change.value.kind == isList && old != nil && old.value.kind == isList:
			t.applySteps(old.value, change.value, environment.key)
		case old == nil:
			root.fields = append(root.fields, change)
		default:
			*old = merged(*old, change)
		}
	}
}

// applySteps changes the steps that an environment names.
func (t *translator) applySteps(steps, changes *node, environment string) {
	var names []string
	number := make(map[string]int, len(steps.items)) // of the first step of that name
	for i, step := range steps.items {
		name := step.string("name")
		if _, twice := number[name]; !twice {
			number[name], names = i, append(names, name)
		}
	}
	for _, change := range changes.items {
		if change.kind != isObject {
			t.problem(change.at, "a step must be an object, not "+change.kind.String(), "it has the name of a step and what is different there")
			continue
		}
		name := change.string("name")
		i, known := number[name]
		switch {
		case name == "":
			t.problem(change.at, fmt.Sprintf("a step of environment %q has no name", environment), "steps are merged by name")
			continue
		case !known:
			t.problem(change.find("name").at, fmt.Sprintf("environment %q changes an unknown step %q", environment, name),
				t.meant(name, names, "an environment changes steps and adds none"))
			continue
		}
		base := *steps.items[i]
		base.fields = slices.Clone(base.fields)
		if change.find("depends_on") != nil { // in place of Tasker's two keys as well
			base.remove("depends_on_step")
			base.remove("depends_on_steps")
		}
		change.remove("name")
		steps.items[i] = merge(&base, change)
	}
}

// merge is base with the fields of over on top.
func merge(base, over *node) *node {
	out := *base
	out.fields = slices.Clone(base.fields)
	for _, f := range over.fields {
		if old := out.find(f.key); old != nil {
			*old = merged(*old, f)
		} else {
			out.fields = append(out.fields, f)
		}
	}
	return &out
}

// merged is a field with another one on top of it.
func merged(base, over field) field {
	if base.value.kind == isObject && over.value.kind == isObject {
		base.value = merge(base.value, over.value)
		return base
	}
	return over
}

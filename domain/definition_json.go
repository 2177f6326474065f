package domain

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ExecHandler is the handler that "command: echo hi" is short for.
const ExecHandler = "exec"

// The keys of a definition on the wire, of its steps and of their backoffs (SEMANTICS 7), in canonical order. The order
// and the defaults are part of the format: a change changes the hash, or the meaning, of what is stored.
var (
	definitionKeys = []string{"name", "namespace", "version", "description", "schema", "steps", "on_failure", "deadline",
		"output", "tags", "identity", "custom_events", "index"}
	stepKeys = []string{"name", "description", "handler", "handler_config", "depends_on", "retryable", "retry_limit",
		"backoff", "max_retry_after", "timeout", "heartbeat_timeout", "skippable", "optional", "final_errors",
		"dependent_system", "custom_events", "command"}
	backoffKeys     = []string{"strategy", "base", "factor", "list", "max", "jitter"}
	identityKeys    = []string{"strategy", "window"}
	customEventKeys = []string{"name", "description"}
)

// Keys of Tasker's own files, with what to write instead. Package infra/yamldef reads them; the one internal form has
// one word for each thing.
var (
	taskerDefinitionKeys = map[string]string{
		"concurrent":               "leave it out: steps that do not depend on each other run at the same time",
		"default_dependent_system": "write dependent_system in each step",
		"environments":             "an environment is chosen when a file is loaded",
		"handler_config":           "write handler_config in each step",
		"module_namespace":         "leave it out: a task handler is registered by namespace, name and version",
		"named_steps":              "leave it out: the steps have their names",
		"namespace_name":           "write namespace",
		"step_templates":           "write steps",
		"task_handler_class":       "leave it out: a task handler is registered by namespace, name and version",
	}
	taskerStepKeys = map[string]string{
		"handler_class":       "write handler",
		"depends_on_step":     "write depends_on",
		"depends_on_steps":    "write depends_on",
		"default_retryable":   "write retryable",
		"default_retry_limit": "write retry_limit",
	}
)

// ParseDefinition reads the JSON form of a definition and validates it. It is strict: a key that nothing would obey is
// an error. Everything that is wrong is reported at once, as a *DefinitionError. Body gives the same definition back,
// in canonical form: compact, keys in fixed order, without what is default.
//
// The form: durations are Go strings ("15m") or numbers of seconds; timeout 0 is NoTimeout, jitter 0 is NoJitter;
// depends_on is a name or a list of names; identity is a strategy or an object; a custom event is a name or an object;
// null is the same as leaving a key out.
func ParseDefinition(body []byte) (*Definition, error) {
	d, err := InspectDefinition(body)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// InspectDefinition is ParseDefinition for those who look for mistakes: with an error it also returns what could be
// read, for more checks. Such a definition has no graph, body and hash, what was wrong is missing in it or still
// wrong, and it must not be run. It is never nil.
func InspectDefinition(body []byte) (*Definition, error) {
	p, d := &problems{}, &Definition{}
	root, duplicates, err := parseJSON(body)
	switch {
	case err != nil:
		p.add("", err.Error(), "")
		return d, p.err("")
	case root.kind != jsonObject:
		p.add("", "a definition must be an object, not "+root.kind.String(), "it begins like {\"name\": ")
		return d, p.err("")
	case duplicates:
		root.reportDuplicates("", p)
	}
	r := definitionReader{p}
	r.definition(&root, d)
	d.validate(p)
	return d, p.err(d.Name)
}

type definitionReader struct{ *problems }

// object calls read for every key of the object at path that is known and not null, and reports the others.
func (r definitionReader) object(n *jsonNode, path, where string, keys []string, tasker map[string]string,
	read func(key string, v *jsonNode, at string),
) {
	for i, key := range n.keys {
		at := JoinPath(path, key)
		if slices.Contains(keys, key) {
			if n.items[i].kind != jsonNull {
				read(key, &n.items[i], at)
			}
			continue
		}
		if hint, ok := tasker[key]; ok {
			r.read(at, fmt.Sprintf("key %q%s is one of Tasker's files, not of the JSON form", key, where), hint)
			r.excuseReplaced(path, key)
			continue
		}
		meant := r.suggest(key, append(slices.Clone(keys), slices.Sorted(maps.Keys(tasker))...))
		if meant != "" && n.find(meant) == nil {
			r.excuse(JoinPath(path, meant)) // not also missing
			r.excuseReplaced(path, meant)
		}
		r.read(at, fmt.Sprintf("unknown key %q%s", clip(key), where), cmp.Or(didYouMean(meant), leaveOut))
	}
}

// excuseReplaced keeps quiet about a required key that is there under the name that Tasker has for it.
func (r definitionReader) excuseReplaced(path, key string) {
	switch key {
	case "step_templates":
		r.excuse(JoinPath(path, "steps"))
	case "handler_class":
		r.excuse(JoinPath(path, "handler"))
	}
}

func (r definitionReader) definition(n *jsonNode, d *Definition) {
	r.object(n, "", "", definitionKeys, taskerDefinitionKeys, func(key string, v *jsonNode, at string) {
		switch key {
		case "name":
			r.text(v, at, key, &d.Name)
		case "namespace":
			r.text(v, at, key, &d.Namespace)
		case "version":
			if v.kind == jsonNumber {
				r.read(at, "version must be a string, not a number", versionHint)
				return
			}
			r.text(v, at, key, &d.Version)
		case "description":
			r.text(v, at, key, &d.Description)
		case "schema":
			d.Schema = v.appendCanonical(nil)
		case "steps":
			r.steps(v, at, d)
		case "on_failure":
			r.text(v, at, key, (*string)(&d.OnFailure))
		case "deadline":
			d.Deadline = r.duration(v, at, key, mayBeZero)
		case "output":
			r.text(v, at, key, &d.Output)
		case "tags":
			d.Tags = r.texts(v, at, key)
		case "identity":
			r.identity(v, at, &d.Identity)
		case "custom_events":
			d.CustomEvents = r.customEvents(v, at, "")
		case "index":
			d.Index = r.oneOrMany(v, at, key)
		}
	})
}

func (r definitionReader) steps(v *jsonNode, at string, d *Definition) {
	if v.kind != jsonArray {
		r.read(at, "steps must be a list, not "+v.kind.String(), "write it like steps: [{name: a, handler: log}]")
		return
	}
	if len(v.items) > MaxSteps {
		r.read(at, fmt.Sprintf("%d steps; at most %d are allowed", len(v.items), MaxSteps), splitHint)
		return
	}
	d.Steps = make([]StepTemplate, len(v.items))
	for i := range v.items {
		r.step(&v.items[i], IndexPath(at, i), &d.Steps[i])
	}
}

func (r definitionReader) step(n *jsonNode, path string, s *StepTemplate) {
	if n.kind != jsonObject {
		r.read(path, "a step must be an object, not "+n.kind.String(), "write it like {name: a, handler: log}")
		r.excuse(path + ".name")
		r.excuse(path + ".handler")
		return
	}
	where := " in " + path
	if name := n.find("name"); name != nil && name.kind == jsonString {
		where = fmt.Sprintf(" in step %q", clip(name.text))
	}
	r.object(n, path, where, stepKeys, taskerStepKeys, func(key string, v *jsonNode, at string) {
		switch key {
		case "name":
			r.text(v, at, key, &s.Name)
		case "description":
			r.text(v, at, key, &s.Description)
		case "handler":
			r.text(v, at, key, &s.Handler)
		case "handler_config":
			s.HandlerConfig = v.appendCanonical(nil)
		case "depends_on":
			s.DependsOn = r.oneOrMany(v, at, key)
		case "retryable":
			s.NotRetryable = !r.truth(v, at, key, true)
		case "retry_limit":
			s.RetryLimit = r.retryLimit(v, at)
		case "backoff":
			r.backoff(v, at, where, &s.Backoff)
		case "max_retry_after":
			s.MaxRetryAfter = r.duration(v, at, key, aboveZero)
		case "timeout":
			if s.Timeout = r.duration(v, at, key, mayBeZero); s.Timeout == 0 && !r.excused[at] {
				s.Timeout = NoTimeout
			}
		case "heartbeat_timeout":
			s.HeartbeatTimeout = r.duration(v, at, key, mayBeZero)
		case "skippable":
			s.Skippable = r.truth(v, at, key, false)
		case "optional":
			s.Optional = r.truth(v, at, key, false)
		case "final_errors":
			for _, kind := range r.oneOrMany(v, at, key) {
				s.FinalErrors = append(s.FinalErrors, ErrorKind(kind))
			}
		case "dependent_system":
			r.text(v, at, key, &s.DependentSystem)
		case "custom_events":
			s.CustomEvents = r.customEvents(v, at, where)
		case "command":
			r.command(v, n, path, s)
		}
	})
}

// command reads the shorthand for the exec handler.
func (r definitionReader) command(v, step *jsonNode, path string, s *StepTemplate) {
	at := path + ".command"
	r.excuse(path + ".handler")
	for _, key := range []string{"handler", "handler_config"} {
		if other := step.find(key); other != nil && other.kind != jsonNull {
			r.read(at, fmt.Sprintf("command and %s exclude each other", key),
				`command is short for handler "exec" with handler_config {"command": ...}`)
			return
		}
	}
	var command string
	if r.text(v, at, "command", &command); command == "" {
		r.read(at, "command is empty", "write it like command: echo hi")
		return
	}
	s.Handler = ExecHandler
	s.HandlerConfig = append(appendJSONText([]byte(`{"command":`), command), '}')
}

func (r definitionReader) backoff(n *jsonNode, path, where string, b *Backoff) {
	if n.kind != jsonObject {
		r.read(path, "backoff must be an object, not "+n.kind.String(), "write it like backoff: {strategy: fixed, base: 5s}")
		return
	}
	r.object(n, path, " in the backoff of"+strings.TrimPrefix(where, " in"), backoffKeys, nil, func(key string, v *jsonNode, at string) {
		switch key {
		case "strategy":
			r.text(v, at, key, (*string)(&b.Strategy))
		case "base":
			b.Base = r.duration(v, at, key, aboveZero)
		case "factor":
			if b.Factor = r.number(v, at, key); b.Factor <= 0 && !r.excused[at] {
				r.read(at, "factor must be more than 0, got "+v.text, "leave it out for 2")
			}
		case "list":
			b.List = r.durations(v, at)
		case "max":
			b.Max = r.duration(v, at, key, aboveZero)
		case "jitter":
			b.Jitter = r.number(v, at, key)
			switch {
			case r.excused[at]:
			case b.Jitter == 0:
				b.Jitter = NoJitter
			case b.Jitter < 0:
				r.read(at, "jitter must be between 0 and 1, got "+v.text, "it is a share of the wait")
			}
		}
	})
}

func (r definitionReader) retryLimit(v *jsonNode, at string) int {
	limit, err := strconv.Atoi(v.text)
	switch {
	case v.kind != jsonNumber:
		r.read(at, "retry_limit must be a number, not "+v.kind.String(), unquote(v))
	case err != nil:
		r.read(at, "retry_limit must be a whole number, got "+clip(v.text), "write it like 3")
	case limit < 1:
		r.read(at, fmt.Sprintf("retry_limit must be at least 1, got %d", limit), "it counts executions; 1 runs once")
	}
	return max(limit, 0)
}

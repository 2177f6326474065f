package tasker

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Definition is a named, versioned DAG of steps; immutable once built. See Define, and package infra/yamldef for files.
type Definition = domain.Definition

// Backoff says how long a failed step waits before it is tried again.
type Backoff = domain.Backoff

// Builder makes a Definition. Its methods return it, so that calls can be chained; Build checks everything at once.
type Builder struct {
	def      domain.Definition
	inline   map[int]StepHandler // by number of the step
	task     any                 // see TaskHandler
	identify IdentityFunc
	err      error
}

// Define begins a definition in the namespace "default", version "0.1.0".
//
//	def, err := tasker.Define("greet").
//		Step("hello", hello).
//		Step("shout", shout, tasker.After("hello"), tasker.Retries(5)).
//		Build()
func Define(name string) *Builder {
	return &Builder{def: domain.Definition{Name: name}, inline: map[int]StepHandler{}}
}

// Namespace sets the namespace.
func (b *Builder) Namespace(name string) *Builder { b.def.Namespace = name; return b }

// Version sets the version, such as "1.2.0".
func (b *Builder) Version(v string) *Builder { b.def.Version = v; return b }

// Description says what the definition is for.
func (b *Builder) Description(text string) *Builder { b.def.Description = text; return b }

// Schema sets the JSON Schema (2020-12) of the context. Defaults in it are applied and stored.
func (b *Builder) Schema(schema string) *Builder { b.def.Schema = json.RawMessage(schema); return b }

// StopOnFailure lets nothing start any more once a step has failed for good. Default: other branches run to their end.
func (b *Builder) StopOnFailure() *Builder { b.def.OnFailure = domain.Stop; return b }

// Deadline fails the task when it is not over d after its creation, or after its last retry.
func (b *Builder) Deadline(d time.Duration) *Builder { b.def.Deadline = d; return b }

// Output makes the result of the named step the task's. Default: the results of all leaves, by name.
func (b *Builder) Output(step string) *Builder { b.def.Output = step; return b }

// Tags are added to those of every task.
func (b *Builder) Tags(tags ...string) *Builder { b.def.Tags = append(b.def.Tags, tags...); return b }

// CustomEvent declares an event that the handler of every step may emit; see also Emits. The name has 1 to 128 of
// A-Z a-z 0-9 _ - . and does not begin with a word of the engine's own events, such as "task."; the description is for
// people and may be "".
func (b *Builder) CustomEvent(name, description string) *Builder {
	b.def.CustomEvents = append(b.def.CustomEvents, domain.CustomEvent{Name: name, Description: description})
	return b
}

// CustomEvents is CustomEvent for several, without descriptions.
func (b *Builder) CustomEvents(names ...string) *Builder {
	for _, name := range names {
		b.CustomEvent(name, "")
	}
	return b
}

// Indexed names fields of the context that tasks can be searched by where there is an index (Config.Index): dotted paths
// such as "customer.id", at most 16.
func (b *Builder) Indexed(paths ...string) *Builder {
	b.def.Index = append(b.def.Index, paths...)
	return b
}

// IdentityHash makes submissions without an idempotency key the same task when they agree in initiator, source system,
// context, reason and bypassed steps, and come within the same window; 0 is Tasker's minute. Windows begin at whole
// multiples of their length, as minutes of the clock do. Default: every submission is a task of its own.
func (b *Builder) IdentityHash(window time.Duration) *Builder {
	b.def.Identity = domain.Identity{Strategy: domain.IdentityHash, Window: window}
	return b
}

// Step adds a step that handler h runs. A handler that is registered by name is added with StepNamed.
func (b *Builder) Step(name string, h StepHandler, options ...StepOption) *Builder {
	b.inline[len(b.def.Steps)] = h
	return b.StepNamed(name, "", options...)
}

// StepNamed adds a step that runs the handler registered under that name, such as "exec", "http", "log" or "sleep".
func (b *Builder) StepNamed(name, handler string, options ...StepOption) *Builder {
	s := domain.StepTemplate{Name: name, Handler: handler}
	for _, o := range options {
		if err := o(&s); err != nil && b.err == nil {
			b.err = err
		}
	}
	b.def.Steps = append(b.def.Steps, s)
	return b
}

// Build checks the definition. The error names everything that is wrong with it.
func (b *Builder) Build() (*Workflow, error) {
	if b.err != nil {
		return nil, b.err
	}
	def := b.def
	def.Steps = slices.Clone(b.def.Steps) // the builder may go on, for another version
	handlers := make(map[string]StepHandler, len(b.inline))
	for i, h := range b.inline {
		name := handlerName(&def, def.Steps[i].Name)
		def.Steps[i].Handler, handlers[name] = name, h
	}
	return assemble(&Workflow{Definition: &def, handlers: handlers, identify: b.identify}, b.task)
}

// handlerName is under which the handler of an inline step is registered: unique per definition and version, because
// tasks of several versions may run in one process.
func handlerName(def *Definition, step string) string {
	return cmp.Or(def.Namespace, domain.DefaultNamespace) + "." + def.Name + "@" + cmp.Or(def.Version, domain.DefaultVersion) + "." + step
}

// MustBuild is Build for definitions that are constant; it panics.
func (b *Builder) MustBuild() *Workflow {
	w, err := b.Build()
	if err != nil {
		panic(err)
	}
	return w
}

// StepOption sets one field of a step.
type StepOption func(*domain.StepTemplate) error

func option(set func(*domain.StepTemplate)) StepOption {
	return func(s *domain.StepTemplate) error { set(s); return nil }
}

// After names the steps that must be over before this one.
func After(steps ...string) StepOption {
	return option(func(s *domain.StepTemplate) { s.DependsOn = append(s.DependsOn, steps...) })
}

// Retries limits the executions of a round: 3 means at most three. Default 3.
func Retries(limit int) StepOption {
	return option(func(s *domain.StepTemplate) {
		if s.RetryLimit = limit; limit == 0 {
			s.RetryLimit = -1 // 0 stands for the default; an explicit 0 is an error
		}
	})
}

// NoRetry makes every failure final.
func NoRetry() StepOption { return option(func(s *domain.StepTemplate) { s.NotRetryable = true }) }

// WithBackoff sets how long the step waits between executions.
func WithBackoff(b Backoff) StepOption { return option(func(s *domain.StepTemplate) { s.Backoff = b }) }

// MaxRetryAfter caps the wait that the handler asks for with RetryAfter. Default, also for 0: 24 h.
func MaxRetryAfter(d time.Duration) StepOption {
	return option(func(s *domain.StepTemplate) { s.MaxRetryAfter = d })
}

// FinalErrors are kinds of errors that are not retried, besides the permanent ones: "error", "timeout", "panic", or one
// of the handler's own.
func FinalErrors(kinds ...domain.ErrorKind) StepOption {
	return option(func(s *domain.StepTemplate) { s.FinalErrors = append(s.FinalErrors, kinds...) })
}

// Describe says what the step is for.
func Describe(text string) StepOption {
	return option(func(s *domain.StepTemplate) { s.Description = text })
}

// Timeout limits one execution. Default 15 min; 0 = no limit.
func Timeout(d time.Duration) StepOption {
	return option(func(s *domain.StepTemplate) {
		if s.Timeout = d; d == 0 {
			s.Timeout = domain.NoTimeout
		}
	})
}

// HeartbeatTimeout fails an execution, with kind timeout, whose handler gave no sign of life for that long. It is less
// than the step's timeout. Default 0: none.
func HeartbeatTimeout(d time.Duration) StepOption {
	return option(func(s *domain.StepTemplate) { s.HeartbeatTimeout = d })
}

// Emits declares custom events that the handler of this step may emit, besides those of the definition; see
// Builder.CustomEvent.
func Emits(names ...string) StepOption {
	return option(func(s *domain.StepTemplate) {
		for _, name := range names {
			s.CustomEvents = append(s.CustomEvents, domain.CustomEvent{Name: name})
		}
	})
}

// Optional lets the task complete although the step failed for good.
func Optional() StepOption { return option(func(s *domain.StepTemplate) { s.Optional = true }) }

// Skippable allows submissions to bypass the step.
func Skippable() StepOption { return option(func(s *domain.StepTemplate) { s.Skippable = true }) }

// DependentSystem names the outside system that the step talks to.
func DependentSystem(name string) StepOption {
	return option(func(s *domain.StepTemplate) { s.DependentSystem = name })
}

// HandlerConfig is handed to the handler as JSON.
func HandlerConfig(config any) StepOption {
	return func(s *domain.StepTemplate) error {
		text, err := json.Marshal(config)
		if err != nil {
			return err
		}
		s.HandlerConfig = text
		return nil
	}
}

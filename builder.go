package tasker

import (
	"encoding/json"
	"fmt"
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
	handlers map[string]StepHandler
	err      error
}

// Define begins a definition in the namespace "default", version "0.1.0".
//
//	def, err := tasker.Define("greet").
//		Step("hello", hello).
//		Step("shout", shout, tasker.After("hello"), tasker.Retries(5)).
//		Build()
func Define(name string) *Builder {
	return &Builder{def: domain.Definition{Name: name}, handlers: map[string]StepHandler{}}
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

// Step adds a step that handler h runs. A handler that is registered by name is added with StepNamed.
func (b *Builder) Step(name string, h StepHandler, options ...StepOption) *Builder {
	handler := b.handlerName(name)
	b.handlers[handler] = h
	return b.StepNamed(name, handler, options...)
}

// handlerName is under which the handler of an inline step is registered: unique per definition.
func (b *Builder) handlerName(step string) string {
	ns := b.def.Namespace
	if ns == "" {
		ns = domain.DefaultNamespace
	}
	return ns + "." + b.def.Name + "." + step
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
	if err := def.Validate(); err != nil {
		return nil, err
	}
	return &Workflow{Definition: &def, handlers: b.handlers}, nil
}

// MustBuild is Build for definitions that are constant; it panics.
func (b *Builder) MustBuild() *Workflow {
	w, err := b.Build()
	if err != nil {
		panic(err)
	}
	return w
}

// Workflow is a definition with the handlers that were given to its builder. Engine.Register takes both.
type Workflow struct {
	*Definition
	handlers map[string]StepHandler
}

// GetStepHandler gives the handler that the builder was given for the step, so that a workflow is a TaskHandler itself:
// one that replaces some handlers asks it for the rest.
func (w *Workflow) GetStepHandler(step StepView) (StepHandler, error) {
	if h := w.handlers[step.Handler]; h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("step %q runs the handler that is registered as %q, which is not part of the workflow", step.Name, step.Handler)
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

// Timeout limits one execution. Default 15 min; 0 = no limit.
func Timeout(d time.Duration) StepOption {
	return option(func(s *domain.StepTemplate) {
		if s.Timeout = d; d == 0 {
			s.Timeout = domain.NoTimeout
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

package tasker

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers/executor"
)

// Workflow is a definition with what is needed to run it: the handlers that were given to its builder, a task handler with
// its hooks, the function of its identity. Engine.Register takes it all. It does not change any more.
type Workflow struct {
	*Definition
	handlers  map[string]StepHandler
	task      TaskHandler
	annotator Annotator
	identify  IdentityFunc
}

// Identifier is a hook of a task handler (Tasker's identity strategy class): it makes the identity of the definition a
// custom one; see IdentityFunc.
type Identifier interface {
	GenerateIdentityHash(s Submission) (string, error)
}

// ErrUseRegistered is what GetStepHandler returns for a step that it leaves alone: the step runs the handler that its
// template names, such as the one that was given to Builder.Step.
var ErrUseRegistered = domain.ErrUseRegistered

// TaskHandler sets the task handler of the definition. h is a TaskHandler, which is asked for the handler of every step, or
// has any of the hooks SchemaProvider, StepEstablisher, Annotator and Identifier, or both. The hooks that concern the
// definition are called by Build.
func (b *Builder) TaskHandler(h any) *Builder { b.task = h; return b }

// IdentityFunc lets a function say what makes two submissions without an idempotency key the same task. Only processes
// that have registered the workflow can submit without a key then; others get a *NoIdentityError.
func (b *Builder) IdentityFunc(f IdentityFunc) *Builder {
	if f == nil && b.err == nil {
		b.err = errors.New("tasker: IdentityFunc needs a function")
	}
	b.def.Identity, b.identify = domain.Identity{Strategy: domain.IdentityCustom}, f
	return b
}

// Bind puts a definition, for instance one from a file, and the task handler that was written for it together; h is as
// for Builder.TaskHandler. The definition stays as it is: the hooks work on a copy of it, which the workflow has.
func Bind(def *Definition, h any) (*Workflow, error) {
	own := *def
	own.Steps = slices.Clone(def.Steps)
	for i := range own.Steps {
		s := &own.Steps[i]
		s.DependsOn, s.FinalErrors, s.CustomEvents = slices.Clone(s.DependsOn), slices.Clone(s.FinalErrors), slices.Clone(s.CustomEvents)
		s.Backoff.List, s.HandlerConfig = slices.Clone(s.Backoff.List), bytes.Clone(s.HandlerConfig)
	}
	return assemble(&Workflow{Definition: &own}, h)
}

// assemble checks the definition, after the hooks of the task handler h have had their say; h nil is none.
func assemble(w *Workflow, h any) (*Workflow, error) {
	if h != nil {
		if err := w.take(h); err != nil {
			return nil, fmt.Errorf("the task handler of %q: %w", w.Name, err)
		}
	}
	if err := w.Validate(); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *Workflow) take(h any) error {
	var isHandler, annotates bool
	w.task, isHandler = h.(TaskHandler)
	w.annotator, annotates = h.(Annotator)
	identifier, identifies := h.(Identifier)
	if identifies {
		w.Identity, w.identify = domain.Identity{Strategy: domain.IdentityCustom}, identifier.GenerateIdentityHash
	}
	schema, hasSchema := h.(SchemaProvider)
	if hasSchema {
		if err := w.takeSchema(schema.Schema()); err != nil {
			return err
		}
	}
	establisher, establishes := h.(StepEstablisher)
	if establishes {
		_ = w.Validate() // for the defaults; what is wrong now, the hook may put right
		if err := establisher.EstablishStepDependenciesAndDefaults(w.Steps); err != nil {
			return err
		}
	}
	if !isHandler && !annotates && !identifies && !hasSchema && !establishes {
		return fmt.Errorf("%T has none of a task handler's methods: GetStepHandler, Schema, EstablishStepDependenciesAndDefaults, "+
			"UpdateAnnotations, GenerateIdentityHash; look at their arguments and results", h)
	}
	return nil
}

func (w *Workflow) takeSchema(schema []byte) error {
	if len(schema) == 0 {
		return nil
	}
	if w.Definition.Schema != nil {
		a, errA := domain.CompactJSON(w.Definition.Schema)
		b, errB := domain.CompactJSON(schema)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			return errors.New("the definition has a schema already: leave one of the two out")
		}
		return nil
	}
	w.Definition.Schema = schema
	return nil
}

// GetStepHandler gives the handler of a step as the engine will: that of the task handler, else the one that the builder
// was given; ErrUseRegistered for a step whose handler is registered by name. So a workflow is a TaskHandler itself: one
// that replaces some handlers asks it for the rest.
func (w *Workflow) GetStepHandler(step StepView) (StepHandler, error) {
	if w.task != nil {
		if h, err := w.task.GetStepHandler(step); !errors.Is(err, ErrUseRegistered) {
			return h, err
		}
	}
	if h := w.handlers[step.Handler]; h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("step %q runs the handler that is registered as %q, which is not part of the workflow: %w",
		step.Name, step.Handler, ErrUseRegistered)
}

// WithTaskHandler is the workflow with another task handler, of which only GetStepHandler is called: definition, hooks and
// identity stay. It lets a test replace handlers, see package taskertest, or a program wrap them all.
func (w *Workflow) WithTaskHandler(h TaskHandler) *Workflow {
	other := *w
	other.task = h
	return &other
}

// HasTaskHandler reports whether the workflow has a task handler that is asked for the handlers of its steps.
func (w *Workflow) HasTaskHandler() bool { return w.task != nil }

// set is what the executor has to know.
func (w *Workflow) set() executor.Set {
	return executor.Set{
		Steps: w.handlers, Of: executor.TaskName{Namespace: w.Namespace, Name: w.Name, Version: w.Version},
		Task: w.task, Annotator: w.annotator,
	}
}

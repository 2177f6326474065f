package tasker

import (
	"context"
	"fmt"
	"sync"

	"github.com/tasker-go/tasker/subscribers/executor"
)

// Errors and names of the handler registry.
type (
	// HandlerNotFoundError: no step handler has that name in this process. It lists what is there.
	HandlerNotFoundError = executor.HandlerNotFoundError
	// DuplicateHandlerError: a name has a handler already. Nothing was registered.
	DuplicateHandlerError = executor.DuplicateError
	// TaskHandlerName is what a task handler is registered under; Version "" is every version without one of its own.
	TaskHandlerName = executor.TaskName
)

// workflows are those that were registered with this engine.
type workflows struct {
	mu   sync.Mutex
	have map[*Workflow]bool
}

// Register adds workflows, with all that belongs to them, and bare *Definitions, whose steps run the handlers that are
// registered by name. The same *Workflow again, and the same content of a definition, is fine; another content under the
// same namespace, name and version is refused with ErrDefinitionExists, and a name that has a handler already with a
// *DuplicateHandlerError: then nothing of that item is registered, and the items behind it are not looked at.
//
// Register before Run: steps of unfinished tasks begin at once, and what is not there yet cannot run them. A step whose
// handler is not registered in the process that owns its task waits, as a ready one, until it is; Task says so of every
// such step. Definitions are stored for others to find, and stay when the engine is gone; handlers are the process's own.
func (e *Engine) Register(items ...any) error {
	for _, item := range items {
		var err error
		switch x := item.(type) {
		case *Workflow:
			err = e.registerWorkflow(x)
		case *Definition:
			err = e.definitions.add(x, nil)
		default:
			err = fmt.Errorf("tasker: Register takes *Workflow and *Definition, not %T", item)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) registerWorkflow(w *Workflow) error {
	e.workflows.mu.Lock()
	defer e.workflows.mu.Unlock()
	if e.workflows.have[w] {
		return nil
	}
	k, err := e.definitions.prepare(w.Definition, w.identify)
	if err != nil {
		return err
	}
	if err := e.executor.RegisterSet(w.set()); err != nil {
		return fmt.Errorf("workflow %s: %w", w.FullName(), err)
	}
	if e.workflows.have == nil {
		e.workflows.have = map[*Workflow]bool{}
	}
	e.workflows.have[w] = true
	return e.definitions.put(k, false)
}

// Handler registers a step handler by name, for the steps that name it. Names are unique per process:
// *DuplicateHandlerError.
func (e *Engine) Handler(name string, h StepHandler) error { return e.executor.Register(name, h) }

// TaskHandler registers the task handler of a definition, with its annotation hook if it has one; it is asked for the
// handler of every step. version "" stands for every version that has none of its own. A handler with hooks that concern
// the definition is refused: Bind, or Builder.TaskHandler, puts it and the definition together. *DuplicateHandlerError.
func (e *Engine) TaskHandler(namespace, name, version string, h TaskHandler) error {
	switch h.(type) {
	case SchemaProvider, StepEstablisher, Identifier:
		return fmt.Errorf("tasker: %T has hooks that change the definition, which is made already: give it to Bind or to Builder.TaskHandler", h)
	}
	return e.executor.RegisterTask(namespace, name, version, h)
}

// Handlers lists the step handlers that are registered here, by name; those of a workflow's own steps have a name made of
// definition and step.
func (e *Engine) Handlers() []string { return e.executor.Handlers() }

// TaskHandlers lists the task handlers that are registered here, sorted.
func (e *Engine) TaskHandlers() []TaskHandlerName { return e.executor.TaskHandlers() }

// FindHandler returns the step handler of that name, or a *HandlerNotFoundError.
func (e *Engine) FindHandler(name string) (StepHandler, error) { return e.executor.Handler(name) }

// FindTaskHandler returns the task handler of a definition: its own, or one that gives the step handlers that are
// registered by name. namespace "" is "default", version "" the highest release. A *DefinitionNotFoundError when there is
// no such definition, here or in the store.
func (e *Engine) FindTaskHandler(ctx context.Context, namespace, name, version string) (TaskHandler, error) {
	def, err := e.Definition(ctx, namespace, name, version)
	if err != nil {
		return nil, err
	}
	return e.executor.TaskHandler(def), nil
}

package executor

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tasker-go/tasker/domain"
)

// registry is the handlers. It is replaced, never changed, so that reading it needs no lock.
type registry struct {
	steps map[string]domain.StepHandler
	tasks map[taskName]domain.TaskHandler
}

type taskName struct{ namespace, name, version string }

func newRegistry() *registry {
	return &registry{steps: map[string]domain.StepHandler{}, tasks: map[taskName]domain.TaskHandler{}}
}

// GetStepHandler makes the registry the task handler of every definition that has none of its own.
func (r *registry) GetStepHandler(step domain.StepView) (domain.StepHandler, error) {
	h, ok := r.steps[step.Handler]
	if !ok {
		return nil, fmt.Errorf("no handler %q is registered in this process", step.Handler)
	}
	return h, nil
}

// task is the task handler of the definition: that of its version, else that of every version; nil when there is none.
func (r *registry) task(d *domain.Definition) domain.TaskHandler {
	if len(r.tasks) == 0 {
		return nil
	}
	if h, ok := r.tasks[taskName{d.Namespace, d.Name, d.Version}]; ok {
		return h
	}
	return r.tasks[taskName{d.Namespace, d.Name, ""}]
}

func (r *registry) has(d *domain.Definition, step int) bool {
	if _, ok := r.steps[d.Steps[step].Handler]; ok {
		return true
	}
	return r.task(d) != nil
}

// DuplicateError: a handler is registered under that name already.
type DuplicateError struct{ Name string }

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("handler %s is registered already: every name has one handler per process", e.Name)
}

// Register adds the handler of every step that names it. Steps that wait for it start. A *DuplicateError when the name
// is taken.
func (e *Executor) Register(name string, h domain.StepHandler) error {
	switch {
	case name == "":
		return errors.New("a handler needs a name")
	case name == domain.SleepHandler:
		return fmt.Errorf("handler %q is the engine's own", name)
	case h == nil:
		return fmt.Errorf("handler %q is nil", name)
	}
	return e.change(func(r *registry) error {
		if _, ok := r.steps[name]; ok {
			return &DuplicateError{fmt.Sprintf("%q", name)}
		}
		r.steps[name] = h
		return nil
	})
}

// RegisterTask adds the task handler of a definition; version "" stands for every version that has none of its own. Its
// GetStepHandler is then asked for every step, and Register is not needed for them.
func (e *Executor) RegisterTask(namespace, name, version string, h domain.TaskHandler) error {
	if namespace == "" {
		namespace = domain.DefaultNamespace
	}
	full := fmt.Sprintf("of task %q in namespace %q", name, namespace)
	switch {
	case name == "":
		return errors.New("a task handler needs the name of a definition")
	case h == nil:
		return fmt.Errorf("the handler %s is nil", full)
	}
	return e.change(func(r *registry) error {
		k := taskName{namespace, name, version}
		if _, ok := r.tasks[k]; ok {
			if version != "" {
				full += ", version " + version + ","
			}
			return &DuplicateError{full}
		}
		r.tasks[k] = h
		return nil
	})
}

func (e *Executor) change(f func(*registry) error) error {
	e.register.Lock()
	old := e.registry.Load()
	next := &registry{steps: maps.Clone(old.steps), tasks: maps.Clone(old.tasks)}
	err := f(next)
	if err == nil {
		e.registry.Store(next)
	}
	e.register.Unlock()
	if err == nil {
		e.listeners.call()
	}
	return err
}

// Handlers lists the names of the registered step handlers, sorted.
func (e *Executor) Handlers() []string { return slices.Sorted(maps.Keys(e.registry.Load().steps)) }

// Registered reports whether this process can run the step.
func (e *Executor) Registered(d *domain.Definition, step int) bool {
	return d.Steps[step].Handler == domain.SleepHandler || e.registry.Load().has(d, step)
}

package executor

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tasker-go/tasker/domain"
)

// registry is the handlers. It is replaced, never changed, so that reading it needs no lock.
type registry struct {
	steps      map[string]domain.StepHandler
	tasks      map[TaskName]domain.TaskHandler
	annotators map[TaskName]domain.Annotator
}

// TaskName is what a task handler is registered under.
type TaskName struct {
	Namespace string
	Name      string
	Version   string // "": every version that has none of its own
}

func (n TaskName) String() string {
	if n.Version == "" {
		return n.Namespace + "." + n.Name
	}
	return n.Namespace + "." + n.Name + "@" + n.Version
}

func newRegistry() *registry {
	return &registry{
		steps: map[string]domain.StepHandler{}, tasks: map[TaskName]domain.TaskHandler{}, annotators: map[TaskName]domain.Annotator{},
	}
}

func (r *registry) clone() *registry {
	return &registry{steps: maps.Clone(r.steps), tasks: maps.Clone(r.tasks), annotators: maps.Clone(r.annotators)}
}

// GetStepHandler makes the registry the task handler of every definition that has none of its own.
func (r *registry) GetStepHandler(step domain.StepView) (domain.StepHandler, error) {
	h, ok := r.steps[step.Handler]
	if !ok {
		return nil, &HandlerNotFoundError{Name: step.Handler, Known: r.stepNames()}
	}
	return h, nil
}

func (r *registry) stepNames() []string { return slices.Sorted(maps.Keys(r.steps)) }

// of is what m has for the definition: for its version, else for every version.
func of[T any](m map[TaskName]T, d *domain.Definition) T {
	if len(m) == 0 {
		var none T
		return none
	}
	if x, ok := m[TaskName{d.Namespace, d.Name, d.Version}]; ok {
		return x
	}
	return m[TaskName{d.Namespace, d.Name, ""}]
}

// task is the task handler of the definition; nil when there is none.
func (r *registry) task(d *domain.Definition) domain.TaskHandler { return of(r.tasks, d) }

// annotator is the annotation hook of the definition; nil when there is none.
func (r *registry) annotator(d *domain.Definition) domain.Annotator { return of(r.annotators, d) }

func (r *registry) has(d *domain.Definition, step int) bool {
	if _, ok := r.steps[d.Steps[step].Handler]; ok {
		return true
	}
	return r.task(d) != nil
}

// HandlerNotFoundError: no step handler is registered under that name in this process. Steps that name it wait until one
// is, here or in the next process that owns their task.
type HandlerNotFoundError struct {
	Name  string   `json:"name"`
	Known []string `json:"known,omitempty"` // what is registered, sorted
}

func (e *HandlerNotFoundError) Error() string {
	known := "none is registered at all"
	if len(e.Known) > 0 {
		known = "there are: " + strings.Join(e.Known, ", ")
	}
	return fmt.Sprintf("no handler %q is registered in this process; %s", e.Name, known)
}

// DuplicateError: a handler is registered under that name already.
type DuplicateError struct{ Name string }

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("%s is registered already: every name has one handler per process", e.Name)
}

// Set is handlers that are registered together, or not at all. Every field may be empty.
type Set struct {
	// Steps are step handlers by name: each runs every step that names it.
	Steps map[string]domain.StepHandler
	// Of is the definition that the next two are for; its Namespace is "default" when it is "".
	Of TaskName
	// Task is asked for the handler of every step of the definition.
	Task domain.TaskHandler
	// Annotator is its annotation hook.
	Annotator domain.Annotator
}

func (s *Set) check() error {
	for name, h := range s.Steps {
		switch {
		case name == "":
			return errors.New("a handler needs a name")
		case name == domain.SleepHandler:
			return fmt.Errorf("handler %q is the engine's own", name)
		case h == nil:
			return fmt.Errorf("handler %q is nil", name)
		}
	}
	if s.Of.Name == "" && (s.Task != nil || s.Annotator != nil) {
		return errors.New("a task handler needs the name of a definition")
	}
	return nil
}

// Register adds the handler of every step that names it; errors as RegisterSet's.
func (e *Executor) Register(name string, h domain.StepHandler) error {
	return e.RegisterSet(Set{Steps: map[string]domain.StepHandler{name: h}})
}

// RegisterTask adds the task handler of a definition, with its annotation hook if it has one; version "" stands for every
// version that has none of its own. Errors as RegisterSet's.
func (e *Executor) RegisterTask(namespace, name, version string, h domain.TaskHandler) error {
	s := Set{Of: TaskName{namespace, name, version}, Task: h}
	if h == nil {
		return fmt.Errorf("the task handler of %s is nil", s.Of)
	}
	s.Annotator, _ = h.(domain.Annotator)
	return e.RegisterSet(s)
}

// RegisterSet adds handlers. Steps that wait for one start. A *DuplicateError when a name is taken; nothing is registered
// then.
func (e *Executor) RegisterSet(s Set) error {
	if err := s.check(); err != nil {
		return err
	}
	if s.Of.Namespace == "" {
		s.Of.Namespace = domain.DefaultNamespace
	}
	e.register.Lock()
	defer e.listeners.call() // after the lock
	defer e.register.Unlock()
	next := e.registry.Load().clone()
	for name, h := range s.Steps {
		if _, ok := next.steps[name]; ok {
			return &DuplicateError{fmt.Sprintf("handler %q", name)}
		}
		next.steps[name] = h
	}
	if s.Task != nil {
		if _, ok := next.tasks[s.Of]; ok {
			return &DuplicateError{"the task handler of " + s.Of.String()}
		}
		next.tasks[s.Of] = s.Task
	}
	if s.Annotator != nil {
		if _, ok := next.annotators[s.Of]; ok {
			return &DuplicateError{"the annotation hook of " + s.Of.String()}
		}
		next.annotators[s.Of] = s.Annotator
	}
	e.registry.Store(next)
	return nil
}

// Handlers lists the names of the registered step handlers, sorted.
func (e *Executor) Handlers() []string { return e.registry.Load().stepNames() }

// TaskHandlers lists what task handlers are registered under, sorted.
func (e *Executor) TaskHandlers() []TaskName {
	return slices.SortedFunc(maps.Keys(e.registry.Load().tasks), func(a, b TaskName) int {
		return strings.Compare(a.String(), b.String())
	})
}

// Handler returns the step handler of that name, or a *HandlerNotFoundError.
func (e *Executor) Handler(name string) (domain.StepHandler, error) {
	return e.registry.Load().GetStepHandler(domain.StepView{Handler: name})
}

// TaskHandler returns the task handler of a definition: its own, or one that knows the registered step handlers.
func (e *Executor) TaskHandler(d *domain.Definition) domain.TaskHandler {
	reg := e.registry.Load()
	if h := reg.task(d); h != nil {
		return h
	}
	return reg
}

// Registered reports whether this process can run the step.
func (e *Executor) Registered(d *domain.Definition, step int) bool {
	return d.Steps[step].Handler == domain.SleepHandler || e.registry.Load().has(d, step)
}

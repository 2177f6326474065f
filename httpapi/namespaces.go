package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// owner is what a task is one of; it never changes.
type owner struct{ namespace, name, version string }

// owners remembers what tasks are made of: the newest maxOwners that were asked for.
type owners struct {
	service Service
	mu      sync.Mutex
	known   map[tasker.TaskID]owner
	old     map[tasker.TaskID]owner // the generation before; forgotten when known is full again
}

const maxOwners = 32 << 10

func newOwners(service Service) *owners {
	return &owners{service: service, known: map[tasker.TaskID]owner{}}
}

func (o *owners) note(id tasker.TaskID, of owner) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.known) >= maxOwners/2 {
		o.old, o.known = o.known, make(map[tasker.TaskID]owner, maxOwners/2)
	}
	o.known[id] = of
}

func (o *owners) recall(id tasker.TaskID) (owner, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if of, ok := o.known[id]; ok {
		return of, true
	}
	of, ok := o.old[id]
	return of, ok
}

// of asks the service when it is not remembered. Error: tasker.ErrTaskNotFound.
func (o *owners) of(ctx context.Context, id tasker.TaskID) (owner, error) {
	if of, ok := o.recall(id); ok {
		return of, nil
	}
	t, err := o.service.Task(ctx, id)
	if err != nil {
		return owner{}, err
	}
	of := owner{t.Namespace, t.Name, t.Version}
	o.note(id, of)
	return of, nil
}

// see is nil when the caller may see the task; otherwise it is as if there were none.
func (s *server) see(ctx context.Context, id tasker.TaskID) error {
	who := caller(ctx)
	if len(who.Namespaces) == 0 {
		return nil
	}
	of, err := s.owners.of(ctx, id)
	if errors.Is(err, tasker.ErrTaskNotFound) || err == nil && !who.Sees(of.namespace) {
		return hidden(id)
	}
	return err
}

func hidden(id tasker.TaskID) error { return fmt.Errorf("task %s: %w", id, tasker.ErrTaskNotFound) }

// within gives the namespaces that an answer may be about: nil is all. asked is the namespace that the caller names, "" is
// none.
func within(ctx context.Context, asked string) ([]string, error) {
	who := caller(ctx)
	switch {
	case asked == "":
		return who.Namespaces, nil
	case !who.Sees(asked):
		return nil, forbiddenNamespace(who, asked)
	}
	return []string{asked}, nil
}

func forbiddenNamespace(who *Identity, asked string) *Problem {
	return newProblem(http.StatusForbidden, CodeForbidden,
		fmt.Sprintf("%q is limited to the namespaces %s, and asks for %s", who.Name, strings.Join(who.Namespaces, ", "), shown(asked)),
		"name one of them, or use another token")
}

// definition finds a definition that the caller may see.
func (s *server) definition(ctx context.Context, namespace, name, version string) (*tasker.Definition, error) {
	who := caller(ctx)
	if namespace == "" {
		namespace = domain.DefaultNamespace
	}
	if !who.Sees(namespace) {
		return nil, &tasker.DefinitionNotFoundError{Namespace: namespace, Name: name, Version: version}
	}
	def, err := s.service.Definition(ctx, namespace, name, version)
	return def, hideKnown(who, err)
}

// hideKnown leaves out of an error the definitions that the caller may not see.
func hideKnown(who *Identity, err error) error {
	var none *tasker.DefinitionNotFoundError
	if len(who.Namespaces) == 0 || !errors.As(err, &none) {
		return err
	}
	seen := *none
	seen.Known = slices.DeleteFunc(slices.Clone(none.Known), func(full string) bool {
		namespace, _, _ := strings.Cut(full, ".")
		return !who.Sees(namespace)
	})
	return &seen
}

package tasker

import (
	"context"
	"fmt"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
	"github.com/tasker-go/tasker/subscribers"
	"github.com/tasker-go/tasker/subscribers/executor"
)

// PruneReport says what Prune gave up in a partition.
type PruneReport struct {
	Partition int    `json:"partition"`
	Commits   uint64 `json:"commits"` // removed, or to be removed
	First     uint64 `json:"first"`   // the first sequence that stays
}

// Status is what one engine says of itself.
type Status struct {
	Info       domain.DataInfo     `json:"info"`
	Version    string              `json:"version"`
	Partitions []subscribers.Stats `json:"partitions"`
	Executor   executor.Stats      `json:"executor"`
	Handlers   []string            `json:"handlers"`
}

func (e *Engine) status() *Status {
	s := e.Stats()
	return &Status{Info: e.Info(), Version: Version(), Partitions: s.Partitions, Executor: s.Executor, Handlers: e.Handlers()}
}

// Status asks the owner of partition 0.
func (r *router) Status(ctx context.Context) (*Status, error) {
	resp, err := r.call(ctx, 0, &request{Op: opStatus})
	if err != nil {
		return nil, err
	}
	return resp.Status, nil
}

// Prune gives up the history of tasks that ended longer ago than age, at most up to the older of two snapshots, which
// it takes. dryRun only says what would go. Live and failed tasks stay.
func (r *router) Prune(ctx context.Context, age time.Duration, dryRun bool) ([]PruneReport, error) {
	var reports []PruneReport
	for p := range r.store.Data().Partitions {
		resp, err := r.call(ctx, p, &request{Op: opPrune, Prune: &pruneRequest{int64(age), dryRun}})
		if err != nil {
			return reports, err
		}
		reports = append(reports, *resp.Pruned)
	}
	return reports, nil
}

// Skip tells every reader to pass over a message of the log that cannot be read, for good. The partition must be closed
// because of it.
func (r *router) Skip(ctx context.Context, partition int, sequence uint64, reason string) error {
	if n := r.store.Data().Partitions; partition < 0 || partition >= n {
		return fmt.Errorf("there is no partition %d: this log has %d, from 0", partition, n)
	}
	if reason == "" {
		return fmt.Errorf("skipping a message needs a reason, which is stored")
	}
	_, err := r.call(ctx, partition, &request{Op: opSkip, Skip: &skipRequest{Sequence: sequence, Reason: reason}})
	return err
}

// Apply registers a definition with the running engines. replace allows another content under the same version: tasks
// keep the definition that they began with.
func (r *router) Apply(ctx context.Context, def *Definition, replace bool) error {
	if err := def.Validate(); err != nil {
		return err
	}
	_, err := r.call(ctx, 0, &request{Op: opApply, Definition: def.Body(), Replace: replace})
	return err
}

// Definitions lists the definitions that are known here and in the store.
func (r *router) Definitions(ctx context.Context) ([]*Definition, error) {
	if err := r.definitions.refresh(ctx); err != nil {
		return nil, err
	}
	return r.definitions.list(), nil
}

// Definition returns one definition; version "" stands for the highest release. *DefinitionNotFoundError.
func (r *router) Definition(ctx context.Context, namespace, name, version string) (*Definition, error) {
	if namespace == "" {
		namespace = domain.DefaultNamespace
	}
	k, err := r.definitions.find(namespace, name, version)
	if err != nil {
		if refreshed := r.definitions.refresh(ctx); refreshed != nil {
			return nil, refreshed
		}
		if k, err = r.definitions.find(namespace, name, version); err != nil {
			return nil, err
		}
	}
	return k.def, nil
}

// History is what happened to one task, in order, with durations and causes.
type History = projections.History

// History reads a task's events from the log. ErrTaskNotFound.
func (r *router) History(ctx context.Context, id TaskID) (*History, error) {
	partition := r.partition(id)
	log := r.store.Log(partition)
	var last uint64
	if t, err := r.Task(ctx, id); err == nil {
		last = t.Position.Sequence
	} else { // its owner is away, or has forgotten it: the log knows
		var found bool
		if last, found, err = projections.FindTask(ctx, log, partition, id); err != nil {
			return nil, err
		}
		if !found {
			return nil, fmt.Errorf("task %s: %w", id, ErrTaskNotFound)
		}
	}
	records, trimmed, err := projections.Walk(ctx, log, partition, id, last)
	if err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return nil, fmt.Errorf("task %s: %w", id, ErrTaskNotFound)
	}
	h := projections.FoldHistory(records)
	h.Trimmed = trimmed
	return &h, nil
}

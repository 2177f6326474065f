package tasker

import (
	"context"
	"fmt"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// PruneReport says what Prune gave up in a partition.
type PruneReport struct {
	Partition int    `json:"partition"`
	Commits   uint64 `json:"commits"` // removed, or to be removed
	First     uint64 `json:"first"`   // the first sequence that stays
}

// Prune gives up the history of tasks that ended longer ago than age, at most up to the older of two snapshots, which
// it takes. dryRun only says what would go. Live and failed tasks stay. Partitions that cannot be pruned are named by a
// *PartialError beside the reports of the others.
func (r *router) Prune(ctx context.Context, age time.Duration, dryRun bool) ([]PruneReport, error) {
	var reports []PruneReport
	var failed partial
	for p := range r.store.Data().Partitions {
		resp, err := r.call(ctx, p, &request{Op: opPrune, Prune: &pruneRequest{int64(age), dryRun}})
		if err != nil {
			failed.add(p, err)
			continue
		}
		reports = append(reports, *resp.Pruned)
	}
	return reports, failed.err(r.store.Data().Partitions)
}

// Skip tells every reader to pass over a message of the log that cannot be read, for good. The partition must be closed
// because of it, and by must give a reason. A second call is refused: there is nothing to skip any more.
func (r *router) Skip(ctx context.Context, partition int, sequence uint64, by By) error {
	if n := r.store.Data().Partitions; partition < 0 || partition >= n {
		return fmt.Errorf("there is no partition %d: this log has %d, from 0", partition, n)
	}
	if by.Reason == "" {
		return fmt.Errorf("skipping a message needs a reason, which is stored")
	}
	if err := checkActor(by.Actor); err != nil {
		return err
	}
	_, err := r.call(ctx, partition, &request{Op: opSkip, Skip: &skipRequest{Sequence: sequence, Reason: by.Reason, By: by.Actor}})
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

// CriticalPath is the chain of steps that the duration of a task comes from.
type CriticalPath = projections.CriticalPath

// CriticalPath finds the chain of steps that the duration of a task comes from, in its history: of the steps that a step waited
// for, the one that ended last. Errors: those of History.
func (r *router) CriticalPath(ctx context.Context, id TaskID) (*CriticalPath, error) {
	h, err := r.History(ctx, id)
	if err != nil {
		return nil, err
	}
	parents, err := r.parents(ctx, h)
	if err != nil {
		return nil, fmt.Errorf("the critical path of task %s: %w", id, err)
	}
	path := projections.Critical(*h, func(step string) []string { return parents[step] })
	return &path, nil
}

// parents are the steps that each step of a task depends on: as its owner has them, or where there is none, as its definition
// does.
func (r *router) parents(ctx context.Context, h *History) (map[string][]string, error) {
	parents := map[string][]string{}
	t, err := r.Task(ctx, h.Task)
	if err == nil {
		for _, s := range t.Steps {
			parents[s.Name] = s.DependsOn
		}
		return parents, nil
	}
	d, unknown := r.Definition(ctx, h.Namespace, h.Name, h.Version)
	if unknown != nil {
		return nil, err
	}
	for i := range d.Steps {
		parents[d.Steps[i].Name] = d.Steps[i].DependsOn
	}
	return parents, nil
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
		if last, found, err = projections.FindTaskNear(ctx, log, partition, id, r.nearest(ctx, id)); err != nil {
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

package attached

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// madeOf is a choice of definitions.
type madeOf struct {
	namespace, name, version string // "" is any
}

// newMadeOf returns nil when every definition is wanted.
func newMadeOf(o ReplayOptions) (*madeOf, error) {
	if o.Namespace == "" && o.Definition == "" {
		return nil, nil
	}
	name, version, versioned := strings.Cut(o.Definition, "@")
	if o.Definition != "" && (name == "" || versioned && version == "") {
		return nil, fmt.Errorf("definition %q: want a name such as order, or name and version such as order@1.4.0", o.Definition)
	}
	return &madeOf{namespace: o.Namespace, name: name, version: version}, nil
}

func (m *madeOf) wants(namespace, name, version string) bool {
	return (m.namespace == "" || m.namespace == cmp.Or(namespace, domain.DefaultNamespace)) &&
		(m.name == "" || m.name == name) && (m.version == "" || m.version == version)
}

// maxKnown is how many tasks of a partition are remembered at least; twice as many at most. One takes about 40 bytes.
const maxKnown = 1 << 19

// origins picks the events of tasks that are made of the chosen definitions. Only task.created names the definition; for a
// task of which it has not been seen, the log is walked back along prev, for all such tasks of a commit together, so that
// every message is read once for them. Where the log has been trimmed meanwhile, the snapshots are asked. It belongs to
// one goroutine.
type origins struct {
	made      *madeOf
	store     domain.Store
	log       domain.Log
	partition int
	lenient   bool // leave out the tasks of which nobody knows
	logger    *slog.Logger

	decoder    domain.Decoder
	known, old map[domain.TaskID]bool // is the task wanted? old is given up when known is full
	kept       map[domain.TaskID]bool // what the snapshots say, once they were asked
	warned     bool
}

func newOrigins(store domain.Store, partition int, made *madeOf, lenient bool, logger *slog.Logger) *origins {
	return &origins{
		made: made, store: store, log: store.Log(partition), partition: partition, lenient: lenient, logger: logger,
		known: map[domain.TaskID]bool{},
	}
}

func (o *origins) note(id domain.TaskID, wanted bool) {
	if len(o.known) >= maxKnown {
		o.known, o.old = make(map[domain.TaskID]bool, maxKnown), o.known
	}
	o.known[id] = wanted
}

func (o *origins) look(id domain.TaskID) (wanted, ok bool) {
	if wanted, ok = o.known[id]; ok {
		return wanted, true
	}
	if wanted, ok = o.old[id]; ok {
		o.note(id, wanted)
	}
	return wanted, ok
}

func (o *origins) created(id domain.TaskID, e domain.TaskCreated) {
	o.note(id, o.made.wants(e.Namespace, e.Name, e.Version))
}

// pick filters the records of one commit in place.
func (o *origins) pick(ctx context.Context, records []domain.Record) ([]domain.Record, error) {
	if err := o.learn(ctx, records); err != nil {
		return nil, err
	}
	var task domain.TaskID // of the record before
	wanted := false        // and what is known of it
	return slices.DeleteFunc(records, func(r domain.Record) bool {
		if r.Task.IsZero() {
			return true
		}
		if r.Task != task {
			task = r.Task
			wanted, _ = o.look(task)
		}
		return !wanted
	}), nil
}

// learn gets to know every task of a commit.
func (o *origins) learn(ctx context.Context, records []domain.Record) error {
	open := map[uint64][]domain.TaskID(nil) // by the sequence of the message to look into
	var task domain.TaskID
	for _, r := range records {
		if e, ok := r.Event.(domain.TaskCreated); ok {
			o.created(r.Task, e)
			task = r.Task
			continue
		}
		if r.Task == task || r.Task.IsZero() {
			continue
		}
		task = r.Task
		if _, ok := o.look(task); ok {
			continue
		}
		if open == nil {
			open = map[uint64][]domain.TaskID{}
		}
		if !slices.Contains(open[r.Prev], task) {
			open[r.Prev] = append(open[r.Prev], task)
		}
	}
	for len(open) > 0 {
		at := slices.Max(slices.Collect(maps.Keys(open)))
		tasks := open[at]
		delete(open, at)
		if err := o.back(ctx, at, tasks, open); err != nil {
			return err
		}
	}
	return nil
}

// back looks into one message for the beginning of the tasks, and otherwise for where to look next.
func (o *origins) back(ctx context.Context, at uint64, tasks []domain.TaskID, open map[uint64][]domain.TaskID) error {
	if at == 0 { // its first event is no task.created: somebody else wrote it
		return o.lost(ctx, at, tasks)
	}
	m, err := o.log.Read(ctx, at)
	if errors.Is(err, domain.ErrNoMessage) {
		return o.lost(ctx, at, tasks)
	}
	if err != nil {
		return err
	}
	c, err := o.decoder.Decode(m.Data, o.partition, at)
	if errors.Is(err, domain.ErrNotACommit) {
		return o.lost(ctx, at, tasks)
	}
	if err != nil {
		return &UnreadableError{Partition: o.partition, Sequence: at, Err: err}
	}
	left := make(map[domain.TaskID]bool, len(tasks))
	for _, id := range tasks {
		left[id] = true
	}
	prev := make(map[domain.TaskID]uint64, len(tasks))
	for _, r := range c.Records {
		if !left[r.Task] {
			continue
		}
		prev[r.Task] = r.Prev
		if e, ok := r.Event.(domain.TaskCreated); ok {
			o.created(r.Task, e)
		}
	}
	for _, id := range tasks {
		if _, ok := o.look(id); ok {
			continue
		}
		before, ok := prev[id]
		if !ok || before >= at {
			return fmt.Errorf("message %d of partition %02d does not lead to the beginning of task %s", at, o.partition, id)
		}
		open[before] = append(open[before], id)
	}
	return nil
}

// lost is told of tasks whose history in the log does not go back to their beginning.
func (o *origins) lost(ctx context.Context, at uint64, tasks []domain.TaskID) error {
	if o.kept == nil {
		if err := o.ask(ctx); err != nil {
			return err
		}
	}
	for _, id := range tasks {
		wanted, ok := o.kept[id]
		if !ok && !o.lenient {
			bounds, err := o.log.Bounds(ctx)
			if err != nil {
				return err
			}
			return fmt.Errorf("of which definition task %s is: %w", id, ErrTrimmed{Partition: o.partition, Wanted: at, First: bounds.First})
		}
		if !ok && !o.warned {
			o.warned = true
			o.logger.Warn("the beginning of tasks is not in the log any more, and with it their definition: they are left out",
				"partition", o.partition, "task", id)
		}
		o.note(id, wanted)
	}
	return nil
}

// ask reads of which definitions the tasks in the snapshots are.
func (o *origins) ask(ctx context.Context) error {
	o.kept = map[domain.TaskID]bool{}
	infos, err := o.store.Snapshots().List(ctx, o.partition)
	if err != nil {
		return err
	}
	for _, info := range infos { // a task may have ended before the newest one
		content, err := o.store.Snapshots().Get(ctx, info)
		var state *projections.Partition
		if err == nil {
			state, err = projections.ReadSnapshot(content)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, domain.ErrUnavailable):
			return err
		case err != nil:
			o.logger.Warn("a snapshot is passed over", "partition", o.partition, "sequence", info.Sequence, "error", err)
			continue
		}
		o.keep(state)
	}
	return nil
}

func (o *origins) keep(state *projections.Partition) {
	var failed []domain.TaskID
	for id := range state.FailedTasks() {
		failed = append(failed, id)
	}
	for _, id := range failed {
		state.Find(id) // brings it into memory
	}
	for entry := range state.Tasks() {
		if d := entry.Task.Definition; d != nil {
			if _, newer := o.kept[entry.Task.ID]; !newer {
				o.kept[entry.Task.ID] = o.made.wants(d.Namespace, d.Name, d.Version)
			}
		}
	}
}

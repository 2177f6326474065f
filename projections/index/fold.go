package index

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Folder folds commits into rows and gathers what has to be stored. One goroutine uses it. Rows of tasks that go on stay in
// memory, up to a limit; others come from the store when an event is about them.
type Folder struct {
	store  Store
	limits Limits

	rows        map[domain.TaskID]*Row
	steps       int  // of all rows, and one for each row
	newest      *Row // of the rows that are not dirty, the one used last; a ring
	definitions map[string]*domain.Definition

	batch *Batch
	last  *Row // that the last record was about
}

// Limits of a Folder.
type Limits struct {
	Steps int // of the tasks in memory, and one for each; default 200,000. A batch may be above it
}

// NewFolder folds on from what the store has.
func NewFolder(store Store, limits Limits) *Folder {
	if limits.Steps <= 0 {
		limits.Steps = 200_000
	}
	f := &Folder{store: store, limits: limits, rows: map[domain.TaskID]*Row{}, definitions: map[string]*domain.Definition{}}
	f.newest = &Row{}
	f.newest.older, f.newest.newer = f.newest, f.newest
	f.begin()
	return f
}

func (f *Folder) begin() {
	f.batch = &Batch{Marks: map[int]Mark{}, Stats: map[StatKey]*Stat{}}
	f.last = nil
}

// Events is how many events the open batch has.
func (f *Folder) Events() int { return f.batch.Events }

// Waiting reports whether the open batch has anything to be stored.
func (f *Folder) Waiting() bool { return len(f.batch.Marks) > 0 }

// Pass notes a message that is no commit.
func (f *Folder) Pass(partition int, m domain.Message, at domain.Instant) {
	f.batch.Marks[partition] = Mark{Sequence: m.Sequence, CommitID: m.CommitID, At: at}
}

// Fold folds one commit, the next one of its partition. An error is the store's: then the folder is of no use any more.
func (f *Folder) Fold(ctx context.Context, c domain.Commit) error {
	for i := range c.Records {
		r := &c.Records[i]
		f.batch.Events++
		if r.Task.IsZero() {
			if e, ok := r.Event.(domain.DefinitionAdopted); ok {
				f.adopt(e)
			}
			continue
		}
		row, err := f.row(ctx, r)
		if err != nil {
			return err
		}
		if row == nil {
			f.batch.Skipped++
			continue
		}
		f.fold(row, r)
	}
	f.batch.Marks[c.Partition] = Mark{Sequence: c.Sequence, CommitID: c.ID, At: c.At}
	return nil
}

func (f *Folder) adopt(e domain.DefinitionAdopted) {
	if d, err := e.Definition(); err == nil {
		f.know(d.Under(e.Hash))
	}
}

const maxDefinitions = 2_000 // in memory

func (f *Folder) know(d *domain.Definition) {
	if len(f.definitions) >= maxDefinitions {
		clear(f.definitions)
	}
	f.definitions[d.Hash()] = d
	f.batch.Definitions = append(f.batch.Definitions, d)
}

func (f *Folder) definition(ctx context.Context, hash string) (*domain.Definition, error) {
	if d := f.definitions[hash]; d != nil {
		return d, nil
	}
	for _, d := range f.batch.Definitions {
		if d.Hash() == hash {
			return d, nil
		}
	}
	d, err := f.store.Definition(ctx, hash)
	if d != nil && err == nil {
		f.definitions[hash] = d
	}
	return d, err
}

// row finds or makes the row that the record is about; nil when there is none.
func (f *Folder) row(ctx context.Context, r *domain.Record) (*Row, error) {
	created, isNew := r.Event.(domain.TaskCreated)
	first := isNew && r.Prev == 0
	if f.last != nil && f.last.Task.ID == r.Task && !first {
		return f.last, nil
	}
	row := f.rows[r.Task]
	if row != nil && first && !row.Task.State.Live() { // the key of a task that has ended was used again
		f.leave(row)
		f.forget(row)
		row = nil
	}
	if row == nil && (!isNew || r.Prev != 0) {
		var err error
		if row, err = f.store.Load(ctx, r.Task); err != nil {
			return nil, fmt.Errorf("index: load task %s: %w", r.Task, err)
		}
		if row != nil {
			row.store()
			f.keep(row)
		}
	}
	if row == nil && isNew {
		def, err := f.definition(ctx, created.Definition)
		if err != nil {
			return nil, err
		}
		if def != nil {
			row = newRow(domain.NewTask(*r, def), number(r.Task, r.Position))
			row.Fields = fieldsOf(def, created.Context)
			strip(row.Task)
			f.keep(row)
		}
	}
	if row != nil && !row.dirty {
		f.touch(row)
	}
	f.last = row
	return row, nil
}

// strip leaves out what the index has no use for.
func strip(t *domain.Task) {
	t.Context, t.Result, t.ResultFrom, t.Traceparent, t.InputHash = domain.Payload{}, domain.Payload{}, nil, "", 0
}

func (f *Folder) keep(row *Row) {
	f.rows[row.Task.ID] = row
	f.steps += 1 + len(row.steps)
}

// leave takes a row out of those that may leave memory.
func (f *Folder) leave(row *Row) {
	if row.older != nil {
		row.older.newer, row.newer.older = row.newer, row.older
		row.older, row.newer = nil, nil
	}
}

// touch takes a row into the batch.
func (f *Folder) touch(row *Row) {
	f.leave(row)
	row.dirty = true
	f.batch.rows = append(f.batch.rows, row)
}

// fold applies the record to the row.
func (f *Folder) fold(row *Row, r *domain.Record) {
	t := row.Task
	row.Last, row.Updated = r.Position, r.At
	row.say(r)
	step := -1
	var before domain.Step
	if e, ok := r.Event.(domain.StepEvent); ok {
		if step = t.Definition.Graph().Index(e.StepName()); step >= 0 {
			before = t.Steps[step]
			row.steps[step].at = r.Position
		}
	}
	state, ended := t.State, t.EndedAt
	domain.Evolve(t, *r)
	t.Touch(r.Position.Sequence)
	if step >= 0 {
		f.step(row, step, &before, r)
	}
	if state != t.State {
		f.task(row, state, ended)
		strip(t)
	}
}

// task counts what the task has come to.
func (f *Folder) task(row *Row, was domain.State, ended domain.Instant) {
	t := row.Task
	if was == domain.Error {
		f.stat(row, "", ended).Failed--
	}
	switch t.State {
	case domain.Complete:
		s := f.stat(row, "", t.EndedAt)
		s.Complete++
		s.Took.Count(row.duration())
	case domain.Error:
		f.stat(row, "", t.EndedAt).Failed++
	case domain.Cancelled:
		f.stat(row, "", t.EndedAt).Cancelled++
	case domain.ResolvedManually:
		f.stat(row, "", t.EndedAt).Resolved++
	case domain.Pending, domain.InProgress:
	}
}

// step counts an execution that has ended, and leaves out what the index has no use for.
func (f *Folder) step(row *Row, i int, before *domain.Step, r *domain.Record) {
	s := &row.Task.Steps[i]
	s.Result = domain.Payload{}
	if s.More != nil && s.More != before.More {
		if s.More.Error != nil && (before.More == nil || before.More.Error != s.More.Error) {
			e := s.More.Error
			row.LastError = &LastError{
				Step: row.Task.Definition.Steps[i].Name, Attempt: int(s.Attempt), Kind: e.Kind, Code: e.Code, Message: e.Message, At: r.At.Time(),
			}
		}
		slim(s)
	}
	if before.State != domain.InProgress || s.State == domain.InProgress {
		return
	}
	took := max(int64(s.EndedAt-s.StartedAt), 0)
	row.steps[i].took = took
	stat := f.stat(row, row.Task.Definition.Steps[i].Name, r.At)
	if s.Attempt > 1 {
		stat.Retries++
	}
	switch s.State {
	case domain.Complete:
		stat.Complete++
		stat.Took.Count(took)
	case domain.Error:
		stat.Failed++
	case domain.Pending, domain.InProgress, domain.Cancelled, domain.ResolvedManually:
		stat.Cancelled++
	}
}

// slim keeps of what few steps have the error, without where it came from.
func slim(s *domain.Step) {
	if s.More.Error == nil {
		s.More = nil
		return
	}
	e := *s.More.Error
	e.Frames = nil
	s.More = &domain.StepMore{Error: &e}
}

func (f *Folder) stat(row *Row, step string, at domain.Instant) *Stat {
	key := StatKey{row.Kind(), step, HourOf(at)}
	s := f.batch.Stats[key]
	if s == nil {
		s = &Stat{}
		f.batch.Stats[key] = s
	}
	return s
}

// HourOf is the hour in which the instant is, since the Unix epoch.
func HourOf(at domain.Instant) int64 {
	const hour = int64(time.Hour / time.Microsecond)
	h := int64(at) / hour
	if int64(at)%hour < 0 {
		h--
	}
	return h
}

// say keeps what people are told by the record: notes and reasons.
func (r *Row) say(record *domain.Record) {
	if e, ok := record.Event.(domain.TaskAnnotated); ok {
		r.Notes = append(r.Notes, Note{Kind: e.Kind, Step: e.Step, Annotation: e.Annotation, At: record.At.Time()})
		if len(r.Notes) > MaxNotes {
			r.Notes = slices.Clone(r.Notes[1:])
		}
		return
	}
	if reason := reasonOf(record.Event); reason != "" && !slices.Contains(r.Said, reason) {
		if r.Said = append(r.Said, reason); len(r.Said) > maxSaid {
			r.Said = slices.Clone(r.Said[1:])
		}
	}
}

// reasonOf is the reason that somebody gave with a verb.
func reasonOf(e domain.Event) string {
	switch e := e.(type) {
	case domain.TaskRetryRequested:
		return e.Reason
	case domain.TaskCancelled:
		return e.Reason
	case domain.TaskResolvedManually:
		return e.Reason
	case domain.TaskPaused:
		return e.Reason
	case domain.TaskResumed:
		return e.Reason
	case domain.StepCompleted:
		return e.Reason
	case domain.StepRetryRequested:
		return e.Reason
	case domain.StepCancelled:
		return e.Reason
	case domain.StepResolvedManually:
		return e.Reason
	case domain.StepSkipped:
		return e.Reason
	case domain.TaskCreated, domain.TaskStartRequested, domain.TaskReenqueued, domain.TaskDelayed, domain.TaskCompleted, domain.TaskFailed,
		domain.TaskAnnotated, domain.TaskExpired, domain.StepExecutionRequested, domain.StepFailed, domain.StepInherited,
		domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom, domain.Signal, domain.Unknown,
		domain.PartitionOpened, domain.PartitionSkipped, domain.DefinitionAdopted: // people give no reason with them
	}
	return ""
}

// Load takes a task that something else than its events tells of: a snapshot. It replaces what is known of it.
func (f *Folder) Load(ctx context.Context, t *domain.Task, partition int) error {
	row := f.rows[t.ID]
	if row == nil {
		var err error
		if row, err = f.store.Load(ctx, t.ID); err != nil {
			return err
		}
		if row == nil {
			row = newRow(t, number(t.ID, domain.Position{}))
		} else {
			row.store()
		}
		f.keep(row)
	}
	row.Fields = fieldsOf(t.Definition, t.Context)
	strip(t)
	row.Task = t
	row.Last = domain.Position{Partition: partition, Sequence: t.Last}
	row.Updated = max(t.CreatedAt, t.StartedAt, t.EndedAt)
	for i := range t.Steps {
		s := &t.Steps[i]
		s.Result = domain.Payload{}
		if s.More != nil {
			slim(s)
		}
		row.Updated = max(row.Updated, s.StartedAt, s.EndedAt)
		if row.steps[i].took = row.span(i); s.Attempt > 0 {
			row.steps[i].at = row.Last
		}
		if e := s.LastError(); e != nil && (row.LastError == nil || s.EndedAt.Time().After(row.LastError.At)) {
			row.LastError = &LastError{Step: t.Definition.Steps[i].Name, Attempt: int(s.Attempt), Kind: e.Kind, Code: e.Code, Message: e.Message, At: s.EndedAt.Time()}
		}
	}
	if !row.dirty {
		f.touch(row)
	}
	return nil
}

// Know takes a definition that a snapshot tells of.
func (f *Folder) Know(d *domain.Definition) { f.know(d) }

// Take closes the batch and returns it; what follows goes into the next one. Applied is called when it has been stored.
func (f *Folder) Take() *Batch {
	b := f.batch
	slices.SortFunc(b.rows, func(x, y *Row) int {
		if x.Num < y.Num {
			return -1
		}
		return 1
	})
	b.Writes = make([]Write, len(b.rows))
	for i, row := range b.rows {
		b.Writes[i] = row.write()
		row.dirty = false
	}
	f.begin()
	return b
}

// Applied lets rows leave memory that the batch had: those of tasks that have ended at once, others when there are too many.
func (f *Folder) Applied(b *Batch) {
	for _, row := range b.rows {
		switch {
		case row.dirty || row.older != nil: // it is in the batch behind this one, or it was there
		case f.rows[row.Task.ID] != row: // its id has another task now
		case !row.Task.State.Live():
			f.forget(row)
		default:
			row.older, row.newer = f.newest.older, f.newest
			row.older.newer, row.newer.older = row, row
		}
	}
	for f.steps > f.limits.Steps && f.newest.newer != f.newest {
		row := f.newest.newer
		f.leave(row)
		f.forget(row)
	}
}

func (f *Folder) forget(row *Row) {
	delete(f.rows, row.Task.ID)
	f.steps -= 1 + len(row.steps)
	if f.last == row {
		f.last = nil
	}
}

package index

import (
	"cmp"
	"hash/fnv"
	"strings"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Row is what the index knows of a task. The state is that of domain.Evolve, without payloads.
type Row struct {
	Num       int64
	Task      *domain.Task
	Last      domain.Position // of the newest event
	Updated   domain.Instant  // its time
	Fields    []Field
	Notes     []Note   // the newest MaxNotes
	Said      []string // the newest maxSaid reasons that were given with verbs
	LastError *LastError

	steps []stepMore // by step

	dirty  bool
	stored stored
	older  *Row // in the cache of a Folder
	newer  *Row
}

// Field is an indexed field of the context, with its text.
type Field struct{ Name, Value string }

// stepMore is what the state of a step does not keep.
type stepMore struct {
	at   domain.Position // of its newest event
	took int64           // µs that its last execution took
}

// stored is what of a row has been given away to be stored.
type stored struct {
	is     bool
	state  domain.State
	facets []Facet
	text   uint64 // hash; 0 for ""
}

const (
	maxSaid = 4
	maxText = 8 << 10 // bytes of what a task is searched by
)

// number is the Num of the task that was created there. One of which that is not known gets a negative one.
func number(id domain.TaskID, created domain.Position) int64 {
	const indexes, partitions = 14, 6
	if s := created.Sequence; s == 0 || s >= 1<<(63-indexes-partitions) || created.Index >= 1<<indexes {
		h := fnv.New64a()
		_, _ = h.Write(id[:])
		return -1 - int64(h.Sum64()>>1) // #nosec G115 -- 63 bits
	}
	return int64(created.Sequence)<<(indexes+partitions) | int64(created.Partition)<<indexes | int64(created.Index) // #nosec G115 -- bounded
}

func newRow(t *domain.Task, num int64) *Row {
	return &Row{Num: num, Task: t, steps: make([]stepMore, len(t.Steps))}
}

// Kind is the version of the definition that the task is of.
func (r *Row) Kind() Kind { return KindOf(r.Task.Definition) }

// KindOf is the version that the definition is.
func KindOf(d *domain.Definition) Kind {
	return Kind{cmp.Or(d.Namespace, domain.DefaultNamespace), d.Name, d.Version}
}

// ended is the time of the end or the failure; 0 while there is none.
func (r *Row) ended() domain.Instant {
	if r.Task.State.Live() {
		return 0
	}
	return r.Task.EndedAt
}

func (r *Row) duration() int64 {
	if ended := r.ended(); ended != 0 {
		return max(int64(ended-r.Task.CreatedAt), 0)
	}
	return 0
}

// efforts are the retries of all steps, of the one with the most, and the longest last execution.
func (r *Row) efforts() (retries, tries, slowest int64) {
	for i := range r.Task.Steps {
		again := int64(max(r.Task.Steps[i].Attempt-1, 0))
		retries += again
		tries = max(tries, again)
		slowest = max(slowest, r.steps[i].took)
	}
	return retries, tries, slowest
}

// text is what the task is searched by.
func (r *Row) text() string {
	if len(r.Task.Tags) == 0 && r.Task.Reason == "" && r.LastError == nil && len(r.Notes) == 0 && len(r.Said) == 0 {
		return ""
	}
	var b strings.Builder
	add := func(s string) {
		if b.Len()+len(s) < maxText {
			b.WriteString(s)
			b.WriteByte('\n')
		}
	}
	add(r.Task.Reason)
	for _, tag := range r.Task.Tags {
		add(tag)
	}
	if e := r.LastError; e != nil {
		add(e.Message)
		add(e.Code)
	}
	for i := range r.Task.Steps {
		if e := r.Task.Steps[i].LastError(); e != nil && (r.LastError == nil || e.Message != r.LastError.Message) {
			add(e.Message)
			add(e.Code)
		}
	}
	for _, reason := range r.Said {
		add(reason)
	}
	for _, note := range r.Notes {
		add(note.Kind)
		add(string(note.Annotation))
	}
	return b.String()
}

func hashText(s string) uint64 {
	if s == "" {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return max(h.Sum64(), 1)
}

// store notes what a store has of the row now.
func (r *Row) store() {
	r.stored = stored{is: true, state: r.Task.State, facets: r.facets(), text: hashText(r.text())}
}

// write is what has to be stored of the row, and takes it as stored.
func (r *Row) write() Write {
	w := Write{
		Num: r.Num, ID: r.Task.ID, New: !r.stored.is, OldState: r.stored.state, Kind: r.Kind(), State: r.Task.State,
		Created: r.Task.CreatedAt, Updated: r.Updated, Ended: r.ended(), Duration: r.duration(),
		Waiting: r.Task.Waiting.Reason, Paused: r.Task.Paused, Expired: r.Task.Expired, Detail: r.pack(),
	}
	w.Retries, w.Tries, w.Slowest = r.efforts()
	old := r.stored
	text := r.text()
	r.stored = stored{is: true, state: r.Task.State, facets: r.facets(), text: hashText(text)}
	w.AddFacets, w.DropFacets = changes(old.facets, r.stored.facets)
	if old.text != r.stored.text {
		w.Text, w.NewText, w.HadText = text, true, old.text != 0
	}
	return w
}

// TaskRow is the row as a list shows it.
func (r *Row) TaskRow() TaskRow {
	t, kind := r.Task, r.Kind()
	row := TaskRow{
		ID: t.ID, Namespace: kind.Namespace, Name: kind.Name, Version: kind.Version, State: t.State, Paused: t.Paused, Expired: t.Expired,
		Waiting: t.Waiting.Reason, WaitingUntil: t.Waiting.Until.Time(), Failed: t.Failed, Round: t.Round,
		Initiator: t.Initiator, SourceSystem: t.SourceSystem, Reason: t.Reason, Correlation: t.Correlation, Tags: t.Tags,
		Annotations: r.Notes, CreatedAt: t.CreatedAt.Time(), StartedAt: t.StartedAt.Time(), UpdatedAt: r.Updated.Time(),
		EndedAt: r.ended().Time(), Deadline: t.Deadline.Time(), Duration: time.Duration(r.duration()) * time.Microsecond,
		LastError: r.LastError, Position: r.Last,
	}
	if len(r.Fields) > 0 {
		row.Fields = make(map[string]string, len(r.Fields))
		for _, f := range r.Fields {
			row.Fields[f.Name] = f.Value
		}
	}
	retries, _, _ := r.efforts()
	row.Retries = int(retries)
	row.Steps.Total = len(t.Steps)
	counts := [domain.ResolvedManually + 1]*int{
		&row.Steps.Pending, &row.Steps.InProgress, &row.Steps.Complete, &row.Steps.Error, &row.Steps.Cancelled, &row.Steps.Resolved,
	}
	for i := range t.Steps {
		*counts[t.Steps[i].State]++
	}
	return row
}

// Steps is how many steps the task has.
func (r *Row) Steps() int { return len(r.Task.Steps) }

// StepRow is a step of the row as a list shows it.
func (r *Row) StepRow(i int) StepRow {
	t, s, kind := r.Task, &r.Task.Steps[i], r.Kind()
	row := StepRow{
		Task: t.ID, Namespace: kind.Namespace, TaskName: kind.Name, Version: kind.Version,
		Step: t.Definition.Steps[i].Name, Handler: t.Definition.Steps[i].Handler, State: s.State, Skipped: s.Skipped,
		Attempt: int(s.Attempt), Executions: int(s.Executions), StartedAt: s.StartedAt.Time(), EndedAt: s.EndedAt.Time(),
		Duration: time.Duration(r.steps[i].took) * time.Microsecond, Position: r.steps[i].at,
	}
	if s.State == domain.Error {
		row.RetryAt = s.WakeAt.Time()
	}
	if e := s.LastError(); e != nil {
		row.Error = &domain.StepError{Message: e.Message, Kind: e.Kind, Code: e.Code}
	}
	return row
}

// Takes reports whether the query takes the task, by everything but its text.
func (q TaskQuery) Takes(r *Row) bool {
	t := r.Task
	if !q.takesKind(r.Kind()) || !stateIn(q.States, t.State) ||
		q.Waiting != "" && (t.Waiting.Reason != q.Waiting || !t.State.Live()) || q.Paused != nil && *q.Paused != t.Paused ||
		q.Initiator != "" && q.Initiator != t.Initiator || q.SourceSystem != "" && q.SourceSystem != t.SourceSystem ||
		q.Correlation != "" && q.Correlation != t.Correlation {
		return false
	}
	for _, tag := range q.Tags {
		if !contains(t.Tags, tag) {
			return false
		}
	}
	for name, value := range q.Fields {
		if !contains(r.Fields, Field{name, value}) {
			return false
		}
	}
	return between(t.CreatedAt, q.CreatedAfter, q.CreatedBefore) &&
		(q.EndedAfter.IsZero() && q.EndedBefore.IsZero() || r.ended() != 0 && between(r.ended(), q.EndedAfter, q.EndedBefore)) &&
		(q.Sort != SortEnded && q.Sort != SortDuration || r.ended() != 0)
}

func (q TaskQuery) takesKind(k Kind) bool {
	return (len(q.Namespaces) == 0 || contains(q.Namespaces, k.Namespace)) && (q.Name == "" || q.Name == k.Name) && (q.Version == "" || q.Version == k.Version)
}

func contains[T comparable](list []T, x T) bool {
	for _, y := range list {
		if x == y {
			return true
		}
	}
	return false
}

func stateIn(states []domain.State, s domain.State) bool {
	return len(states) == 0 || contains(states, s)
}

func between(at domain.Instant, after, before time.Time) bool {
	return (after.IsZero() || !at.Time().Before(after)) && (before.IsZero() || at.Time().Before(before))
}

// Takes reports whether the query takes the step.
func (q StepQuery) Takes(r *Row, i int) bool {
	t := r.Task
	template, s := &t.Definition.Steps[i], &t.Steps[i]
	if !q.Task.IsZero() && q.Task != t.ID || !(TaskQuery{Namespaces: q.Namespaces, Name: q.Name, Version: q.Version}).takesKind(r.Kind()) ||
		q.Step != "" && q.Step != template.Name || q.Handler != "" && q.Handler != template.Handler || !stateIn(q.States, s.State) {
		return false
	}
	if q.ErrorKind == "" {
		return true
	}
	e := s.LastError()
	return e != nil && e.Kind == q.ErrorKind
}

// Removal says what to remove of a row that was loaded, beside the row itself.
func (r *Row) Removal() Write {
	r.store()
	return Write{
		Num: r.Num, ID: r.Task.ID, Kind: r.Kind(), OldState: r.stored.state, DropFacets: r.stored.facets,
		NewText: true, HadText: r.stored.text != 0,
	}
}

package sqlite_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

// model is what an index has to answer, folded task by task in the plain way.
type model struct {
	tasks []index.TaskRow
	steps map[domain.TaskID][]index.StepRow
	texts map[domain.TaskID]string
}

func (b *book) model(t testing.TB) model {
	t.Helper()
	m := model{steps: map[domain.TaskID][]index.StepRow{}, texts: map[domain.TaskID]string{}}
	for id, records := range b.tasks {
		task, steps, text := b.plain(t, records)
		m.tasks, m.steps[id], m.texts[id] = append(m.tasks, task), steps, text
	}
	return m
}

// plain folds one task.
func (b *book) plain(t testing.TB, records []domain.Record) (index.TaskRow, []index.StepRow, string) {
	t.Helper()
	created := records[0].Event.(domain.TaskCreated)
	at := slices.IndexFunc(b.defs, func(d *domain.Definition) bool { return d.Hash() == created.Definition })
	def := b.defs[at]
	task := domain.NewTask(records[0], def)
	row := index.TaskRow{}
	steps := make([]index.StepRow, len(def.Steps))
	words := []string{created.Reason}
	words = append(words, created.Tags...)
	for _, r := range records {
		if e, ok := r.Event.(domain.StepEvent); ok {
			i := def.Graph().Index(e.StepName())
			before := task.Steps[i]
			domain.Evolve(task, r)
			after := task.Steps[i]
			steps[i].Position = r.Position
			if before.State == domain.InProgress && after.State != domain.InProgress {
				steps[i].Duration = after.EndedAt.Sub(after.StartedAt)
			}
			if failed, ok := r.Event.(domain.StepFailed); ok && after.LastError() != nil && before.LastError() != after.LastError() {
				row.LastError = &index.LastError{Step: failed.Step, Attempt: failed.Attempt, Kind: failed.Error.Kind, Message: failed.Error.Message, At: r.At.Time()}
			}
		} else {
			domain.Evolve(task, r)
		}
		var said struct {
			Reason string `json:"reason"`
		}
		typ := r.Event.Type()
		if text := domain.EventData(r.Event); text != nil && json.Unmarshal(text, &said) == nil && typ != domain.TaskDelayedType && typ != domain.TaskReenqueuedType && typ != domain.TaskFailedType {
			words = append(words, said.Reason)
		}
	}
	b.complete(&row, steps, task, records)
	if row.LastError != nil {
		words = append(words, row.LastError.Message)
	}
	for i := range task.Steps {
		if e := task.Steps[i].LastError(); e != nil {
			words = append(words, e.Message)
		}
	}
	return row, steps, strings.ToLower(strings.Join(words, " "))
}

func (b *book) complete(row *index.TaskRow, steps []index.StepRow, task *domain.Task, records []domain.Record) {
	last := records[len(records)-1]
	def := task.Definition
	row.ID, row.Namespace, row.Name, row.Version = task.ID, cmp.Or(def.Namespace, "default"), def.Name, def.Version
	row.State, row.Paused, row.Expired, row.Round, row.Failed = task.State, task.Paused, task.Expired, task.Round, task.Failed
	row.Waiting, row.WaitingUntil = task.Waiting.Reason, task.Waiting.Until.Time()
	row.Initiator, row.SourceSystem, row.Reason, row.Correlation, row.Tags = task.Initiator, task.SourceSystem, task.Reason, task.Correlation, task.Tags
	row.CreatedAt, row.StartedAt, row.UpdatedAt, row.Deadline = task.CreatedAt.Time(), task.StartedAt.Time(), last.At.Time(), task.Deadline.Time()
	if !task.State.Live() {
		row.EndedAt, row.Duration = task.EndedAt.Time(), task.EndedAt.Sub(task.CreatedAt)
	}
	row.Position = last.Position
	if len(def.Index) > 0 {
		var context struct {
			Customer struct{ ID string }
			Express  bool
		}
		_ = json.Unmarshal(records[0].Event.(domain.TaskCreated).Context.JSON, &context)
		row.Fields = map[string]string{"customer.id": context.Customer.ID, "express": fmt.Sprint(context.Express)}
	}
	row.Steps.Total = len(steps)
	for i, s := range task.Steps {
		steps[i].Task, steps[i].Namespace, steps[i].TaskName, steps[i].Version = row.ID, row.Namespace, row.Name, row.Version
		steps[i].Step, steps[i].Handler, steps[i].State, steps[i].Skipped = def.Steps[i].Name, def.Steps[i].Handler, s.State, s.Skipped
		steps[i].Attempt, steps[i].Executions = int(s.Attempt), int(s.Executions)
		steps[i].StartedAt, steps[i].EndedAt = s.StartedAt.Time(), s.EndedAt.Time()
		if s.State == domain.Error {
			steps[i].RetryAt = s.WakeAt.Time()
		}
		if e := s.LastError(); e != nil {
			steps[i].Error = &domain.StepError{Message: e.Message, Kind: e.Kind}
		}
		row.Retries += max(int(s.Attempt)-1, 0)
		switch s.State {
		case domain.Pending:
			row.Steps.Pending++
		case domain.InProgress:
			row.Steps.InProgress++
		case domain.Complete:
			row.Steps.Complete++
		case domain.Error:
			row.Steps.Error++
		case domain.Cancelled:
			row.Steps.Cancelled++
		case domain.ResolvedManually:
			row.Steps.Resolved++
		}
	}
}

// takes is the meaning of a query.
func (m model) takes(q index.TaskQuery, r index.TaskRow) bool {
	same := func(want, have string) bool { return want == "" || want == have }
	if len(q.Namespaces) > 0 && !slices.Contains(q.Namespaces, r.Namespace) || !same(q.Name, r.Name) || !same(q.Version, r.Version) || !same(q.Initiator, r.Initiator) ||
		!same(q.Correlation, r.Correlation) || len(q.States) > 0 && !slices.Contains(q.States, r.State) ||
		q.Waiting != "" && q.Waiting != r.Waiting || q.Paused != nil && *q.Paused != r.Paused {
		return false
	}
	for _, tag := range q.Tags {
		if !slices.Contains(r.Tags, tag) {
			return false
		}
	}
	for name, value := range q.Fields {
		if have, ok := r.Fields[name]; !ok || have != value {
			return false
		}
	}
	in := func(at, after, before time.Time) bool {
		return (after.IsZero() || !at.Before(after)) && (before.IsZero() || at.Before(before))
	}
	ended := !q.EndedAfter.IsZero() || !q.EndedBefore.IsZero() || q.Sort == index.SortEnded || q.Sort == index.SortDuration
	if !in(r.CreatedAt, q.CreatedAfter, q.CreatedBefore) || ended && (r.EndedAt.IsZero() || !in(r.EndedAt, q.EndedAfter, q.EndedBefore)) ||
		q.Sort == index.SortRetries && r.Retries == 0 {
		return false
	}
	have := strings.FieldsFunc(m.texts[r.ID], func(r rune) bool { return strings.ContainsRune(" \n!", r) })
	for i, word := range strings.Fields(strings.ToLower(q.Text)) {
		last := i == len(strings.Fields(q.Text))-1
		if !slices.ContainsFunc(have, func(h string) bool { return h == word || last && strings.HasPrefix(h, word) }) {
			return false
		}
	}
	return true
}

// list is the answer, sorted by value and, what is equal, in no order that the model knows: by id.
func (m model) list(q index.TaskQuery) []index.TaskRow {
	list := []index.TaskRow{}
	for _, r := range m.tasks {
		if m.takes(q, r) {
			list = append(list, r)
		}
	}
	return list
}

func value(q index.TaskQuery, r index.TaskRow) int64 {
	switch q.Sort {
	case index.SortUpdated:
		return r.UpdatedAt.UnixMicro()
	case index.SortEnded:
		return r.EndedAt.UnixMicro()
	case index.SortDuration:
		return int64(r.Duration)
	case index.SortRetries:
		return int64(r.Retries)
	case index.SortCreated:
	}
	return r.CreatedAt.UnixMicro()
}

var alike = cmpopts.EquateEmpty()

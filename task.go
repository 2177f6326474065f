package tasker

import (
	"context"
	"encoding/json"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Task is the state of a task as it stands in the log.
type Task struct {
	ID           TaskID                  `json:"id"`
	Namespace    string                  `json:"namespace"`
	Name         string                  `json:"name"`
	Version      string                  `json:"version"`
	State        domain.State            `json:"state"`
	Paused       bool                    `json:"paused,omitempty"`
	Round        int                     `json:"round"`
	Context      json.RawMessage         `json:"context,omitempty"`
	Result       json.RawMessage         `json:"result,omitempty"`
	Initiator    string                  `json:"initiator,omitempty"`
	SourceSystem string                  `json:"source_system,omitempty"`
	Reason       string                  `json:"reason,omitempty"`
	Tags         []string                `json:"tags,omitempty"`
	Correlation  string                  `json:"correlation,omitempty"`
	Traceparent  string                  `json:"traceparent,omitempty"` // of the request that asked for it (W3C Trace Context)
	CreatedAt    time.Time               `json:"created_at"`
	StartedAt    time.Time               `json:"started_at,omitzero"`
	EndedAt      time.Time               `json:"ended_at,omitzero"` // of the end, or of the failure
	Deadline     time.Time               `json:"deadline,omitzero"`
	Waiting      domain.WaitReason       `json:"waiting,omitempty"`
	WaitingUntil time.Time               `json:"waiting_until,omitzero"`
	Failed       domain.FailReason       `json:"failed,omitempty"`
	Execution    domain.ExecutionContext `json:"execution"`
	Steps        []Step                  `json:"steps,omitempty"`
	ForkedFrom   *ForkedFrom             `json:"forked_from,omitempty"` // nil: it is no fork
	Position     Position                `json:"position"`              // of its newest commit
}

// Step is the state of one step.
type Step struct {
	Name       string            `json:"name"`
	Handler    string            `json:"handler"`
	DependsOn  []string          `json:"depends_on,omitempty"`
	State      domain.State      `json:"state"`
	Skipped    bool              `json:"skipped,omitempty"`
	Inherited  bool              `json:"inherited,omitempty"` // of a fork: it ended in the task that was forked, and did not run here
	Ready      bool              `json:"ready,omitempty"`
	Held       string            `json:"held,omitempty"` // why a ready step has not started: no handler or no slot in the owner's process
	Optional   bool              `json:"optional,omitempty"`
	Attempt    int               `json:"attempt"`
	Executions int               `json:"executions"`
	Round      int               `json:"round"`
	RetryLimit int               `json:"retry_limit"`
	StartedAt  time.Time         `json:"started_at,omitzero"`
	EndedAt    time.Time         `json:"ended_at,omitzero"`
	RetryAt    time.Time         `json:"retry_at,omitzero"`    // of a step in error that is tried again
	SleepUntil time.Time         `json:"sleep_until,omitzero"` // of a sleep in progress
	Inputs     json.RawMessage   `json:"inputs,omitempty"`     // an operator's
	Error      *domain.StepError `json:"error,omitempty"`      // of the last execution that failed, until one is complete
	Result     json.RawMessage   `json:"result,omitempty"`
	// DependentSystem is the outside system that the step talks to, as its template says.
	DependentSystem string `json:"dependent_system,omitempty"`
	// Progress is how far the last execution said that it has come; nil when it has not.
	Progress *StepProgress `json:"progress,omitempty"`
	// Checkpoint is what the next attempt would find with Resume; nil = nothing.
	Checkpoint json.RawMessage `json:"checkpoint,omitempty"`
}

// StepProgress is how far a step says that it has come; see Progress.
type StepProgress struct {
	Done    int       `json:"done"`
	Total   int       `json:"total,omitempty"` // 0: nobody knows
	Message string    `json:"message,omitempty"`
	At      time.Time `json:"at"`
}

// Filter chooses tasks.
type Filter struct {
	States    []domain.State `json:"states,omitempty"`
	Name      string         `json:"name,omitempty"`
	Namespace string         `json:"namespace,omitempty"`
	// DependentSystem takes the tasks that have a step with it.
	DependentSystem string `json:"dependent_system,omitempty"`
	Limit           int    `json:"limit,omitempty"` // default 100
}

// wants reports whether tasks in one of the states can pass.
func (f *Filter) wants(states ...domain.State) bool {
	return f == nil || len(f.States) == 0 || slices.ContainsFunc(states, func(s domain.State) bool { return slices.Contains(f.States, s) })
}

func (f *Filter) takes(t *domain.Task) bool {
	if f == nil {
		return true
	}
	d := t.Definition
	return f.wants(t.State) && (f.Name == "" || f.Name == d.Name) && (f.Namespace == "" || f.Namespace == d.Namespace) &&
		(f.DependentSystem == "" || slices.ContainsFunc(d.Steps, func(s domain.StepTemplate) bool { return s.DependentSystem == f.DependentSystem }))
}

func (f *Filter) limit() int {
	if f == nil || f.Limit <= 0 {
		return 100
	}
	return f.Limit
}

// Task returns the state of a task as it is stored: from the owner's memory while it is live or failed, from the log
// after its end. ErrTaskNotFound.
func (r *router) Task(ctx context.Context, id TaskID) (*Task, error) {
	resp, err := r.call(ctx, r.partition(id), &request{Op: opTask, Task: id})
	if err != nil {
		return nil, err
	}
	return resp.Task, nil
}

// Tasks lists tasks, newest first, without contexts and steps: live and failed ones, and those that ended last. When some
// partitions cannot be read, a *PartialError that names them comes beside the tasks of the others.
func (r *router) Tasks(ctx context.Context, f Filter) ([]Task, error) {
	n := r.store.Data().Partitions
	found, errs := make([][]Task, n), make([]error, n)
	var asked sync.WaitGroup
	for p := range n {
		asked.Go(func() { // at once: each may have to wait for an owner
			resp, err := r.call(ctx, p, &request{Op: opTasks, Filter: &f})
			if errs[p] = err; err == nil {
				found[p] = resp.Tasks
			}
		})
	}
	asked.Wait()
	var failed partial
	for p, err := range errs {
		if err != nil {
			failed.add(p, err)
		}
	}
	all := slices.Concat(found...)
	sort.Slice(all, func(i, j int) bool { return all[i].CreatedAt.After(all[j].CreatedAt) })
	return all[:min(len(all), f.limit())], failed.err(n)
}

// summary is the task without what has to be read.
func summary(t *domain.Task, partition int) Task {
	d := t.Definition
	return Task{
		ID: t.ID, Namespace: d.Namespace, Name: d.Name, Version: d.Version, State: t.State, Paused: t.Paused, Round: t.Round,
		Initiator: t.Initiator, SourceSystem: t.SourceSystem, Reason: t.Reason, Tags: t.Tags, Correlation: t.Correlation,
		Traceparent: t.Traceparent, ForkedFrom: t.Forked,
		CreatedAt: t.CreatedAt.Time(), StartedAt: t.StartedAt.Time(), EndedAt: t.EndedAt.Time(), Deadline: t.Deadline.Time(),
		Waiting: t.Waiting.Reason, WaitingUntil: t.Waiting.Until.Time(), Failed: t.Failed,
		Execution: t.ExecutionContext(), Position: Position{Partition: partition, Sequence: t.Last},
	}
}

// view is the whole task.
func (r *router) view(ctx context.Context, t *domain.Task) (*Task, error) {
	v := summary(t, r.partition(t.ID))
	var err error
	if v.Context, err = r.payloads.load(ctx, t.Context); err != nil {
		return nil, err
	}
	v.Steps = make([]Step, len(t.Steps))
	for i := range t.Steps {
		if v.Steps[i], err = r.step(ctx, t, i); err != nil {
			return nil, err
		}
	}
	if t.State == domain.Complete {
		if v.Result, err = r.result(ctx, t.Result, t.ResultFrom, t); err != nil {
			return nil, err
		}
	}
	return &v, nil
}

func (r *router) step(ctx context.Context, t *domain.Task, i int) (Step, error) {
	s, tpl := &t.Steps[i], t.Template(i)
	result, err := r.payloads.load(ctx, s.Result)
	if err != nil {
		return Step{}, err
	}
	v := Step{
		Name: tpl.Name, Handler: tpl.Handler, DependsOn: tpl.DependsOn, State: s.State, Skipped: s.Skipped, Inherited: s.Inherited, Ready: t.Ready(i),
		Optional: tpl.Optional, Attempt: int(s.Attempt), Executions: int(s.Executions), Round: int(s.Round), RetryLimit: t.RetryLimit(i),
		StartedAt: s.StartedAt.Time(), EndedAt: s.EndedAt.Time(), Error: s.LastError(), Result: result,
		DependentSystem: tpl.DependentSystem, Checkpoint: s.Cursor(),
	}
	if p := s.Progress(); p != nil {
		v.Progress = &StepProgress{Done: p.Done, Total: p.Total, Message: p.Message, At: p.At.Time()}
	}
	switch s.State {
	case domain.Error:
		v.RetryAt = s.WakeAt.Time()
	case domain.InProgress:
		v.SleepUntil = s.WakeAt.Time()
	case domain.Pending, domain.Complete, domain.Cancelled, domain.ResolvedManually:
	}
	if s.More != nil {
		v.Inputs = s.More.Inputs
	}
	return v, nil
}

// result puts a task's result together when it was too large to be repeated in task.completed.
func (r *router) result(ctx context.Context, stored domain.Payload, from []string, t *domain.Task) (json.RawMessage, error) {
	if len(from) == 0 {
		return r.payloads.load(ctx, stored)
	}
	results := make(map[string]json.RawMessage, len(from))
	for _, name := range from {
		i := t.Definition.Graph().Index(name)
		if i < 0 {
			continue
		}
		text, err := r.payloads.load(ctx, t.Steps[i].Result)
		if err != nil {
			return nil, err
		}
		if t.Definition.Output == name {
			return text, nil
		}
		if text == nil {
			text = json.RawMessage("null")
		}
		results[name] = text
	}
	return json.Marshal(results)
}

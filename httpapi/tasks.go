package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// TaskPath names a task.
type TaskPath struct {
	ID tasker.TaskID `path:"id" doc:"id of the task"`
}

// SubmitInput asks for a task.
type SubmitInput struct {
	Key  string `header:"Idempotency-Key" maxLength:"16384" doc:"the same key, in a namespace and for a name, is the same task until 24 h after its end; in place of key in the body"`
	Body Submission
}

// Submission asks for a task.
type Submission struct {
	Name         string          `json:"name" minLength:"1" maxLength:"128" doc:"of the definition" example:"checkout"`
	Namespace    string          `json:"namespace,omitempty" maxLength:"128" doc:"default: default"`
	Version      string          `json:"version,omitempty" maxLength:"128" doc:"default: the highest release"`
	Context      json.RawMessage `json:"context,omitempty" doc:"the task's input, an object; default: {}"`
	ID           string          `json:"id,omitempty" maxLength:"36" doc:"a UUID of version 7, in place of a key; default: made by the server"`
	Key          string          `json:"key,omitempty" maxLength:"16384" doc:"idempotency key; see the header Idempotency-Key"`
	Initiator    string          `json:"initiator,omitempty" doc:"who asks; default: the name of the token"`
	SourceSystem string          `json:"source_system,omitempty"`
	Reason       string          `json:"reason,omitempty"`
	Tags         []string        `json:"tags,omitempty" maxItems:"1000"`
	BypassSteps  []string        `json:"bypass_steps,omitempty" maxItems:"20000" doc:"skippable steps that are skipped when their turn comes"`
	Correlation  string          `json:"correlation,omitempty" doc:"id that every event of the task carries"`
	Traceparent  string          `json:"traceparent,omitempty" doc:"W3C Trace Context of the request; default: that of the header"`
}

// Submitted answers a submission.
type Submitted struct {
	Status   int
	Location string `header:"Location" doc:"of the task"`
	Body     tasker.Receipt
}

func (s *server) submit(ctx context.Context, in *SubmitInput) (*Submitted, error) {
	who, b := caller(ctx), in.Body
	if in.Key != "" && b.Key != "" && in.Key != b.Key {
		return nil, twoKeys()
	}
	g := tasker.Submission{
		Name: b.Name, Namespace: b.Namespace, Version: b.Version, Context: b.Context, Key: b.Key, Initiator: b.Initiator,
		SourceSystem: b.SourceSystem, Reason: b.Reason, Tags: b.Tags, BypassSteps: b.BypassSteps, Correlation: b.Correlation,
		Traceparent: b.Traceparent,
	}
	if in.Key != "" {
		g.Key = in.Key
	}
	if g.Namespace == "" {
		g.Namespace = domain.DefaultNamespace
	}
	if g.Initiator == "" && who.Kind != AuthOff {
		g.Initiator = who.Name
	}
	if len(g.Context) == 0 {
		g.Context = json.RawMessage("{}")
	}
	if b.ID != "" {
		id, err := tasker.ParseTaskID(b.ID)
		if err != nil || id.IsZero() {
			return nil, newProblem(http.StatusUnprocessableEntity, CodeInvalid, "body.id: want a UUID of version 7", "leave it out").at("body.id", "no task id")
		}
		g.ID = id
	}
	if !who.Sees(g.Namespace) {
		return nil, forbiddenNamespace(who, g.Namespace)
	}
	if err := s.freeID(ctx, g.ID); err != nil {
		return nil, err
	}
	receipt, err := s.service.SubmitRequest(ctx, g)
	if err != nil {
		return nil, s.unsubmitted(ctx, receipt, hideKnown(who, err))
	}
	s.owners.note(receipt.ID, owner{namespace: g.Namespace, name: g.Name})
	return submitted(receipt), nil
}

func twoKeys() *Problem {
	return newProblem(http.StatusUnprocessableEntity, CodeInvalid, "the header Idempotency-Key and key in the body are not the same", "send one of them")
}

func submitted(receipt tasker.Receipt) *Submitted {
	out := &Submitted{Status: http.StatusOK, Location: base + "/tasks/" + receipt.ID.String(), Body: receipt}
	if receipt.Created {
		out.Status = http.StatusCreated
	}
	return out
}

// freeID refuses to tell a limited caller that an id is that of a task elsewhere, other than that it is taken.
func (s *server) freeID(ctx context.Context, id tasker.TaskID) error {
	if id.IsZero() || len(caller(ctx).Namespaces) == 0 {
		return nil
	}
	of, err := s.owners.of(ctx, id)
	switch {
	case errors.Is(err, tasker.ErrTaskNotFound):
		return nil
	case err != nil:
		return err
	case !caller(ctx).Sees(of.namespace):
		return newProblem(http.StatusConflict, CodeRefused, "the id is that of another task", "leave the id out: the server makes one")
	}
	return nil
}

// unsubmitted says which task it is about, where the receipt knows it.
func (s *server) unsubmitted(ctx context.Context, receipt tasker.Receipt, err error) error {
	err = s.problemOf(ctx, err)
	var p *Problem
	if errors.As(err, &p) && (p.Code == CodeMismatch || p.Code == CodeOutcomeUnknown) && !receipt.ID.IsZero() {
		p.Task = receipt.ID.String()
	}
	return err
}

// WaitInput asks to be told when a task is over.
type WaitInput struct {
	TaskPath
	Timeout string `query:"timeout" doc:"how long to wait, such as 30s or 2m; at most 5m" default:"30s"`
}

// Waited says how far a task has come.
type Waited struct {
	Done bool        `json:"done" doc:"it has ended or failed"`
	Task tasker.Task `json:"task"`
}

func (s *server) wait(ctx context.Context, in *WaitInput) (*respond[Waited], error) {
	timeout, err := patience("timeout", in.Timeout, s.MaxWait)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	if err := s.see(bounded, in.ID); err != nil {
		return nil, err
	}
	if _, err := s.service.Task(bounded, in.ID); err != nil { // waiting would go on through what passes
		return nil, err
	}
	waiting, stop := s.until(ctx)
	defer stop()
	waiting, over := context.WithTimeout(waiting, timeout)
	defer over()
	var failed *tasker.TaskFailedError
	_, err = s.service.Wait(waiting, in.ID)
	switch {
	case err == nil, errors.As(err, &failed), waiting.Err() != nil && ctx.Err() == nil:
	default:
		return nil, err
	}
	last, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	t, err := s.service.Task(last, in.ID)
	if err != nil {
		return nil, err
	}
	return &respond[Waited]{Waited{Done: t.State.Ended() || t.State == domain.Error, Task: *t}}, nil
}

// patience reads how long a caller wants to wait.
func patience(name, text string, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > most {
		return 0, newProblem(http.StatusUnprocessableEntity, CodeInvalid, "query."+name+": want a duration such as 500ms, 30s or 2m, at most "+most.String(),
			"ask again when it is over").at("query."+name, "no such duration")
	}
	return d, nil
}

func (s *server) explain(ctx context.Context, in *TaskPath) (*respond[*tasker.Explanation], error) {
	if err := s.see(ctx, in.ID); err != nil {
		return nil, err
	}
	return answer(s.service.Explain(ctx, in.ID, ""))
}

func (s *server) registerTasks() {
	task := func(a action) action { a.tag = "tasks"; a.codes = append(a.codes, CodeTaskNotFound); return a }
	add(s, task(action{id: "submitTask", method: http.MethodPost, path: "/tasks", scopes: []Scope{ScopeSubmit}, payload: true, created: true,
		summary: "Submit a task",
		text: "Answers when the task is stored: 201 when this request made it, 200 when its id, key or identity named one already. " +
			"After outcome_unknown send it again with the same key or id: it will not be doubled.",
		codes: []Code{CodeDefNotFound, CodeMismatch, CodeRefused, CodeStoreFull, CodeTooManyKeys}}), s.submit)
	add(s, task(action{id: "getTask", method: http.MethodGet, path: "/tasks/{id}", scopes: []Scope{ScopeRead},
		summary: "Show a task",
		text: "Its state as it is stored, with context, steps, attempts, errors and results: never behind. With `at` as it stood right after " +
			"that event of its history.", codes: []Code{CodeEventNotFound, CodeTrimmed, CodeFrozen}}), s.task)
	add(s, task(action{id: "forkTask", method: http.MethodPost, path: "/tasks/{id}/fork", scopes: []Scope{ScopeSubmit, ScopeOperate}, payload: true, created: true,
		summary: "Fork a task", text: "Makes a new task of the same definition that begins where this one stood, with the same or another context: steps that were over " +
			"are taken over with their results, the others run. The task itself stays as it is.",
		codes: []Code{CodeMismatch, CodeRefused, CodeStepNotFound, CodeTrimmed, CodeFrozen, CodeStoreFull, CodeTooManyKeys}}), s.fork)
	add(s, task(action{id: "getTaskHistory", method: http.MethodGet, path: "/tasks/{id}/history", scopes: []Scope{ScopeRead},
		summary: "Show what happened to a task", text: "All its events in order, with causes and durations, and every execution of its steps. With `after` or `limit` a part of the events, " +
			"and no executions; `next` is the `after` of the following part, and what happened since is asked for in the same way."}), s.history)
	add(s, task(action{id: "explainTask", method: http.MethodGet, path: "/tasks/{id}/explain", scopes: []Scope{ScopeRead},
		summary: "Say why a task does not move", text: "One reason, the event that shows it, and what moves the task."}), s.explain)
	add(s, task(action{id: "waitForTask", method: http.MethodGet, path: "/tasks/{id}/wait", scopes: []Scope{ScopeRead}, patient: true,
		summary: "Wait for a task", text: "Answers when the task has ended or failed, or when the timeout is over: then `done` is false.",
		codes: []Code{CodeStopping}}), s.wait)
}

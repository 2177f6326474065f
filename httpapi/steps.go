package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// StepPath names a step of a task.
type StepPath struct {
	TaskPath
	Step string `path:"step" maxLength:"128" doc:"name of the step"`
}

// Steps are those of a task, in definition order.
type Steps struct {
	Steps []tasker.Step `json:"steps"`
}

func (s *server) steps(ctx context.Context, in *TaskPath) (*respond[Steps], error) {
	if err := s.see(ctx, in.ID); err != nil {
		return nil, err
	}
	t, err := s.service.Task(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &respond[Steps]{Steps{append([]tasker.Step{}, t.Steps...)}}, nil
}

// StepDetails is a step with all that is known of it.
type StepDetails struct {
	tasker.Step
	Input      StepInput               `json:"input" doc:"what its handler is given"`
	Log        []StepLog               `json:"log" doc:"what it has logged, oldest first"`
	Executions []projections.Execution `json:"executions" doc:"oldest first"`
	Trimmed    bool                    `json:"trimmed,omitempty" doc:"the beginning of the history is not in the log any more"`
}

// StepInput is what a handler is given.
type StepInput struct {
	Context json.RawMessage            `json:"context,omitempty" doc:"of the task"`
	Results map[string]json.RawMessage `json:"results" doc:"of the steps that it depends on, those that have one"`
}

// StepLog are lines that an execution has logged.
type StepLog struct {
	At      time.Time `json:"at"`
	Attempt int       `json:"attempt"`
	Lines   []string  `json:"lines"`
	Dropped int       `json:"dropped,omitempty" doc:"lines that were too many to be stored"`
}

func (s *server) step(ctx context.Context, in *StepPath) (*respond[*StepDetails], error) {
	if err := s.see(ctx, in.ID); err != nil {
		return nil, err
	}
	t, err := s.service.Task(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(t.Steps, func(step tasker.Step) bool { return step.Name == in.Step })
	if i < 0 {
		return nil, &domain.UnknownStepError{Task: in.ID, Step: in.Step}
	}
	h, err := s.service.History(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	d := &StepDetails{
		Step: t.Steps[i], Trimmed: h.Trimmed, Log: []StepLog{}, Executions: []projections.Execution{},
		Input: StepInput{Context: t.Context, Results: map[string]json.RawMessage{}},
	}
	for _, parent := range t.Steps {
		if slices.Contains(d.DependsOn, parent.Name) && parent.Result != nil {
			d.Input.Results[parent.Name] = parent.Result
		}
	}
	for _, x := range h.Executions {
		if x.Step == in.Step {
			d.Executions = append(d.Executions, x)
		}
	}
	for _, e := range h.Events {
		if e.Step != in.Step || e.Type != domain.StepLogAppendedType {
			continue
		}
		l := StepLog{At: e.At.Time(), Attempt: e.Attempt, Lines: []string{}}
		if err := json.Unmarshal(e.Data, &l); err != nil {
			return nil, err
		}
		d.Log = append(d.Log, l)
	}
	return &respond[*StepDetails]{d}, nil
}

func (s *server) explainStep(ctx context.Context, in *StepPath) (*respond[*tasker.Explanation], error) {
	if err := s.see(ctx, in.ID); err != nil {
		return nil, err
	}
	return answer(s.service.Explain(ctx, in.ID, in.Step))
}

// RetryStepInput begins a new round of a step.
type RetryStepInput struct {
	StepPath
	Body *struct {
		ReasonBody
		Inputs     json.RawMessage `json:"inputs,omitempty" doc:"what the handler gets in place of the task's context, at most 128 KiB; left out: what it had"`
		RetryLimit int             `json:"retry_limit,omitempty" minimum:"1" maximum:"1000000" doc:"executions that this round and later ones may have; left out: what it was"`
	}
}

func (s *server) retryStep(ctx context.Context, in *RetryStepInput) (*respond[tasker.VerbReceipt], error) {
	if err := s.see(ctx, in.ID); err != nil {
		return nil, err
	}
	var with tasker.StepRetry
	reason := ""
	if b := in.Body; b != nil {
		reason, with.RetryLimit = b.Reason, b.RetryLimit
		if b.Inputs != nil {
			with.Inputs = b.Inputs
		}
	}
	return answer(s.service.RetryStep(ctx, in.ID, in.Step, with, by(ctx, reason)))
}

// ResultBody is a result that somebody gives a step.
type ResultBody struct {
	ReasonBody
	Result json.RawMessage `json:"result,omitempty" doc:"any JSON, at most 16 MiB; left out: the step has no result"`
}

// StepResult gives a step a result.
type StepResult struct {
	StepPath
	Body *ResultBody
}

type resultVerb func(ctx context.Context, id tasker.TaskID, step string, result any, by tasker.By) (tasker.VerbReceipt, error)

func (s *server) giveResult(do resultVerb) func(ctx context.Context, in *StepResult) (*respond[tasker.VerbReceipt], error) {
	return func(ctx context.Context, in *StepResult) (*respond[tasker.VerbReceipt], error) {
		if err := s.see(ctx, in.ID); err != nil {
			return nil, err
		}
		var b ResultBody
		if in.Body != nil {
			b = *in.Body
		}
		return answer(do(ctx, in.ID, in.Step, b.Result, by(ctx, b.Reason)))
	}
}

// StepVerb is a verb on a step.
type StepVerb struct {
	StepPath
	Body *ReasonBody
}

func (s *server) cancelStep(ctx context.Context, in *StepVerb) (*respond[tasker.VerbReceipt], error) {
	if err := s.see(ctx, in.ID); err != nil {
		return nil, err
	}
	reason := ""
	if in.Body != nil {
		reason = in.Body.Reason
	}
	return answer(s.service.CancelStep(ctx, in.ID, in.Step, by(ctx, reason)))
}

func (s *server) registerSteps() {
	step := func(a action) action {
		a.tag, a.codes = "steps", append(a.codes, CodeTaskNotFound)
		if a.scopes == nil {
			a.scopes = []Scope{ScopeRead}
		}
		return a
	}
	act := func(a action) action {
		a.method, a.scopes, a.codes = http.MethodPost, []Scope{ScopeOperate}, []Code{CodeStepNotFound, CodeRefused, CodeFrozen}
		a.path = "/tasks/{id}/steps/{step}/" + a.path
		a.text += " Who acts is stored with the reason."
		return step(a)
	}
	add(s, step(action{id: "listTaskSteps", method: http.MethodGet, path: "/tasks/{id}/steps",
		summary: "List the steps of a task", text: "In definition order, with states, attempts, errors and results."}), s.steps)
	add(s, step(action{id: "getTaskStep", method: http.MethodGet, path: "/tasks/{id}/steps/{step}", codes: []Code{CodeStepNotFound},
		summary: "Show a step", text: "With its input, what it has logged, and all its executions."}), s.step)
	add(s, step(action{id: "explainStep", method: http.MethodGet, path: "/tasks/{id}/steps/{step}/explain", codes: []Code{CodeStepNotFound},
		summary: "Say why a step does not move", text: "One reason, the event that shows it, and what moves the step."}), s.explainStep)
	add(s, act(action{id: "retryStep", path: "retry", payload: true, summary: "Retry a step in error",
		text: "Begins a new round of the step: its executions count from 0, and it runs again at once. A pending step stays as it is."}), s.retryStep)
	add(s, act(action{id: "resolveStep", path: "resolve", payload: true, summary: "Resolve a step",
		text: "Declares a step done that is pending or in error: its children may run, and read the result."}), s.giveResult(s.service.ResolveStep))
	add(s, act(action{id: "completeStep", path: "complete", payload: true, summary: "Complete a running step",
		text: "In place of its handler, whose context ends and whose report is dropped."}), s.giveResult(s.service.CompleteStep))
	add(s, act(action{id: "cancelStep", path: "cancel", summary: "Cancel a step",
		text: "Ends a step that is pending, in progress or in error. The task cannot complete without it, unless it is optional."}), s.cancelStep)
}

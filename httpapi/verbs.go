package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/tasker-go/tasker"
)

// ReasonBody is why somebody acts.
type ReasonBody struct {
	Reason string `json:"reason,omitempty" doc:"for whoever reads the history" example:"invoice lost"`
}

// TaskVerb is a verb on a task.
type TaskVerb struct {
	TaskPath
	Body *ReasonBody
}

// verb is one of the service's verbs on a task.
type verb func(ctx context.Context, id tasker.TaskID, by tasker.By) (tasker.VerbReceipt, error)

func by(ctx context.Context, reason string) tasker.By {
	return tasker.By{Actor: caller(ctx).Name, Reason: reason}
}

func (s *server) verb(do verb) func(ctx context.Context, in *TaskVerb) (*respond[tasker.VerbReceipt], error) {
	return func(ctx context.Context, in *TaskVerb) (*respond[tasker.VerbReceipt], error) {
		if err := s.see(ctx, in.ID); err != nil {
			return nil, err
		}
		reason := ""
		if in.Body != nil {
			reason = in.Body.Reason
		}
		return answer(do(ctx, in.ID, by(ctx, reason)))
	}
}

// NoteInput leaves a note with a task.
type NoteInput struct {
	TaskPath
	Body struct {
		Kind       string          `json:"kind" minLength:"1" maxLength:"16384" doc:"what kind of note" example:"note"`
		Annotation json.RawMessage `json:"annotation" doc:"any JSON, at most 128 KiB"`
		Step       string          `json:"step,omitempty" doc:"that it is about"`
	}
}

func (s *server) annotate(ctx context.Context, in *NoteInput) (*respond[tasker.VerbReceipt], error) {
	if err := s.see(ctx, in.ID); err != nil {
		return nil, err
	}
	note := tasker.Annotation{Kind: in.Body.Kind, Step: in.Body.Step, Value: in.Body.Annotation}
	return answer(s.service.Annotate(ctx, in.ID, note, caller(ctx).Name))
}

func (s *server) registerVerbs() {
	verbs := []struct {
		name, summary, text string
		do                  verb
	}{
		{"cancel", "Cancel a task", "Ends the task for good: it and every step that is not over become cancelled. A complete or resolved task is refused.", s.service.Cancel},
		{"retry", "Retry a failed task", "Every step in error begins a new round and runs again at once. A live task stays as it is, an ended one is refused.", s.service.Retry},
		{"resolve", "Resolve a failed task", "Ends it for good as resolved_manually: somebody has dealt with it in another way. Tasks that are not in error are refused.", s.service.Resolve},
		{"pause", "Pause a task", "It starts no more steps until it is resumed; running ones may end. Tasks that have failed or ended are refused.", s.service.Pause},
		{"resume", "Resume a paused task", "A task that is not paused stays as it is.", s.service.Resume},
	}
	for _, v := range verbs {
		add(s, action{id: v.name + "Task", method: http.MethodPost, path: "/tasks/{id}/" + v.name, tag: "tasks", scopes: []Scope{ScopeOperate},
			summary: v.summary, text: v.text + " Who acts is stored with the reason. A second call changes nothing.",
			codes: []Code{CodeTaskNotFound, CodeRefused, CodeFrozen}}, s.verb(v.do))
	}
	add(s, action{id: "annotateTask", method: http.MethodPost, path: "/tasks/{id}/annotate", tag: "tasks", scopes: []Scope{ScopeOperate},
		summary: "Leave a note with a task", text: "In whatever state the task is; it changes nothing else. A second call leaves a second note.",
		codes: []Code{CodeTaskNotFound, CodeStepNotFound, CodeFrozen}}, s.annotate)
}

package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

// Covering asks an answer of the index to contain what was written before.
type Covering struct {
	Position string `query:"position" maxLength:"64" doc:"of a receipt: wait until the answer contains it" example:"00-123-4"`
	Wait     string `query:"wait" default:"5s" maxLength:"16" doc:"at most so long, up to 30s; then the code is behind"`
}

const maxCoverWait = 30 * time.Second

// cover is the positions that the answer has to contain, and a context that ends when waiting for them does.
func (c *Covering) cover(ctx context.Context) (context.Context, context.CancelFunc, []tasker.Position, error) {
	wait, err := patience("wait", c.Wait, maxCoverWait)
	if err != nil || c.Position == "" {
		return ctx, func() {}, nil, err
	}
	at, err := domain.ParsePosition(c.Position)
	if err != nil {
		return ctx, func() {}, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, max(wait, 50*time.Millisecond))
	return ctx, cancel, []tasker.Position{at}, nil
}

// TaskFilter chooses tasks: every parameter that is set must hold.
type TaskFilter struct {
	Namespace     string    `query:"namespace" maxLength:"128"`
	Name          string    `query:"name" maxLength:"128" doc:"of the definition"`
	Version       string    `query:"version" maxLength:"128" doc:"of the definition"`
	State         []string  `query:"state,explode" maxItems:"20" doc:"any of them; repeated, or with commas: pending, in_progress, complete, error, cancelled, resolved_manually"`
	Waiting       string    `query:"waiting" maxLength:"64" doc:"live tasks that wait for this reason"`
	Paused        string    `query:"paused" doc:"true or false"`
	Initiator     string    `query:"initiator"`
	SourceSystem  string    `query:"source_system"`
	Correlation   string    `query:"correlation"`
	Tag           []string  `query:"tag,explode" maxItems:"50" doc:"all of them; repeated"`
	Text          string    `query:"text" doc:"words in errors, tags, reasons and annotations, all of which must occur; the last may be a beginning"`
	CreatedAfter  time.Time `query:"created_after" doc:"at or after"`
	CreatedBefore time.Time `query:"created_before" doc:"before"`
	EndedAfter    time.Time `query:"ended_after" doc:"at or after"`
	EndedBefore   time.Time `query:"ended_before" doc:"before"`

	fields map[string]string
}

// Resolve reads field.NAME=VALUE.
func (f *TaskFilter) Resolve(ctx huma.Context) []error {
	at := ctx.URL()
	f.fields = nil
	for name, values := range at.Query() {
		if field, ok := strings.CutPrefix(name, fieldPrefix); ok && len(values) > 0 {
			if f.fields == nil {
				f.fields = map[string]string{}
			}
			f.fields[field] = values[0]
		}
	}
	return nil
}

func (f *TaskFilter) query(ctx context.Context) (index.TaskQuery, error) {
	q := index.TaskQuery{
		Name: f.Name, Version: f.Version, Waiting: domain.WaitReason(f.Waiting), Initiator: f.Initiator, SourceSystem: f.SourceSystem,
		Correlation: f.Correlation, Tags: f.Tag, Fields: f.fields, Text: f.Text, CreatedAfter: f.CreatedAfter, CreatedBefore: f.CreatedBefore,
		EndedAfter: f.EndedAfter, EndedBefore: f.EndedBefore,
	}
	var err error
	if q.Namespaces, err = within(ctx, f.Namespace); err != nil {
		return q, err
	}
	if q.States, err = states(f.State); err != nil {
		return q, err
	}
	switch f.Paused {
	case "":
	case "true", "false":
		paused := f.Paused == "true"
		q.Paused = &paused
	default:
		return q, &index.QueryError{Field: "paused", Why: "want true or false"}
	}
	return q, nil
}

// states reads names of states, repeated or with commas between them.
func states(given []string) ([]domain.State, error) {
	var out []domain.State
	for _, names := range given {
		for name := range strings.SplitSeq(names, ",") {
			state, ok := domain.ParseState(name)
			if !ok {
				return nil, &index.QueryError{Field: "state", Why: "want pending, in_progress, complete, error, cancelled or resolved_manually"}
			}
			if !slices.Contains(out, state) {
				out = append(out, state)
			}
		}
	}
	return out, nil
}

// Page is a part of a list.
type Page struct {
	Limit int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	After string `query:"after" maxLength:"4096" doc:"next of the page before, with the same filters"`
}

// TasksInput asks for a list of tasks.
type TasksInput struct {
	TaskFilter
	Page
	Covering
	Sort  string `query:"sort" enum:"created,updated,ended,duration,retries" default:"created"`
	Order string `query:"order" enum:"asc,desc" default:"desc" doc:"desc: the newest, longest, most first"`
}

func (s *server) tasks(ctx context.Context, in *TasksInput) (*respond[index.TaskPage], error) {
	q, err := in.query(ctx)
	if err != nil {
		return nil, err
	}
	q.Sort, q.Ascending, q.Limit, q.After = index.Sort(in.Sort), in.Order == "asc", in.Limit, in.After
	ctx, cancel, at, err := in.cover(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	return answer(s.service.FindTasks(ctx, q, at...))
}

// CountInput asks how many tasks there are.
type CountInput struct {
	TaskFilter
	Covering
}

func (s *server) count(ctx context.Context, in *CountInput) (*respond[index.Counts], error) {
	q, err := in.query(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel, at, err := in.cover(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	return answer(s.service.CountTasks(ctx, q, at...))
}

// StepsInput asks for a list of steps.
type StepsInput struct {
	Page
	Covering
	Task      string   `query:"task" maxLength:"36" doc:"only those of this task"`
	Namespace string   `query:"namespace" maxLength:"128"`
	Name      string   `query:"name" maxLength:"128" doc:"of the definition"`
	Version   string   `query:"version" maxLength:"128" doc:"of the definition"`
	Step      string   `query:"step" maxLength:"128" doc:"its name"`
	Handler   string   `query:"handler" maxLength:"256"`
	State     []string `query:"state,explode" maxItems:"20" doc:"any of them; repeated, or with commas"`
	ErrorKind string   `query:"error_kind" maxLength:"64" doc:"of the last error: retryable, permanent, timeout, panic, ..."`
}

func (s *server) allSteps(ctx context.Context, in *StepsInput) (*respond[index.StepPage], error) {
	q := index.StepQuery{
		Name: in.Name, Version: in.Version, Step: in.Step, Handler: in.Handler, ErrorKind: domain.ErrorKind(in.ErrorKind), Limit: in.Limit, After: in.After,
	}
	var err error
	if q.Namespaces, err = within(ctx, in.Namespace); err != nil {
		return nil, err
	}
	if q.States, err = states(in.State); err != nil {
		return nil, err
	}
	if in.Task != "" {
		if q.Task, err = tasker.ParseTaskID(in.Task); err != nil {
			return nil, &index.QueryError{Field: "task", Why: err.Error()}
		}
	}
	ctx, cancel, at, err := in.cover(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	return answer(s.service.FindSteps(ctx, q, at...))
}

// AnalyticsInput chooses what is analyzed.
type AnalyticsInput struct {
	Covering
	Namespace string    `query:"namespace" maxLength:"128"`
	Name      string    `query:"name" maxLength:"128" doc:"of the definition"`
	Version   string    `query:"version" maxLength:"128" doc:"of the definition"`
	Since     time.Time `query:"since" doc:"tasks that ended then or later, in whole hours; default: all"`
	Until     time.Time `query:"until" doc:"tasks that ended before; default: now"`
	Top       int       `query:"top" minimum:"1" maximum:"100" default:"10" doc:"how many of the slowest and of the most retried"`
}

func (s *server) analytics(ctx context.Context, in *AnalyticsInput) (*respond[index.Analytics], error) {
	namespaces, err := within(ctx, in.Namespace)
	if err != nil {
		return nil, err
	}
	ctx, cancel, at, err := in.cover(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	q := index.AnalyticsQuery{Namespaces: namespaces, Name: in.Name, Version: in.Version, Since: in.Since, Until: in.Until, Top: in.Top}
	return answer(s.service.Analyze(ctx, q, at...))
}

// StuckInput chooses tasks that do not move.
type StuckInput struct {
	Page
	Namespace string `query:"namespace" maxLength:"128"`
	Name      string `query:"name" maxLength:"128" doc:"of the definition"`
	Reason    string `query:"reason" maxLength:"64" doc:"only with this reason"`
}

func (s *server) stuck(ctx context.Context, in *StuckInput) (*respond[tasker.StuckPage], error) {
	namespaces, err := within(ctx, in.Namespace)
	if err != nil {
		return nil, err
	}
	page, err := s.service.Stuck(ctx, tasker.StuckQuery{
		Namespaces: namespaces, Name: in.Name, Reason: domain.Reason(in.Reason), Limit: in.Limit, After: in.After,
	})
	return answer(page, err)
}

func (s *server) criticalPath(ctx context.Context, in *TaskPath) (*respond[*tasker.CriticalPath], error) {
	if err := s.see(ctx, in.ID); err != nil {
		return nil, err
	}
	return answer(s.service.CriticalPath(ctx, in.ID))
}

func (s *server) registerFind() {
	find := func(a action) action {
		a.method, a.scopes, a.codes = http.MethodGet, []Scope{ScopeRead}, append(a.codes, CodeBehind, CodeNoIndex)
		a.text += " Answered by the index, which may be behind the log: `lag` says how far. Send the `position` of a receipt to wait until the answer contains it."
		return a
	}
	add(s, find(action{id: "listTasks", path: "/tasks", tag: "tasks", fields: true, summary: "List tasks",
		text: "Newest first, unless sorted otherwise; pages neither skip nor repeat what does not change. `field.NAME=VALUE` compares a context field that the definition indexes."}), s.tasks)
	add(s, find(action{id: "countTasks", path: "/tasks/count", tag: "tasks", fields: true, summary: "Count tasks by state",
		text: "`field.NAME=VALUE` compares a context field that the definition indexes."}), s.count)
	add(s, find(action{id: "listSteps", path: "/steps", tag: "steps", summary: "List steps of all tasks", text: "In the order of their tasks, newest first."}), s.allSteps)
	add(s, find(action{id: "getAnalytics", path: "/analytics", tag: "system", summary: "Say how tasks and steps did",
		text: "Success rates, percentiles of durations, the slowest, the most retried, and the critical path, by definition."}), s.analytics)
	add(s, action{id: "listStuck", method: http.MethodGet, path: "/stuck", tag: "tasks", scopes: []Scope{ScopeRead}, summary: "List what does not move",
		text: "Live and failed tasks that do not move by themselves soon, the worst first, each with its reason and with what moves it; `groups` has one line per cause."}, s.stuck)
	add(s, action{id: "getCriticalPath", method: http.MethodGet, path: "/tasks/{id}/critical-path", tag: "tasks", scopes: []Scope{ScopeRead},
		summary: "Say what the duration of a task comes from", text: "The chain of steps that waited for each other.", codes: []Code{CodeTaskNotFound, CodeTrimmed}}, s.criticalPath)
}

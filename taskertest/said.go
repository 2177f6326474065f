package taskertest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// said is the domain.Run of a Case: it notes what the handler says.
type said struct {
	step    string
	attempt int

	mu   sync.Mutex
	all  Got
	over bool
}

func (s *said) note(f func(*Got)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return domain.ErrStale
	}
	f(&s.all)
	return nil
}

// got ends the call.
func (s *said) got(result json.RawMessage, err error) Got {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	g := s.all
	g.Result, g.Err = result, err
	return g
}

// Checkpoint notes the cursor; ErrStale when the handler has returned already.
func (s *said) Checkpoint(ctx context.Context, cursor json.RawMessage) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return s.note(func(g *Got) { g.Checkpoints = append(g.Checkpoints, cursor) })
}

func (s *said) Progress(done, total int, message string) {
	_ = s.note(func(g *Got) {
		g.Progress = append(g.Progress, domain.StepProgressed{Step: s.step, Attempt: s.attempt, Done: done, Total: total, Message: message})
	})
}

func (s *said) Heartbeat() { _ = s.note(func(g *Got) { g.Heartbeats++ }) }

func (s *said) AppendLog(lines ...string) {
	_ = s.note(func(g *Got) { g.Lines = append(g.Lines, lines...) })
}

func (s *said) Emit(name string, data json.RawMessage) error {
	return s.note(func(g *Got) {
		g.Emitted = append(g.Emitted, domain.Custom{Step: s.step, Attempt: s.attempt, Name: name, Data: data})
	})
}

// of lists the stored events of one type of a task, of one step unless that is "".
func of[E domain.Event](e *Engine, id tasker.TaskID, step string) []E {
	e.t.Helper()
	var list []E
	for _, r := range e.Records(id) {
		ev, ok := r.Event.(E)
		if about, isStep := r.Event.(domain.StepEvent); ok && (step == "" || isStep && about.StepName() == step) {
			list = append(list, ev)
		}
	}
	return list
}

// Checkpoints returns the stored checkpoints of a step, the oldest first.
func (e *Engine) Checkpoints(id tasker.TaskID, step string) []domain.StepCheckpointed {
	e.t.Helper()
	return of[domain.StepCheckpointed](e, id, step)
}

// Progress returns the stored progress of a step, the oldest first: at most one a second and execution.
func (e *Engine) Progress(id tasker.TaskID, step string) []domain.StepProgressed {
	e.t.Helper()
	return of[domain.StepProgressed](e, id, step)
}

// Lines returns what a step's handler wrote with Log, of all attempts, the oldest first.
func (e *Engine) Lines(id tasker.TaskID, step string) []string {
	e.t.Helper()
	var lines []string
	for _, ev := range of[domain.StepLogAppended](e, id, step) {
		lines = append(lines, ev.Lines...)
	}
	return lines
}

// Emitted returns the custom events of the task, the oldest first.
func (e *Engine) Emitted(id tasker.TaskID) []domain.Custom {
	e.t.Helper()
	return of[domain.Custom](e, id, "")
}

// Annotations returns the notes that are stored with the task, the oldest first.
func (e *Engine) Annotations(id tasker.TaskID) []domain.TaskAnnotated {
	e.t.Helper()
	return of[domain.TaskAnnotated](e, id, "")
}

// ThenEmitted compares the names of the custom events that are stored with the task by now, in order.
func (s Scenario) ThenEmitted(names ...string) Scenario {
	s.e.t.Helper()
	var got []string
	for _, ev := range s.e.Emitted(s.id) {
		got = append(got, ev.Name)
	}
	if !slices.Equal(got, names) {
		s.e.t.Errorf("the task emitted %q, want %q", got, names)
	}
	return s
}

// ThenCheckpoint compares the last checkpoint of the step with one that encodes to the same JSON.
func (s Scenario) ThenCheckpoint(step string, want any) Scenario {
	s.e.t.Helper()
	all := s.e.Checkpoints(s.id, step)
	text, err := json.Marshal(want)
	switch {
	case err != nil:
		s.e.t.Fatal(err)
	case len(all) == 0:
		s.e.t.Errorf("step %q has no checkpoint, want %s", step, text)
	case compact(all[len(all)-1].Cursor) != compact(text):
		s.e.t.Errorf("the last checkpoint of step %q is %s, want %s", step, all[len(all)-1].Cursor, text)
	}
	return s
}

// ThenAnnotated compares the kinds of the notes that are stored with the task by now, in order, as "kind" or "kind step".
func (s Scenario) ThenAnnotated(want ...string) Scenario {
	s.e.t.Helper()
	var got []string
	for _, n := range s.e.Annotations(s.id) {
		text := n.Kind
		if n.Step != "" {
			text = fmt.Sprintf("%s %s", n.Kind, n.Step)
		}
		got = append(got, text)
	}
	if !slices.Equal(got, want) {
		s.e.t.Errorf("the task has the notes %q, want %q", got, want)
	}
	return s
}

package sim

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// What handlers say before they are done: checkpoints, which they wait for, and progress and lines, which they do not;
// and the custom events that come with their outcome. Each begins with the number of the call, so that the ledger knows
// whose it is.

// say lets one running handler say something.
func (e *executor) say() {
	x := e.running[e.p.w.rng.IntN(len(e.running))]
	x.said++
	e.p.report(report{x.task, e.saying(x)})
}

func (e *executor) saying(x *execution) domain.Command {
	r := e.p.w.rng
	word := `{"x":` + strconv.Itoa(x.x) + `,"n":` + strconv.Itoa(x.said)
	if r.IntN(50) == 0 {
		word += `,"large":"` + strings.Repeat("x", 1024) + `"`
	}
	word += `}`
	switch r.IntN(5) {
	case 0:
		return domain.ProgressStep{Step: x.step, Attempt: x.attempt, Done: x.said, Total: r.IntN(3) * 10, Message: word[:min(len(word), domain.MaxProgressMessage)]}
	case 1:
		return domain.LogStep{Step: x.step, Attempt: x.attempt, Lines: []string{word, "and another line"}, Dropped: r.IntN(2)}
	}
	return domain.CheckpointStep{Step: x.step, Attempt: x.attempt, Cursor: json.RawMessage(word)}
}

// emittedBy is how many custom events call x comes with, whatever its outcome is.
func emittedBy(x int) int { return max(0, x%8-5) }

func emit(x int) []domain.Custom {
	var events []domain.Custom
	for n := range emittedBy(x) {
		events = append(events, domain.Custom{
			Name: "noted", Data: json.RawMessage(`{"x":` + strconv.Itoa(x) + `,"n":` + strconv.Itoa(n) + `}`),
		})
	}
	return events
}

// confirm hands in a checkpoint and checks what the handler is told: that it is stored, when it is; that its execution is
// over, when it is.
func (p *process) confirm(r report, c domain.CheckpointStep) {
	w := p.w
	p.m.Confirm(r.task, c, p.now(), func(a subscribers.Answer) {
		w.report.Answers++
		w.checkAnswer(a)
		h := w.ledger.tasks[r.task]
		s := &h.steps[c.Step]
		switch {
		case a.Err == nil:
			if !w.log.holdsCheckpoint(a.Position.Sequence, r.task, c, h.def) {
				failf("task %s: the checkpoint %s of attempt %d is confirmed at %d, which does not hold it", r.task, c.Cursor, c.Attempt, a.Position.Sequence)
			}
			if s.attempt == c.Attempt && s.state == domain.InProgress && s.marked < markOf(c.Cursor) {
				failf("task %s: the checkpoint %s of attempt %d is confirmed, and the log has only %s", r.task, c.Cursor, c.Attempt, s.cursor)
			}
		case errors.Is(a.Err, domain.ErrStale):
			if s.attempt == c.Attempt && s.state == domain.InProgress && h.state.Live() && s.writer == p.writer {
				failf("task %s: attempt %d of step %d is running, and its checkpoint is called stale", r.task, c.Attempt, c.Step)
			}
		}
	})
}

// holdsCheckpoint reports whether the commit at that sequence stores it.
func (l *simLog) holdsCheckpoint(sequence uint64, id domain.TaskID, c domain.CheckpointStep, def *domain.Definition) bool {
	if sequence == 0 || sequence > l.last() {
		return false
	}
	for _, r := range l.messages[sequence-1].commit.Records {
		e, ok := r.Event.(domain.StepCheckpointed)
		if ok && r.Task == id && e.Step == def.Steps[c.Step].Name && e.Attempt == c.Attempt && string(e.Cursor) == string(c.Cursor) {
			return true
		}
	}
	return false
}

// mark orders everything that handlers say: first by call, then by number.
type mark int

// markOf reads the mark of a cursor; 0 of none.
func markOf(cursor []byte) mark {
	if len(cursor) == 0 {
		return 0
	}
	var c struct{ X, N int }
	if err := json.Unmarshal(cursor, &c); err != nil {
		failf("cursor %q: %v", cursor, err)
	}
	return mark(c.X)<<20 | mark(c.N)
}

// said applies what a running execution says (SEMANTICS 3 and 9): only the current execution of a live task can.
func (l *ledger) said(h *history, s *track, ev domain.StepEvent, i int) (ok bool, what string) {
	ok = s.state == domain.InProgress && ev.AttemptNumber() == s.attempt && h.state.Live()
	var text []byte
	switch e := ev.(type) {
	case domain.StepCheckpointed:
		text = e.Cursor
		m := markOf(e.Cursor)
		if m <= s.marked {
			return false, "the cursor " + s.cursor + " is newer than " + string(e.Cursor)
		}
		s.cursor, s.marked, s.lost = string(e.Cursor), m, 0
	case domain.StepProgressed:
		text = []byte(e.Message)
		s.done = e.Done
	case domain.StepLogAppended:
		text = []byte(e.Lines[0])
	case domain.Custom:
		text = e.Data
		if n := int(markOf(e.Data) & (1<<20 - 1)); n != s.emitted {
			return false, "it is event " + strconv.Itoa(n) + " of the execution, after " + strconv.Itoa(s.emitted)
		}
		s.emitted++
	}
	if ok {
		what = l.sameCall(text, h.id, i, ev.AttemptNumber())
	}
	return ok, what
}

// outcome checks that the events of an execution came before its outcome, all of them.
func (s *track) outcome(x int) string {
	if want := emittedBy(x); s.emitted != want {
		return strconv.Itoa(s.emitted) + " of its " + strconv.Itoa(want) + " custom events came before it"
	}
	return ""
}

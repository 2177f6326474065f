package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// submission is a task that a client wants to exist.
type submission struct {
	def   *domain.Definition
	cmd   domain.CreateTask
	rerun []string // of a fork
}

// define makes a random definition.
func (w *world) define(n int) *domain.Definition {
	r := w.rng
	d := &domain.Definition{Name: fmt.Sprintf("d%d", n), Steps: make([]domain.StepTemplate, 1+r.IntN(8))}
	if r.IntN(4) == 0 {
		d.OnFailure = domain.Stop
	}
	if r.IntN(4) == 0 {
		d.Deadline = time.Duration(1+r.IntN(300)) * time.Second
	}
	if r.IntN(4) == 0 {
		d.Output = "s0"
	}
	for i := range d.Steps {
		s := &d.Steps[i]
		s.Name, s.Handler = "s"+strconv.Itoa(i), "h"+strconv.Itoa(r.IntN(handlers))
		for p := range i {
			if r.IntN(3) == 0 {
				s.DependsOn = append(s.DependsOn, "s"+strconv.Itoa(p))
			}
		}
		s.RetryLimit = 1 + r.IntN(4)
		s.Optional, s.Skippable, s.NotRetryable = r.IntN(5) == 0, r.IntN(4) == 0, r.IntN(6) == 0
		if r.IntN(6) == 0 {
			s.Handler = domain.SleepHandler
			s.HandlerConfig = json.RawMessage(`{"duration":"` + strconv.Itoa(1+r.IntN(90)) + `s"}`)
		}
		if r.IntN(4) == 0 {
			s.FinalErrors = []domain.ErrorKind{"hopeless"}
		}
		if r.IntN(3) == 0 {
			s.Backoff = domain.Backoff{Strategy: domain.StrategyFixed, Base: time.Duration(1+r.IntN(30_000)) * time.Millisecond, Jitter: domain.NoJitter}
		}
	}
	if err := d.Validate(); err != nil {
		failf("definition: %v", err)
	}
	return d
}

func (w *world) definition(hash string) *domain.Definition {
	for _, d := range w.definitions {
		if d.Hash() == hash {
			return d
		}
	}
	return nil
}

// submit sends a new task, or one that was sent before: acknowledged or not, unchanged or not.
func (w *world) submit(p *process) {
	r := w.rng
	var s *submission
	if len(w.submissions) > 0 && r.IntN(6) == 0 {
		s = w.submissions[max(0, len(w.submissions)-1-r.IntN(200))]
	} else if len(w.ledger.order) > 0 && r.IntN(5) == 0 {
		s = w.newFork()
	}
	if s == nil {
		s = w.newSubmission()
	}
	cmd := s.cmd
	if r.IntN(20) == 0 {
		cmd.InputHash++
	}
	if w.tracing {
		w.tracef("p%d is given %s of %s, input %d", p.n, cmd.ID, s.def.Name, cmd.InputHash)
	}
	known := w.ledger.tasks[cmd.ID] != nil
	p.m.Submit(s.def, cmd, p.now(), func(a subscribers.Answer) {
		w.report.Answers++
		w.checkAnswer(a)
		stored := w.ledger.tasks[a.Task]
		switch {
		case errors.Is(a.Err, subscribers.ErrNotOwner), errors.Is(a.Err, subscribers.ErrOutcomeUnknown):
		case w.tooLarge(cmd, a.Err):
		case a.Err != nil && !errors.Is(a.Err, subscribers.ErrIdempotencyMismatch):
			failf("submission of %s: %v", a.Task, a.Err)
		case stored == nil:
			failf("task %s is acknowledged and not in the log", a.Task)
		case (a.Err == nil) != (stored.input == cmd.InputHash):
			failf("task %s was made of input %d and submitted again with %d: %v", a.Task, stored.input, cmd.InputHash, a.Err)
		case a.Created && known:
			failf("task %s was created already", a.Task)
		}
	})
}

func (w *world) newSubmission() *submission {
	r := w.rng
	s := &submission{def: w.definitions[r.IntN(len(w.definitions))]}
	n := len(w.submissions)
	w.submissions = append(w.submissions, s)
	s.cmd = domain.CreateTask{InputHash: uint32(n) * 7, Context: domain.Inline(json.RawMessage(`{"n":` + strconv.Itoa(n) + `}`))}
	if r.IntN(2) == 0 {
		s.cmd.ID = domain.KeyedTaskID(domain.DefaultNamespace, s.def.Name, strconv.Itoa(n))
	} else {
		s.cmd.ID = w.newID()
	}
	for i := range s.def.Steps {
		if s.def.Steps[i].Skippable && r.IntN(3) == 0 {
			s.cmd.BypassSteps = append(s.cmd.BypassSteps, s.def.Steps[i].Name)
		}
	}
	return s
}

// question asks for a task's state or its end.
func (w *world) question(p *process) {
	l := w.ledger
	if len(l.order) == 0 {
		return
	}
	id := l.order[max(0, len(l.order)-1-w.rng.IntN(40))].id
	if w.rng.IntN(3) == 0 {
		p.m.Look(id, func(t *domain.Task, err error) {
			if err == nil && t != nil && !w.log.holds(t.Last, id) {
				failf("task %s is shown as of %d, which is not stored", id, t.Last)
			}
		})
		return
	}
	round := 0
	if e := p.m.State().Live(id); e != nil && e.Task.State.Live() {
		round = e.Task.Round
	}
	p.m.Await(id, func(o subscribers.Outcome, err error) {
		if err != nil {
			return
		}
		if !w.log.holds(o.Position.Sequence, id) {
			failf("the end of task %s is told as of %d, which is not stored", id, o.Position.Sequence)
		}
		for _, end := range w.ledger.tasks[id].endings {
			if end.round >= round && end.sequence <= o.Position.Sequence {
				return
			}
		}
		failf("the end of run %d of task %s is told as of %d, and it goes on", round, id, o.Position.Sequence)
	})
}

// checkAnswer: what an answer rests on is stored where it says.
func (w *world) checkAnswer(a subscribers.Answer) {
	if errors.Is(a.Err, subscribers.ErrNotOwner) || errors.Is(a.Err, subscribers.ErrOutcomeUnknown) || a.Position.Sequence == 0 {
		return
	}
	if !w.log.holds(a.Position.Sequence, a.Task) {
		failf("an answer about task %s names message %d, which is not stored, or not about it (%+v)", a.Task, a.Position.Sequence, a)
	}
}

package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// Operators say every verb of SEMANTICS 6, mostly where it means something, and now and then twice.

// operate sends a random verb to a random task.
func (w *world) operate(p *process) {
	r, l := w.rng, w.ledger
	if len(l.order) == 0 {
		return
	}
	h := l.order[max(0, len(l.order)-1-r.IntN(40))]
	switch r.IntN(16) {
	case 0:
		h = l.order[r.IntN(len(l.order))]
	case 1, 2, 3:
		for len(w.failed) > 0 { // somebody looks after the failed ones
			i, last := r.IntN(len(w.failed)), len(w.failed)-1
			h = w.failed[i]
			w.failed[i] = w.failed[last]
			if w.failed = w.failed[:last]; h.state == domain.Error {
				break
			}
		}
	case 4, 5, 6:
		h = w.some(h, func(h *history) bool { return h.state.Live() && h.paused })
	case 7, 8, 9, 10, 11, 12:
		h = w.some(h, func(h *history) bool { return h.state.Live() })
	}
	cmd := w.verb(h)
	w.do(p, h, cmd, false)
	if w.rng.IntN(8) == 0 {
		w.do(p, h, cmd, true)
	}
}

// some is a recent task of that kind, if one is found.
func (w *world) some(h *history, kind func(*history) bool) *history {
	order := w.ledger.order
	for range 10 {
		if other := order[max(0, len(order)-1-w.rng.IntN(100))]; kind(other) {
			return other
		}
	}
	return h
}

// do says a verb. Nothing changes when it has just been said.
func (w *world) do(p *process, h *history, cmd domain.Command, again bool) {
	if w.tracing {
		w.tracef("p%d is told %T%+v about %s", p.n, cmd, cmd, h.id)
	}
	expired := h.expired
	_, note := cmd.(domain.AnnotateTask)
	p.m.Do(h.id, cmd, "operator:sim", p.now(), func(a subscribers.Answer) {
		w.report.Answers++
		w.checkAnswer(a)
		switch {
		case note:
		case expired != 0 && a.Err == nil && a.Position.Sequence >= expired: // an owner of before answers as of before
			failf("task %s has expired, and %T is not refused", h.id, cmd)
		case again && a.Err == nil && a.Changed:
			failf("task %s: %T changed something when it was said again", h.id, cmd)
		}
		w.noteVerb(cmd, a)
	})
}

// noteVerb counts what became of a verb.
func (w *world) noteVerb(cmd domain.Command, a subscribers.Answer) {
	if errors.Is(a.Err, subscribers.ErrNotOwner) || errors.Is(a.Err, subscribers.ErrOutcomeUnknown) {
		return
	}
	name := nameOf(cmd)
	v := w.report.Verbs[name]
	switch {
	case a.Err != nil:
		v.Refused++
	case a.Changed:
		v.Changed++
	default:
		v.Same++
	}
	w.report.Verbs[name] = v
}

func nameOf(cmd domain.Command) string { return strings.TrimPrefix(fmt.Sprintf("%T", cmd), "domain.") }

func (w *world) verb(h *history) domain.Command {
	r := w.rng
	if h.state == domain.Error && r.IntN(4) > 0 { // most failed tasks go on or end
		switch r.IntN(5) {
		case 0:
			return domain.ResolveTask{Reason: "enough"}
		case 1:
			return domain.CancelTask{}
		case 2:
			return w.stepVerb(h)
		}
		return domain.RetryTask{Reason: "again"}
	}
	switch r.IntN(16) {
	case 0:
		return domain.CancelTask{Reason: "enough"}
	case 1:
		return domain.RetryTask{}
	case 2:
		return domain.ResolveTask{}
	case 3, 4:
		return domain.PauseTask{}
	case 5, 6, 7:
		return domain.ResumeTask{}
	case 8:
		return domain.ResolveStep{Step: "unknown"}
	case 9:
		return domain.AnnotateTask{Kind: "note", Value: json.RawMessage(`"n"`)}
	}
	return w.stepVerb(h)
}

func (w *world) stepVerb(h *history) domain.Command {
	r := w.rng
	result := domain.Inline(json.RawMessage(`{"by":"operator"}`))
	switch r.IntN(8) {
	case 0, 1:
		return domain.RetryStep{Step: w.step(h, domain.Error), RetryLimit: r.IntN(3)}
	case 2:
		return domain.RetryStep{Step: w.step(h, domain.Error), Inputs: json.RawMessage(`{"i":1}`)}
	case 3:
		return domain.ResolveStep{Step: w.step(h, domain.Error), Result: result}
	case 4:
		return domain.ResolveStep{Step: w.step(h, domain.Pending)}
	case 5:
		return domain.CancelStep{Step: w.step(h, domain.States[r.IntN(len(domain.States))])}
	}
	return domain.FinishStep{Step: w.step(h, domain.InProgress), Result: result}
}

// step is a step of the task in that state, if there is one.
func (w *world) step(h *history, state domain.State) string {
	first := w.rng.IntN(len(h.steps))
	for i := range h.steps {
		if at := (first + i) % len(h.steps); h.steps[at].state == state {
			return h.def.Steps[at].Name
		}
	}
	return h.def.Steps[first].Name
}

package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
	"github.com/tasker-go/tasker/subscribers"
)

// Forks: clients make tasks of what other tasks were at some event, and the ledger says what such a task may take over.

// newFork makes a fork of a recent task at one of its events; nil when nothing would run in it.
func (w *world) newFork() *submission {
	r, order := w.rng, w.ledger.order
	h := order[max(0, len(order)-1-r.IntN(60))]
	records := w.recordsOf(h)
	at := len(records) - 1
	if r.IntN(3) > 0 {
		at = r.IntN(len(records))
	}
	source, err := projections.LoadTask(records[:at+1], func(hash string) (*domain.Definition, bool) { d := w.definition(hash); return d, d != nil })
	if err != nil {
		failf("task %s as it was at %s: %v", h.id, records[at].Position, err)
	}
	var rerun []string
	if r.IntN(3) == 0 {
		rerun = append(rerun, h.def.Steps[r.IntN(len(h.def.Steps))].Name)
	}
	cmd, err := source.Fork(rerun)
	if err != nil {
		return nil
	}
	n := len(w.submissions)
	s := &submission{def: h.def, cmd: cmd, rerun: rerun}
	s.cmd.Forked = &domain.ForkedFrom{Task: h.id, Position: records[at].Position}
	s.cmd.By, s.cmd.InputHash = "operator:sim", uint32(n)*7
	if r.IntN(2) == 0 {
		s.cmd.ID = domain.ForkTaskID(h.id, fmt.Sprint(n))
	} else {
		s.cmd.ID = w.newID()
	}
	s.cmd.Context = w.carried(s.cmd.Context)
	for i := range s.cmd.Inherited {
		x := &s.cmd.Inherited[i]
		x.From, x.Result = h.steps[h.def.Graph().Index(x.Step)].over, w.carried(x.Result)
	}
	w.submissions = append(w.submissions, s)
	return s
}

// carried is a payload as an event can carry it.
func (w *world) carried(p domain.Payload) domain.Payload {
	if p.Pos.Sequence == 0 {
		return p
	}
	return domain.PayloadOf(w.log.messages[p.Pos.Sequence-1].commit.Records[p.Pos.Index].Event)
}

func (w *world) newID() (id domain.TaskID) {
	binary.BigEndian.PutUint64(id[:], uint64(w.clock/1000)<<16)
	binary.BigEndian.PutUint64(id[8:], w.rng.Uint64()>>2|1<<63)
	id[6] = 7 << 4
	return id
}

// recordsOf are all records of a task, the oldest first, trimmed or not.
func (w *world) recordsOf(h *history) []domain.Record {
	var all []domain.Record
	for at := h.last; at != 0; {
		own := 0
		for _, r := range slices.Backward(w.log.messages[at-1].commit.Records) {
			if r.Task == h.id {
				all, own = append(all, r), own+1
			}
		}
		at = all[len(all)-own].Prev
	}
	slices.Reverse(all)
	return all
}

// tooLarge reports whether a fork was refused because it does not fit into a message of this world.
func (w *world) tooLarge(cmd domain.CreateTask, err error) bool {
	var large *domain.ForkTooLargeError
	if !errors.As(err, &large) {
		return false
	}
	if cmd.Forked == nil || large.Bytes <= large.Most || w.odds.commitBytes == 0 && large.Most != subscribers.MaxCommitBytes {
		failf("task %s is refused: %v", cmd.ID, err)
	}
	w.report.TooLarge++
	return true
}

// begin notes what a fork has to take over: what was over at that event, and is not to run again (said in words of the
// ledger, not with the engine's own fold).
func (h *history) begin(w *world, l *ledger, e domain.TaskCreated) string {
	if e.Forked == nil {
		return ""
	}
	source := l.tasks[e.Forked.Task]
	asked := slices.IndexFunc(w.submissions, func(s *submission) bool { return s.cmd.ID == h.id })
	switch {
	case source == nil:
		return "it is forked from a task that nobody knows"
	case source.def != h.def:
		return "it has another definition than the task that it is forked from"
	case asked < 0 || *w.submissions[asked].cmd.Forked != *e.Forked:
		return "nobody asked for this fork"
	}
	h.source, h.inherit = source, make([]bool, len(h.steps))
	for i := range h.steps {
		over := source.steps[i].over
		h.inherit[i] = over.Sequence != 0 && !e.Forked.Position.Less(over)
	}
	again := make([]bool, len(h.steps))
	for i := range h.steps { // parents stand before their children here
		again[i] = slices.Contains(w.submissions[asked].rerun, h.def.Steps[i].Name)
		for _, p := range h.def.Graph().Parents(i) {
			again[i] = again[i] || again[p]
		}
		h.inherit[i] = h.inherit[i] && !again[i]
	}
	return ""
}

// inherits says what is wrong with a step that a fork takes over; "" when nothing.
func (h *history) inherits(e domain.StepInherited, r domain.Record) string {
	i := h.def.Graph().Index(e.Step)
	switch {
	case i < 0 || h.inherit == nil || !h.inherit[i]:
		return "the fork was not to take it over, or has already"
	case e.From != h.source.steps[i].over:
		return fmt.Sprintf("it ended at %s", h.source.steps[i].over)
	case e.Resolved != (h.source.steps[i].state == domain.ResolvedManually):
		return "it ended in another way"
	case r.Position.Sequence != h.first:
		return "it comes in another message than the fork"
	case h.steps[i].state != domain.Pending || h.steps[i].attempt != 0:
		return "it has run"
	}
	h.inherit[i] = false
	if h.steps[i].state = domain.Complete; e.Resolved {
		h.steps[i].state = domain.ResolvedManually
	}
	h.stepOver(e, r)
	return ""
}

// stepOver notes where a step ended for good.
func (h *history) stepOver(e domain.StepEvent, r domain.Record) {
	i := h.def.Graph().Index(e.StepName())
	if i < 0 {
		return
	}
	if s := &h.steps[i]; s.over.Sequence == 0 && (s.state == domain.Complete || s.state == domain.ResolvedManually) {
		s.over = r.Position
	}
}

// torn is a step that the fork has not taken over in its first message; "" when there is none.
func (h *history) torn() string {
	if i := slices.Index(h.inherit, true); i >= 0 {
		return h.def.Steps[i].Name
	}
	return ""
}

package tasker

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
	"github.com/tasker-go/tasker/subscribers"
)

// How much one call of Stuck may cost an owner.
const (
	surveyTasks  = 500             // that are looked at in one go on the coordinator's goroutine: half a millisecond
	surveySteps  = 20_000          // that they have together
	surveyFailed = 5_000           // failed tasks that are copied in one go; they are looked at elsewhere
	surveyTime   = 3 * time.Second // for all tasks of a partition; what is not reached by then is not counted
	surveyWords  = time.Second     // for the histories that the texts of a page name
	surveyPause  = 5 * time.Millisecond
)

// localStuck says what does not move in a partition of this process.
func (e *Engine) localStuck(ctx context.Context, c *subscribers.Coordinator, q *StuckQuery) (*response, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	switch h := c.Held(); h.Reason { //nolint:exhaustive // another hold is not of this process, or none
	case domain.ReasonNoOwner:
		return nil, subscribers.ErrNotOwner
	case domain.ReasonLoading, domain.ReasonClosed, domain.ReasonLogAway, domain.ReasonLeaseStale, domain.ReasonStoreFull:
		return &response{Stuck: heldPage(c.Partition, h, int(c.Stats().Live), q)}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, surveyTime+surveyWords)
	defer cancel()
	s := newSurvey(e, c.Partition, q)
	if err := s.live(ctx, c); err != nil {
		return nil, err
	}
	if err := s.failed(ctx, c); err != nil {
		return nil, err
	}
	return &response{Stuck: s.page(ctx, c)}, nil
}

// survey is one look at all tasks of a partition.
type survey struct {
	e         *Engine
	partition int
	q         *StuckQuery
	after     stuckPlace
	now       domain.Instant
	ends      time.Time

	t      *domain.Task // that is being looked at
	around domain.Circumstances
	slots  map[slotOf]domain.Hold // the same for all steps alike: asked once

	seen   map[TaskID]bool // of those that stand still
	groups map[stuckKey]*StuckGroup
	order  []*StuckGroup // of groups, in the order of their finding
	top    []stuckPlace  // the worst, in no order, not many more than a page of them
	more   bool
	partly bool // the time was over before all had been looked at
}

type slotOf struct {
	d    *domain.Definition
	step int
}

func newSurvey(e *Engine, partition int, q *StuckQuery) *survey {
	after, _ := parsePlace(q.After)
	s := &survey{
		e: e, partition: partition, q: q, after: after, now: domain.InstantOf(e.config.Clock()), ends: time.Now().Add(surveyTime),
		slots: map[slotOf]domain.Hold{}, seen: map[TaskID]bool{}, groups: map[stuckKey]*StuckGroup{},
	}
	s.around = domain.Circumstances{Now: s.now, Partition: partition, Brief: true, Slot: s.slot, Heard: s.heard}
	return s
}

func (s *survey) slot(step int) domain.Hold {
	k := slotOf{s.t.Definition, step}
	h, ok := s.slots[k]
	if !ok {
		h = s.e.executor.Hold(k.d, step)
		s.slots[k] = h
	}
	return h
}

func (s *survey) heard(step int) (domain.Instant, time.Duration) {
	at, limit := s.e.executor.Heard(s.partition, s.t.ID, step)
	return domain.InstantOf(at), limit
}

// inspect is Coordinator.Inspect that waits, and comes again when there is too much to do.
func inspect(ctx context.Context, c *subscribers.Coordinator, f func(m *subscribers.Machine)) error {
	for {
		_, err := await(ctx, c, func(reply func(struct{}, error)) error {
			return c.Inspect(func(m *subscribers.Machine) { f(m); reply(struct{}{}, nil) }, func(err error) { reply(struct{}{}, err) })
		})
		if !errors.Is(err, ErrOverloaded) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(surveyPause):
		}
	}
}

// live looks at the tasks in memory, a few in every turn of the coordinator.
func (s *survey) live(ctx context.Context, c *subscribers.Coordinator) error {
	for next := projections.SurveyAll; next > 0; {
		if time.Now().After(s.ends) {
			s.partly = true
			return nil
		}
		if err := inspect(ctx, c, func(m *subscribers.Machine) {
			tasks, steps := 0, 0
			next = m.State().Survey(next, func(entry *projections.Entry) bool {
				if entry.Task.Last <= m.StoredUpTo() { // else it has moved just now
					s.look(entry.Task, entry.Frozen)
				}
				tasks++
				steps += len(entry.Task.Steps)
				return tasks < surveyTasks && steps < surveySteps
			})
		}); err != nil {
			return err
		}
	}
	return nil
}

// failed looks at the failed tasks, which are unpacked here and not on the coordinator's goroutine.
func (s *survey) failed(ctx context.Context, c *subscribers.Coordinator) error {
	for next := projections.SurveyAll; next > 0 && !s.partly; {
		var some []projections.PackedTask
		if err := inspect(ctx, c, func(m *subscribers.Machine) {
			next = m.State().SurveyFailed(next, func(t projections.PackedTask) bool {
				some = append(some, t)
				return len(some) < surveyFailed
			})
		}); err != nil {
			return err
		}
		for i, packed := range some {
			if i%64 == 0 && time.Now().After(s.ends) {
				s.partly = true
				break
			}
			if t, err := packed.Unpack(c.Definition); err == nil {
				s.look(t, nil)
			}
		}
	}
	return nil
}

// look takes a task that stands still. A task that cannot be looked at is passed over: on the coordinator's goroutine a panic
// would cost the partition its memory, and this is only a question.
func (s *survey) look(t *domain.Task, frozen *domain.Unknown) {
	defer func() {
		if p := recover(); p != nil {
			s.e.config.Logger.Error("a task cannot be explained; please report this", "task", t.ID, "panic", p, "stack", string(debug.Stack()))
			s.more = true
		}
	}()
	s.take(t, frozen)
}

func (s *survey) take(t *domain.Task, frozen *domain.Unknown) {
	if !s.q.takes(t.Definition) {
		return
	}
	s.t, s.around.Frozen = t, frozen
	e := domain.Explain(t, s.around)
	if !e.Stuck(s.now) || s.q.Reason != "" && s.q.Reason != e.Reason || s.seen[t.ID] {
		return
	}
	s.seen[t.ID] = true
	s.group(t, e)
	place := stuckPlace{e.Reason.Severity(), e.Since, t.ID}
	if place.compare(s.after) <= 0 {
		return
	}
	if s.top = append(s.top, place); len(s.top) >= 4*s.q.limit() {
		s.cut()
	}
}

// cut keeps the worst.
func (s *survey) cut() {
	slices.SortFunc(s.top, stuckPlace.compare)
	if limit := s.q.limit(); len(s.top) > limit {
		s.top, s.more = s.top[:limit], true
	}
}

// group counts the task with those of the same cause.
func (s *survey) group(t *domain.Task, e Explanation) {
	g := causeOf(t, e)
	k := g.key()
	have := s.groups[k]
	if have == nil {
		if len(s.order) >= MaxStuckGroups {
			s.more = true
			return
		}
		have = &g
		s.groups[k] = have
		s.order = append(s.order, have)
	}
	have.Tasks++
	if have.Since == 0 || e.Since != 0 && e.Since < have.Since {
		have.Since = e.Since
	}
	if len(have.Examples) < MaxStuckExamples {
		have.Examples = append(have.Examples, t.ID)
	}
}

// causeOf is the group of a task: what all tasks have in common that stand still for the same cause.
func causeOf(t *domain.Task, e Explanation) StuckGroup {
	g := StuckGroup{Reason: e.Reason, Severity: e.Reason.Severity()}
	i := -1
	if e.Step != "" {
		i = t.Definition.Graph().Index(e.Step)
	}
	switch e.Reason { //nolint:exhaustive // the others are about a step of a definition
	case domain.ReasonNoSlot, domain.ReasonEngineDrains:
		return g
	case domain.ReasonNoHandler, domain.ReasonNoHandlerSlot, domain.ReasonHandlerLeaks:
		if i >= 0 {
			g.Handler = t.Template(i).Handler
		}
		return g
	}
	g.Namespace, g.Name, g.Step = t.Definition.Namespace, t.Definition.Name, e.Step
	if i >= 0 {
		if err := t.Steps[i].LastError(); err != nil && t.Steps[i].State == domain.Error {
			g.Kind = string(err.Kind)
		}
	}
	return g
}

// page puts the findings in words: those that a page shows, and one of every group.
func (s *survey) page(ctx context.Context, c *subscribers.Coordinator) *StuckPage {
	s.cut()
	p := &StuckPage{More: s.more || s.partly}
	words := time.Now().Add(surveyWords)
	said := map[TaskID]*Explanation{}
	say := func(id TaskID) (*domain.Task, *Explanation) {
		t, x, err := s.e.explainNow(ctx, c, id, "", time.Now().Before(words))
		if err != nil || !x.Stuck(s.now) {
			return nil, nil // it moves, or has ended meanwhile
		}
		said[id] = x
		return t, x
	}
	for _, place := range s.top {
		if t, x := say(place.id); x != nil {
			d := t.Definition
			p.Tasks = append(p.Tasks, StuckTask{
				Explanation: *x, Namespace: d.Namespace, Name: d.Name, Version: d.Version, State: t.State, Place: place.String(),
			})
		}
	}
	for _, g := range s.order {
		g.AtLeast = s.partly
		for _, id := range g.Examples {
			x := said[id]
			if x == nil {
				_, x = say(id)
			}
			if x != nil && x.Reason == g.Reason {
				g.Text, g.Fix, g.Hint = x.Text, x.Fix, x.Hint
				if g.Since == 0 { // only the history knows
					g.Since = x.Since
				}
				p.Groups = append(p.Groups, *g)
				break
			}
		}
	}
	return p
}

package sim

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/tasker-go/tasker/domain"
)

// ledger is what the log says, written down without the engine's own fold: the states alone, and whether each fact was
// allowed to follow the ones before it (SEMANTICS 1 to 3).
type ledger struct {
	tasks   map[domain.TaskID]*history
	order   []*history
	adopted map[string]*domain.Definition
	ids     map[string]bool // of commits
	writer  string
	at      domain.Instant
	live    int
	calls   []call // of handlers, by number
}

// history is one task as the log tells it.
type history struct {
	id           domain.TaskID
	def          *domain.Definition
	state        domain.State
	paused       bool
	expired      uint64         // the message that says so; 0 = it has not
	failed       domain.Instant // when it failed last
	steps        []track
	last, before uint64 // newest commits
	input        uint32
	round        int // from 1, as domain.Task.Round
	endings      []ending
	source       *history // of a fork: of what
	inherit      []bool   // of a fork: the steps that it has yet to take over
	first        uint64   // its first message
	unchecked    bool     // changed since an owner's memory was compared with it
}

// track is one step as the log tells it.
type track struct {
	state   domain.State
	wake    domain.Instant
	attempt int
	ran     int // newest attempt that a handler was called for
	count   int // executions of the round that count
	lost    int // those that do not
	limit   int // an operator's; 0 = the template's
	cursor  string
	marked  mark            // of the cursor
	done    int             // its last progress
	emitted int             // custom events of the current execution
	writer  string          // whose the current execution is
	over    domain.Position // of the event with which it became complete or resolved
}

// ending is when a run of a task was over.
type ending struct {
	sequence uint64
	round    int
}

// call is one call of a handler.
type call struct {
	task    domain.TaskID
	step    int
	attempt int
}

func newLedger() *ledger {
	return &ledger{tasks: map[domain.TaskID]*history{}, adopted: map[string]*domain.Definition{}, ids: map[string]bool{}}
}

func writerOf(commit string) string { return commit[:max(strings.LastIndexByte(commit, '-'), 0)] }

// commit checks a commit that has just been stored and writes it down.
func (l *ledger) commit(w *world, c domain.Commit) {
	if l.ids[c.ID] {
		failf("commit %s is stored twice, again at %d", c.ID, c.Sequence)
	}
	l.ids[c.ID] = true
	if c.At < l.at {
		failf("time goes back: commit %s at %d is of %s, the one before of %s", c.ID, c.Sequence, c.At, l.at)
	}
	l.at = c.At
	if len(c.Records) == 0 {
		failf("commit %s at %d is empty", c.ID, c.Sequence)
	}
	if opened, ok := c.Records[0].Event.(domain.PartitionOpened); ok {
		l.writer = opened.Writer
	}
	if writerOf(c.ID) != l.writer {
		failf("commit %s at %d: the partition belongs to %s", c.ID, c.Sequence, l.writer)
	}
	w.report.Facts += len(c.Records)
	for _, r := range c.Records {
		w.report.Events[r.Event.Type()]++
		if what := l.record(w, r); what != "" {
			failf("%s at %s of task %s in commit %s: %s", r.Event.Type(), r.Position, r.Task, c.ID, what)
		}
	}
	for _, r := range c.Records {
		if _, ok := r.Event.(domain.TaskCreated); ok {
			if step := l.tasks[r.Task].torn(); step != "" {
				failf("commit %s at %d has a part of fork %s: step %s is missing", c.ID, c.Sequence, r.Task, step)
			}
		}
	}
}

func (l *ledger) record(w *world, r domain.Record) string {
	switch e := r.Event.(type) {
	case domain.PartitionOpened, domain.PartitionSkipped:
		return ""
	case domain.DefinitionAdopted:
		if l.adopted[e.Hash] != nil {
			return "it has been adopted already"
		}
		l.adopted[e.Hash] = w.definition(e.Hash)
		return ""
	case domain.TaskCreated:
		return l.create(w, r, e)
	case domain.Unknown, domain.Signal:
		return "nobody knows this fact"
	case domain.TaskStartRequested, domain.TaskReenqueued, domain.TaskDelayed, domain.TaskCompleted, domain.TaskFailed,
		domain.TaskRetryRequested, domain.TaskCancelled, domain.TaskResolvedManually, domain.TaskPaused, domain.TaskResumed,
		domain.TaskAnnotated, domain.StepInherited, domain.StepExecutionRequested, domain.StepCompleted, domain.StepFailed, domain.StepRetryRequested,
		domain.StepCancelled, domain.StepResolvedManually, domain.StepSkipped, domain.TaskExpired,
		domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom:
		// About a task that exists: below.
	}
	h := l.tasks[r.Task]
	if h == nil {
		return "there is no such task"
	}
	if h.last != r.Position.Sequence {
		h.before, h.last = h.last, r.Position.Sequence
	}
	if r.Prev != h.before {
		return fmt.Sprintf("prev is %d, and should be %d", r.Prev, h.before)
	}
	if !h.unchecked {
		h.unchecked = true
		w.changed = append(w.changed, h)
	}
	was := h.state.Live()
	var what string
	if e, ok := r.Event.(domain.StepInherited); ok {
		what = h.inherits(e, r)
	} else if e, ok := r.Event.(domain.StepEvent); ok {
		what = l.step(h, e, r)
		h.stepOver(e, r)
	} else {
		what = h.task(w, r)
	}
	if was && !h.state.Live() {
		h.endings = append(h.endings, ending{r.Position.Sequence, h.round})
		if l.live--; h.state == domain.Error {
			w.failed = append(w.failed, h)
		}
	} else if !was && h.state.Live() {
		l.live++
	}
	return what
}

func (l *ledger) create(w *world, r domain.Record, e domain.TaskCreated) string {
	if l.tasks[r.Task] != nil {
		return "the task exists"
	}
	def := l.adopted[e.Definition]
	if def == nil {
		return "its definition has not been adopted"
	}
	if r.Prev != 0 {
		return "it has a commit before its first"
	}
	h := &history{id: r.Task, def: def, steps: make([]track, len(def.Steps)), last: r.Position.Sequence, input: e.InputHash, round: 1, unchecked: true, first: r.Position.Sequence}
	l.tasks[r.Task] = h
	l.order = append(l.order, h)
	l.live++
	w.changed = append(w.changed, h)
	return h.begin(w, l, e)
}

// task applies a fact about the whole task.
func (h *history) task(w *world, r domain.Record) string {
	if _, note := r.Event.(domain.TaskAnnotated); h.expired != 0 && !note {
		return "it has expired"
	}
	ok := false
	from := h.state
	switch r.Event.(type) {
	case domain.TaskStartRequested:
		ok, h.state = from == domain.Pending, domain.InProgress
	case domain.TaskReenqueued, domain.TaskDelayed:
		ok, h.state = from.Live(), domain.Pending
	case domain.TaskCompleted:
		ok, h.state = from == domain.InProgress && h.allComplete(), domain.Complete
	case domain.TaskFailed:
		ok, h.state, h.failed = from.Live() && !h.runs(), domain.Error, r.At
	case domain.TaskRetryRequested:
		ok, h.state, h.paused = from == domain.Error, domain.Pending, false
		h.round++
	case domain.TaskCancelled:
		ok, h.state = from.Live() || from == domain.Error, domain.Cancelled
	case domain.TaskResolvedManually:
		ok, h.state = from == domain.Error, domain.ResolvedManually
	case domain.TaskPaused:
		ok, h.paused = from.Live() && !h.paused, true
	case domain.TaskResumed:
		ok, h.paused = from.Live() && h.paused, false
	case domain.TaskAnnotated:
		ok = true
	case domain.TaskExpired:
		ok, h.expired = from == domain.Error && h.failed.Add(w.odds.retention) < r.At, r.Position.Sequence
	case domain.PartitionOpened, domain.PartitionSkipped, domain.DefinitionAdopted, domain.TaskCreated, domain.Unknown,
		domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom, domain.Signal,
		domain.StepInherited, domain.StepExecutionRequested, domain.StepCompleted, domain.StepFailed, domain.StepRetryRequested,
		domain.StepCancelled, domain.StepResolvedManually, domain.StepSkipped:
		// Not about a whole task.
	}
	if !ok {
		return fmt.Sprintf("the task is %s (%s)", from, h.states())
	}
	return ""
}

// step applies a fact about a step.
func (l *ledger) step(h *history, ev domain.StepEvent, r domain.Record) string {
	i := h.def.Graph().Index(ev.StepName())
	if i < 0 {
		return "there is no such step"
	}
	s := &h.steps[i]
	if h.expired != 0 {
		return "its task has expired"
	}
	if _, cancel := ev.(domain.StepCancelled); h.state.Ended() && (!cancel || h.state != domain.Cancelled) {
		return "the task has ended: it is " + h.state.String()
	}
	ok := false
	from := *s
	switch e := ev.(type) {
	case domain.StepExecutionRequested:
		ok = s.state == domain.Pending && e.Attempt == s.attempt+1 && h.state.Live() && !h.paused && h.parentsSatisfy(i) && !h.stopped()
		if ok && !h.mayRun(i) {
			return fmt.Sprintf("step %s has had its executions: %d, and %d lost", e.Step, s.count, s.lost)
		}
		s.state, s.attempt, s.wake = domain.InProgress, e.Attempt, e.Until
		s.done, s.emitted, s.writer = 0, 0, l.writer
	case domain.StepCompleted:
		ok = s.state == domain.InProgress && e.Attempt == s.attempt && h.state.Live()
		if ok && r.Actor() == domain.ByHandler && h.def.Steps[i].Handler != domain.SleepHandler {
			if what := l.sameOutcome(s, e.Result.JSON, h.id, i, e.Attempt); what != "" {
				return what
			}
		}
		s.state, s.wake = domain.Complete, 0
		s.cursor, s.marked = "", 0
		s.count++
	case domain.StepFailed:
		deadline := e.Error.Kind == domain.KindDeadline
		ok = e.Attempt == s.attempt && h.state.Live() &&
			(s.state == domain.InProgress || s.state == domain.Error && s.wake != 0 && deadline)
		if ok && !deadline && r.Actor() == domain.ByHandler {
			if what := l.sameOutcome(s, []byte(e.Error.Message), h.id, i, e.Attempt); what != "" {
				return what
			}
		}
		if e.RetryAt != 0 && e.RetryAt < r.At {
			return "its retry is due before it failed"
		}
		if kind := e.Error.Kind; kind == domain.KindWorkerLost || kind == domain.KindInterrupted {
			s.lost++
		} else if s.state == domain.InProgress {
			s.count++
		}
		s.state, s.wake = domain.Error, e.RetryAt
	case domain.StepRetryRequested:
		ok = s.state == domain.Error && (e.NewRound || s.wake != 0 && s.wake <= r.At && h.state.Live() && !h.paused)
		s.state, s.wake = domain.Pending, 0
		if e.NewRound {
			s.count, s.lost = 0, 0
		}
		if e.RetryLimit > 0 {
			s.limit = e.RetryLimit
		}
		if e.Inputs != nil { // a cursor of other inputs means nothing
			s.cursor, s.marked = "", 0
		}
	case domain.StepCancelled:
		ok = s.state == domain.Pending || s.state == domain.InProgress || s.state == domain.Error
		s.state, s.wake = domain.Cancelled, 0
	case domain.StepResolvedManually:
		ok = s.state == domain.Pending || s.state == domain.Error
		s.state, s.wake = domain.ResolvedManually, 0
	case domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom:
		var what string
		if ok, what = l.said(h, s, ev, i); what != "" {
			return what
		}
	case domain.StepSkipped:
		ok = s.state == domain.Pending && h.state.Live() && !h.paused && h.parentsSatisfy(i) && h.def.Steps[i].Skippable
		s.state = domain.Complete
	}
	if !ok {
		return fmt.Sprintf("step %s is %s, attempt %d (%s)", ev.StepName(), from.state, from.attempt, h.states())
	}
	return ""
}

// sameOutcome is sameCall for the end of an execution, which comes after its custom events.
func (l *ledger) sameOutcome(s *track, text []byte, id domain.TaskID, step, attempt int) string {
	if what := l.sameCall(text, id, step, attempt); what != "" {
		return what
	}
	return s.outcome(callOf(text))
}

// callOf is the number of the call that a text of a handler begins with; -1 when it is no handler's.
func callOf(text []byte) int {
	text = bytes.TrimPrefix(text, []byte(`{"x":`))
	n := 0
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	x, err := strconv.Atoi(string(text[:n]))
	if err != nil {
		return -1
	}
	return x
}

// sameCall checks that a report is the one of the execution that it is about: it begins with the number of the call.
func (l *ledger) sameCall(text []byte, id domain.TaskID, step, attempt int) string {
	x := callOf(text)
	if x < 0 || x >= len(l.calls) {
		return fmt.Sprintf("no handler made %q", text)
	}
	if got := l.calls[x]; got != (call{id, step, attempt}) {
		return fmt.Sprintf("attempt %d ends with the report of attempt %d", attempt, got.attempt)
	}
	return ""
}

// mayRun: the round has executions left (SEMANTICS 2 and 3).
func (h *history) mayRun(i int) bool {
	s, tpl := &h.steps[i], &h.def.Steps[i]
	limit := tpl.RetryLimit
	if s.limit > 0 {
		limit = s.limit
	}
	if tpl.NotRetryable {
		return s.count == 0 && s.lost == 0
	}
	return s.count < limit && s.lost <= domain.MaxLost
}

func (h *history) satisfies(i int) bool {
	switch s := &h.steps[i]; s.state {
	case domain.Complete, domain.ResolvedManually:
		return true
	case domain.Cancelled:
		return h.def.Steps[i].Optional
	case domain.Error:
		return h.def.Steps[i].Optional && s.wake == 0
	case domain.Pending, domain.InProgress:
	}
	return false
}

func (h *history) parentsSatisfy(i int) bool {
	for _, p := range h.def.Graph().Parents(i) {
		if !h.satisfies(int(p)) {
			return false
		}
	}
	return true
}

func (h *history) allComplete() bool {
	for i := range h.steps {
		if !h.satisfies(i) {
			return false
		}
	}
	return true
}

func (h *history) runs() bool {
	for i := range h.steps {
		if h.steps[i].state == domain.InProgress {
			return true
		}
	}
	return false
}

// unfinished reports whether a cancelled task has steps that are not over.
func (h *history) unfinished() bool {
	for i := range h.steps {
		if s := h.steps[i].state; s == domain.InProgress || h.state == domain.Cancelled && (s == domain.Pending || s == domain.Error) {
			return true
		}
	}
	return false
}

func (h *history) stopped() bool {
	if h.def.OnFailure != domain.Stop {
		return false
	}
	for i := range h.steps {
		if s := &h.steps[i]; s.state == domain.Error && s.wake == 0 && !h.def.Steps[i].Optional {
			return true
		}
	}
	return false
}

func (h *history) states() string {
	var b strings.Builder
	for i := range h.steps {
		fmt.Fprintf(&b, "%s %s/%d ", h.def.Steps[i].Name, h.steps[i].state, h.steps[i].attempt)
	}
	return strings.TrimSpace(b.String())
}

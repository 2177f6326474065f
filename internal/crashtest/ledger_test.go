package crashtest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// ledger follows a log event by event, with rules of its own: it does not use the engine's fold, so that a mistake there
// cannot hide itself. It is the whole of SEMANTICS 1 that a crash could break.
type ledger struct {
	tasks    map[domain.TaskID]*account
	again    map[domain.TaskID]int // created when it existed
	openings int
	errs     []error
}

// account is what the log says of one task.
type account struct {
	state domain.State
	steps map[string]*stepAccount
	first domain.Position
	last  domain.Position
}

type stepAccount struct {
	state     domain.State
	attempt   int
	completed domain.Position
}

func newLedger() *ledger {
	return &ledger{tasks: map[domain.TaskID]*account{}, again: map[domain.TaskID]int{}}
}

func (l *ledger) fail(r domain.Record, format string, args ...any) {
	if len(l.errs) < 20 {
		l.errs = append(l.errs, fmt.Errorf("%s %s of task %s: %s", r.ID(), r.Event.Type(), r.Task, fmt.Sprintf(format, args...)))
	}
}

func (l *ledger) add(c domain.Commit) {
	for _, r := range c.Records {
		l.record(r)
	}
}

func (l *ledger) record(r domain.Record) {
	if r.Task.IsZero() {
		if _, ok := r.Event.(domain.PartitionOpened); ok {
			l.openings++
		}
		return
	}
	a := l.tasks[r.Task]
	if _, ok := r.Event.(domain.TaskCreated); ok {
		if a != nil {
			l.fail(r, "it exists and is %s, last at %s", a.state, a.last)
			l.again[r.Task]++
			return
		}
		l.tasks[r.Task] = &account{state: domain.Pending, steps: map[string]*stepAccount{}, first: r.Position, last: r.Position}
		return
	}
	if a == nil {
		l.fail(r, "it was never created")
		return
	}
	if !a.last.Less(r.Position) {
		l.fail(r, "it comes after %s", a.last)
	}
	if r.Position.Sequence != a.last.Sequence && r.Prev != a.last.Sequence {
		l.fail(r, "prev is %d, its last commit is %d", r.Prev, a.last.Sequence)
	}
	a.last = r.Position
	if e, ok := r.Event.(domain.StepEvent); ok {
		l.step(r, a, e)
		return
	}
	l.task(r, a)
}

func (l *ledger) task(r domain.Record, a *account) {
	move := func(to domain.State, from ...domain.State) {
		for _, s := range from {
			if a.state == s {
				a.state = to
				return
			}
		}
		l.fail(r, "the task is %s", a.state)
	}
	switch r.Event.Type() {
	case domain.TaskStartRequestedType:
		move(domain.InProgress, domain.Pending)
	case domain.TaskReenqueuedType, domain.TaskDelayedType:
		move(domain.Pending, domain.InProgress, domain.Pending)
	case domain.TaskCompletedType:
		move(domain.Complete, domain.InProgress)
		for name, s := range a.steps {
			if s.state == domain.Pending || s.state == domain.InProgress {
				l.fail(r, "step %s is %s", name, s.state)
			}
		}
	case domain.TaskFailedType:
		move(domain.Error, domain.Pending, domain.InProgress)
	case domain.TaskCancelledType:
		move(domain.Cancelled, domain.Pending, domain.InProgress, domain.Error)
	case domain.TaskResolvedManuallyType:
		move(domain.ResolvedManually, domain.Error)
	case domain.TaskRetryRequestedType:
		move(domain.Pending, domain.Error)
	case domain.TaskAnnotatedType, domain.TaskPausedType, domain.TaskResumedType:
	case domain.TaskExpiredType:
		move(domain.Error, domain.Error)
	case domain.PartitionOpenedType, domain.PartitionSkippedType, domain.DefinitionAdoptedType, domain.TaskCreatedType,
		domain.StepInheritedType, domain.StepExecutionRequestedType, domain.StepCompletedType, domain.StepFailedType, domain.StepRetryRequestedType,
		domain.StepCancelledType, domain.StepResolvedManuallyType, domain.StepSkippedType, domain.StepCheckpointedType,
		domain.StepProgressedType, domain.StepLogAppendedType:
		l.fail(r, "it is no event of a task alone")
	}
}

func (l *ledger) step(r domain.Record, a *account, e domain.StepEvent) {
	s := a.steps[e.StepName()]
	if s == nil {
		s = &stepAccount{state: domain.Pending}
		a.steps[e.StepName()] = s
	}
	if ended := a.state.Ended(); ended && r.Event.Type() != domain.StepCancelledType {
		l.fail(r, "the task is %s", a.state)
	}
	switch e := r.Event.(type) {
	case domain.StepExecutionRequested:
		if s.state != domain.Pending || e.Attempt <= s.attempt {
			l.fail(r, "attempt %d after %d, the step is %s", e.Attempt, s.attempt, s.state)
		}
		s.state, s.attempt = domain.InProgress, e.Attempt
	case domain.StepCompleted:
		if s.state != domain.InProgress || e.Attempt != s.attempt {
			l.fail(r, "attempt %d, the step is %s at %d", e.Attempt, s.state, s.attempt)
		}
		s.state, s.completed = domain.Complete, r.Position
	case domain.StepFailed:
		if s.state != domain.InProgress || e.Attempt != s.attempt {
			l.fail(r, "attempt %d, the step is %s at %d", e.Attempt, s.state, s.attempt)
		}
		s.state = domain.Error
	case domain.StepRetryRequested:
		if s.state != domain.Error {
			l.fail(r, "the step is %s", s.state)
		}
		s.state = domain.Pending
	case domain.StepCancelled:
		if s.state.Ended() {
			l.fail(r, "the step is %s", s.state)
		}
		s.state = domain.Cancelled
	case domain.StepSkipped:
		if s.state != domain.Pending {
			l.fail(r, "the step is %s", s.state)
		}
		s.state = domain.Complete
	case domain.StepInherited:
		if s.state != domain.Pending || s.attempt != 0 {
			l.fail(r, "the step is %s, attempt %d", s.state, s.attempt)
		}
		if s.state = domain.Complete; e.Resolved {
			s.state = domain.ResolvedManually
		}
	case domain.StepResolvedManually:
		if s.state != domain.Pending && s.state != domain.Error {
			l.fail(r, "the step is %s", s.state)
		}
		s.state = domain.ResolvedManually
	case domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom:
		if s.state != domain.InProgress || r.Event.(domain.StepEvent).AttemptNumber() != s.attempt {
			l.fail(r, "the step is %s, attempt %d", s.state, s.attempt)
		}
	case domain.PartitionOpened, domain.PartitionSkipped, domain.DefinitionAdopted, domain.TaskCreated,
		domain.TaskStartRequested, domain.TaskReenqueued, domain.TaskDelayed, domain.TaskCompleted, domain.TaskFailed,
		domain.TaskRetryRequested, domain.TaskCancelled, domain.TaskResolvedManually, domain.TaskPaused, domain.TaskResumed,
		domain.TaskAnnotated, domain.TaskExpired, domain.Signal, domain.Unknown:
		l.fail(r, "it is no event of a step")
	}
}

// ended complains of every task that has not ended, and of running steps in those that have.
func (l *ledger) ended() {
	for id, a := range l.tasks {
		if a.state.Live() {
			l.errs = append(l.errs, fmt.Errorf("task %s is %s at the end", id, a.state))
		}
		for name, s := range a.steps {
			if s.state == domain.InProgress {
				l.errs = append(l.errs, fmt.Errorf("task %s is %s and step %s is in progress", id, a.state, name))
			}
		}
		if len(l.errs) > 20 {
			return
		}
	}
}

// has complains of every id that the log does not know.
func (l *ledger) has(ids []tasker.TaskID) {
	missing := 0
	for _, id := range ids {
		if l.tasks[id] == nil {
			if missing++; missing <= 5 {
				l.errs = append(l.errs, fmt.Errorf("task %s was acknowledged and is not in the log", id))
			}
		}
	}
	if missing > 5 {
		l.errs = append(l.errs, fmt.Errorf("%d acknowledged tasks are not in the log", missing))
	}
}

func (l *ledger) report(t testing.TB) {
	t.Helper()
	if err := errors.Join(l.errs...); err != nil {
		t.Fatal(err)
	}
}

// read folds all of a store's log into a ledger; messages that are no commits are passed over.
func read(t testing.TB, store domain.Store) *ledger {
	t.Helper()
	l := newLedger()
	for p := range store.Data().Partitions {
		for _, m := range messages(t, store.Log(p)) {
			if m.CommitID == "" {
				continue
			}
			c, err := domain.DecodeCommit(m.Data, p, m.Sequence)
			if err != nil {
				t.Fatalf("message %d of partition %d: %v", m.Sequence, p, err)
			}
			l.add(c)
		}
	}
	return l
}

func messages(t testing.TB, log domain.Log) []domain.Message {
	t.Helper()
	var all []domain.Message
	if err := log.Scan(testContext(t, 60*time.Second), 1, func(m domain.Message) error { all = append(all, m); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// count is how many records of the log fit.
func count(t testing.TB, store domain.Store, fits func(domain.Record) bool) int {
	t.Helper()
	n := 0
	for p := range store.Data().Partitions {
		for _, m := range messages(t, store.Log(p)) {
			c, err := domain.DecodeCommit(m.Data, p, m.Sequence)
			if err != nil {
				continue
			}
			for _, r := range c.Records {
				if fits(r) {
					n++
				}
			}
		}
	}
	return n
}

// Package scenario drives one task through the law and the reactors, without coordinator, log and clock: for the golden
// scripts beside it and for the tests of the law. It is what a partition's machine does, in its plainest form.
package scenario

import (
	"fmt"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers/discoverer"
	"github.com/tasker-go/tasker/subscribers/finalizer"
	"github.com/tasker-go/tasker/subscribers/reenqueuer"
)

// Start is the time at which every run begins.
const Start domain.Instant = 1_767_225_600_000_000 // 2026-01-01T00:00:00Z

// AllSlots is the number of slots that never run out.
const AllSlots = 1 << 30

// reactor is subscribers.Reactor.
type reactor interface {
	Name() string
	ReactsTo() []domain.EventType
	React(t *domain.Task, now domain.Instant, out []domain.Command) []domain.Command
}

// Run is the run of one task. One goroutine uses it.
type Run struct {
	Def   *domain.Definition
	Task  *domain.Task
	Now   domain.Instant
	Slots int
	// Log holds everything that has happened, each event at a sequence of its own.
	Log []domain.Record

	reactors [3]reactor
	discover *discoverer.Discoverer
	dirty    uint
	taken    int
}

// asks says by event type which reactors to ask.
var asks = func() map[domain.EventType]uint {
	asks := map[domain.EventType]uint{}
	for i, x := range New(nil, 0).reactors {
		for _, t := range x.ReactsTo() {
			asks[t] |= 1 << i
		}
	}
	return asks
}()

// New makes a run of a definition that has been validated. Submit is its first input.
func New(def *domain.Definition, slots int) *Run {
	r := &Run{Def: def, Now: Start, Slots: slots}
	r.restart()
	return r
}

// restart is what a new owner begins with: reactors that remember nothing.
func (r *Run) restart() {
	r.discover = discoverer.New(r)
	r.reactors = [...]reactor{reenqueuer.Reenqueuer{}, finalizer.Finalizer{}, r.discover} // the order of the engine
}

// Fork is a run that goes on from here on its own, with reactors that remember nothing and an empty log.
func (r *Run) Fork() *Run {
	f := &Run{Def: r.Def, Task: r.Task.Clone(), Now: r.Now, Slots: r.Slots}
	f.restart()
	return f
}

// Replay folds events that another run made, and settles.
func (r *Run) Replay(log []domain.Record) {
	for _, rec := range log {
		r.Now = max(r.Now, rec.At)
		domain.Evolve(r.Task, rec)
		r.Log = append(r.Log, rec)
	}
	r.settleAll()
	r.resume()
}

// ID is the id of every task of a run.
var ID = domain.KeyedTaskID("scenario", "task", "1")

// Submit creates the task.
func (r *Run) Submit(cmd domain.CreateTask) error {
	cmd.ID = ID
	created, err := domain.DecideCreate(r.Def, cmd, r.Now)
	if err != nil {
		return err
	}
	r.begin()
	for _, e := range cmd.Facts(created) {
		r.fold(e)
	}
	r.settle()
	return nil
}

// Do applies a command as one input: the events that it led to, and what the reactors made of them.
func (r *Run) Do(cmd domain.Command) (bool, error) {
	r.begin()
	events, err := domain.Decide(r.Task, cmd, r.Now, nil)
	if err != nil {
		return false, err
	}
	for _, e := range events {
		r.fold(e)
	}
	r.settle()
	r.resume()
	return len(events) > 0, nil
}

// Advance lets time pass, and does what comes due on the way at its time.
func (r *Run) Advance(d time.Duration) {
	end := r.Now.Add(d)
	for {
		wake := r.Task.NextWake()
		if wake == 0 || wake > end {
			break
		}
		r.Now = max(r.Now, wake)
		r.begin()
		r.settleAll()
		r.resume()
		if next := r.Task.NextWake(); next != 0 && next <= r.Now {
			panic("the task is due and nothing happens to it")
		}
	}
	r.Now = end
}

// Lose ends every execution, as the next owner does who loads the log after the process that ran them is gone.
func (r *Run) Lose() {
	r.restart()
	r.Task = Fold(r.Def, r.Log)
	r.begin()
	for _, x := range r.Task.Running() {
		lost := domain.FailStep{Step: x.Step, Attempt: x.Attempt, Error: domain.StepError{
			Kind: domain.KindWorkerLost, Message: "the process that ran it is gone",
		}}
		events, err := domain.Decide(r.Task, lost, r.Now, nil)
		if err != nil {
			panic(err)
		}
		for _, e := range events {
			r.fold(e)
		}
	}
	r.settleAll()
	r.resume()
}

// Cut takes the newest n events back, as if the log had never got them, and settles what is left.
func (r *Run) Cut(n int) {
	r.Log = r.Log[:len(r.Log)-n]
	r.Task = Fold(r.Def, r.Log)
	r.Now = r.Log[len(r.Log)-1].At
	r.restart()
	r.begin()
	r.settleAll()
	r.resume()
}

// Fold is the task that the records lead to.
func Fold(def *domain.Definition, log []domain.Record) *domain.Task {
	t := domain.NewTask(log[0], def)
	for _, rec := range log[1:] {
		domain.Evolve(t, rec)
	}
	return t
}

// Unsettled is what the reactors would still do: nothing, after every input.
func (r *Run) Unsettled() []domain.Command {
	t := r.Task.Clone()
	out := reenqueuer.Reenqueuer{}.React(t, r.Now, nil)
	out = finalizer.Finalizer{}.React(t, r.Now, out)
	for i := 0; i < len(out); i++ { // a command that leads to no event says what is said already
		if events, err := domain.Decide(t, out[i], r.Now, nil); err == nil && len(events) == 0 {
			out = append(out[:i], out[i+1:]...)
			i--
		}
	}
	return out
}

// Take is discoverer.Slots.
func (r *Run) Take(*domain.Definition, int) bool {
	if len(r.Task.Running())+r.taken >= r.Slots {
		return false
	}
	r.taken++
	return true
}

func (r *Run) begin() { r.dirty = 0 }

func (r *Run) fold(e domain.Event) {
	rec := domain.Record{Event: e, At: r.Now, Task: ID, Position: domain.Position{Sequence: uint64(len(r.Log) + 1)}}
	r.Log = append(r.Log, rec)
	if r.Task == nil {
		r.Task = domain.NewTask(rec, r.Def)
	} else {
		domain.Evolve(r.Task, rec)
	}
	r.dirty |= asks[e.Type()]
}

func (r *Run) settleAll() {
	r.dirty = 1<<len(r.reactors) - 1
	r.settle()
}

// settle asks the reactors, each only after an event that it declares, until none has anything to say.
func (r *Run) settle() {
	for rounds := 0; r.dirty != 0; rounds++ {
		if rounds > 100*len(r.Task.Steps)+100 {
			panic("the task never settles")
		}
		for i, x := range r.reactors {
			if r.dirty&(1<<i) == 0 {
				continue
			}
			r.dirty &^= 1 << i
			commands := x.React(r.Task, r.Now, nil)
			for _, cmd := range commands {
				r.must(cmd)
			}
			r.taken = 0
			if len(commands) > 0 {
				break // the first reactor comes first again
			}
		}
	}
}

// resume lets the discoverer use slots that have become free.
func (r *Run) resume() {
	if r.discover.Held() == 0 {
		return
	}
	r.discover.Resume(r.Now, func(domain.TaskID) *domain.Task { return r.Task }, func(_ *domain.Task, cmd domain.Command) {
		r.must(cmd)
		r.taken = 0
		r.settle()
	})
}

func (r *Run) must(cmd domain.Command) {
	events, err := domain.Decide(r.Task, cmd, r.Now, nil)
	if err != nil {
		panic(fmt.Sprintf("the engine's own %T was refused: %v", cmd, err))
	}
	for _, e := range events {
		r.fold(e)
	}
}

// Report hands in the end of the current execution of the named step: its result, or err when it is not nil.
func (r *Run) Report(step string, result string, failure *domain.StepError, after time.Duration) error {
	i := r.Def.Graph().Index(step)
	attempt := int(r.Task.Steps[i].Attempt)
	var err error
	if failure != nil {
		_, err = r.Do(domain.FailStep{Step: i, Attempt: attempt, Error: *failure, RetryAfter: after})
	} else {
		_, err = r.Do(domain.CompleteStep{Step: i, Attempt: attempt, Result: domain.Inline([]byte(result))})
	}
	return err
}

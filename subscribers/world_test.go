package subscribers

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
	"github.com/tasker-go/tasker/subscribers/discoverer"
	"github.com/tasker-go/tasker/subscribers/finalizer"
	"github.com/tasker-go/tasker/subscribers/reenqueuer"
)

const begin domain.Instant = 1_767_225_600_000_000 // 2026-01-01T00:00:00Z

// world is everything around a machine: a log, slots, a subscriber that remembers what it is told, a clock.
type world struct {
	t        *testing.T
	m        *Machine
	now      domain.Instant
	log      []domain.Commit // as stored; a foreign message has no id
	slots    int
	taken    int
	told     []domain.Record
	before   []domain.Moment // of told
	withdrew []domain.Record
	heard    []string // answers, in the order of their coming
	bytes    int      // of a commit
	extra    []Reactor
	maxKeys  int
	tap      Tap
	window   time.Duration // idempotency
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: begin, slots: 1 << 30}
	w.takeOver()
	w.store()
	return w
}

// takeOver loads what is stored into a new machine, and opens it.
func (w *world) takeOver() {
	w.t.Helper()
	state := projections.NewPartition(0)
	for _, c := range w.log {
		if c.ID == "" {
			state.Sequence = c.Sequence
			continue
		}
		if err := state.Apply(c); err != nil {
			w.t.Fatal(err)
		}
	}
	w.taken = 0
	w.m = NewMachine(MachineConfig{
		State: state, Writer: fmt.Sprintf("w%d", len(w.log)), CommitBytes: w.bytes, MaxKeys: w.maxKeys, Idempotency: w.window,
		Reactors:    append([]Reactor{reenqueuer.Reenqueuer{}, finalizer.Finalizer{}, discoverer.New(w)}, w.extra...),
		Subscribers: []Subscriber{w},
		Tap:         w.tap, Moments: true,
	})
	w.m.Open("test", 1, w.now)
}

// The world is the slots and a subscriber.

func (w *world) Take(*domain.Definition, int) bool {
	if w.taken >= w.slots {
		return false
	}
	w.taken++
	return true
}

func (*world) Name() string { return "world" }

func (*world) SubscribesTo() []domain.EventType {
	return []domain.EventType{
		domain.PartitionOpenedType, domain.TaskCreatedType, domain.TaskCompletedType, domain.TaskFailedType, domain.TaskCancelledType,
		domain.StepExecutionRequestedType, domain.StepCompletedType, domain.StepFailedType, domain.StepCancelledType, domain.TaskAnnotatedType,
	}
}

func (w *world) Notify(c Committed) {
	if w.m != nil && c.Record.Position.Sequence > w.m.stored {
		w.t.Errorf("%s was told before it was stored", c.Record.ID())
	}
	w.told, w.before = append(w.told, c.Record), append(w.before, c.Before)
}

func (w *world) Withdraw(c Committed) { w.withdrew = append(w.withdrew, c.Record) }

// store acknowledges messages until nothing is under way.
func (w *world) store() {
	w.t.Helper()
	for w.storeOne() {
	}
}

// storeOne appends the next message and acknowledges it; false when there is none.
func (w *world) storeOne() bool {
	w.t.Helper()
	if !w.send() {
		return false
	}
	w.keep()
	w.m.Stored()
	return true
}

// send puts the next message under way; true when there is one.
func (w *world) send() bool {
	_, ok := w.m.Inflight()
	if !ok {
		_, ok = w.m.Next()
	}
	return ok
}

// keep puts the message under way into the log.
func (w *world) keep() {
	w.t.Helper()
	a, ok := w.m.Inflight()
	if !ok || a.Last != uint64(len(w.log)) {
		w.t.Fatalf("an append behind %d, and the log ends at %d", a.Last, len(w.log))
	}
	c, err := domain.DecodeCommit(a.Data, 0, a.Last+1)
	if err != nil {
		w.t.Fatal(err)
	}
	if c.ID != a.CommitID {
		w.t.Fatalf("commit %s says that it is %s", a.CommitID, c.ID)
	}
	w.log = append(w.log, c)
}

// foreign stores somebody else's message where the one under way should be.
func (w *world) foreign() {
	w.log = append(w.log, domain.Commit{Sequence: uint64(len(w.log) + 1)})
	w.m.Moved()
}

func (w *world) say(format string, args ...any) {
	w.heard = append(w.heard, fmt.Sprintf(format, args...))
}

func (w *world) replyTo(what string) func(Answer) {
	return func(a Answer) {
		w.say("%s: created=%t changed=%t at=%d err=%v", what, a.Created, a.Changed, a.Position.Sequence, a.Err)
	}
}

func (w *world) heardNothing() {
	w.t.Helper()
	if len(w.heard) > 0 || len(w.told) > 0 {
		w.t.Fatalf("an effect left before its commit: %q %v", w.heard, types(w.told))
	}
}

func (w *world) forget() { w.heard, w.told, w.before, w.withdrew = nil, nil, nil, nil }

func (w *world) expect(heard ...string) {
	w.t.Helper()
	if fmt.Sprintf("%q", w.heard) != fmt.Sprintf("%q", heard) {
		w.t.Fatalf("heard %q\nwant  %q", w.heard, heard)
	}
	w.heard = nil
}

func types(records []domain.Record) []domain.EventType {
	var list []domain.EventType
	for _, r := range records {
		list = append(list, r.Event.Type())
	}
	return list
}

func count(records []domain.Record, t domain.EventType) int {
	n := 0
	for _, r := range records {
		if r.Event.Type() == t {
			n++
		}
	}
	return n
}

func taskID(n int) domain.TaskID {
	id := domain.TaskID{0: 0x01, 1: 0x9b, 6: 0x70, 8: 0x80}
	id[14], id[15] = byte(n>>8), byte(n)
	return id
}

// chain is a definition of steps that follow each other.
func chain(t *testing.T, change func(*domain.Definition), names ...string) *domain.Definition {
	t.Helper()
	d := &domain.Definition{Name: "chain"}
	for i, name := range names {
		s := domain.StepTemplate{Name: name, Handler: name}
		if i > 0 {
			s.DependsOn = []string{names[i-1]}
		}
		d.Steps = append(d.Steps, s)
	}
	if change != nil {
		change(d)
	}
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	return d
}

// fan is a definition of n steps that depend on nothing.
func fan(t *testing.T, n int) *domain.Definition {
	t.Helper()
	d := &domain.Definition{Name: "fan"}
	for i := range n {
		d.Steps = append(d.Steps, domain.StepTemplate{Name: fmt.Sprintf("step%05d", i), Handler: "work"})
	}
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	return d
}

func (w *world) submit(d *domain.Definition, n int) domain.TaskID {
	id := taskID(n)
	w.m.Submit(d, domain.CreateTask{ID: id, Context: domain.Inline(json.RawMessage("{}"))}, w.now, w.replyTo(fmt.Sprintf("submit %d", n)))
	return id
}

func (w *world) complete(id domain.TaskID, step, attempt int) {
	w.m.Report(id, domain.CompleteStep{Step: step, Attempt: attempt, Result: domain.Inline(json.RawMessage(`"ok"`))}, w.now)
}

func (w *world) fail(id domain.TaskID, step, attempt int, kind domain.ErrorKind) {
	w.m.Report(id, domain.FailStep{Step: step, Attempt: attempt, Error: domain.StepError{Kind: kind, Message: "no"}}, w.now)
}

func (w *world) do(what string, id domain.TaskID, cmd domain.Command) {
	w.m.Do(id, cmd, domain.ByOperator, w.now, w.replyTo(what))
}

// advance lets time pass, and what is due happen.
func (w *world) advance(d time.Duration) {
	w.now = w.m.Now(w.now.Add(d))
	w.m.Tick(w.now)
}

// history is the task's stored records, found by prev from its newest commit.
func (w *world) history(id domain.TaskID, last uint64) []domain.Record {
	w.t.Helper()
	var all []domain.Record
	for at := last; at != 0; {
		c := w.log[at-1]
		var own []domain.Record
		for _, r := range c.Records {
			if r.Task == id {
				own = append(own, r)
			}
		}
		if len(own) == 0 {
			w.t.Fatalf("the history of %s leads to message %d, which is not about it", id, at)
		}
		all = append(own, all...)
		at = own[0].Prev
	}
	if len(all) == 0 || all[0].Event.Type() != domain.TaskCreatedType {
		w.t.Fatalf("the history of %s begins with %v", id, types(all))
	}
	return all
}

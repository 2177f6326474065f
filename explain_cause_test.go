package tasker_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/subscribers/executor"
	"github.com/tasker-go/tasker/taskertest"
)

// cause brings a reason about, and says of what.
type cause struct {
	reason domain.Reason
	change func(*tasker.Config)
	play   func(s *stage) (id tasker.TaskID, step string)
}

var causes = []cause{
	{domain.ReasonNoOwner, nil, func(s *stage) (tasker.TaskID, string) {
		id := s.submit("waits")
		s.ask = s.client()
		s.Stop()
		return id, ""
	}},
	{domain.ReasonLoading, nil, func(s *stage) (tasker.TaskID, string) {
		id := s.submit("retries")
		s.Stop()
		slow := &faulty{Store: s.store.Store}
		read := make(chan struct{})
		slow.scan.Store(&read)
		other := s.another(slow)
		s.undo = append([]func(){func() { close(read) }}, s.undo...)
		s.Settle()
		s.ask = other
		return id, ""
	}},
	{domain.ReasonClosed, nil, func(s *stage) (tasker.TaskID, string) {
		id := s.submit("waits")
		s.Stop()
		s.store.Foreign(0, "torn", []byte(`{"v":1,"id":"torn","at":`))
		s.ask = s.another(s.store)
		s.Settle()
		return id, ""
	}},
	{domain.ReasonLogAway, nil, func(s *stage) (tasker.TaskID, string) {
		id := s.submit("retries")
		s.store.Faults(0).Down(true)
		s.undo = append(s.undo, func() { s.store.Faults(0).Down(false) })
		s.Advance(time.Hour + 10*time.Second) // the retry is due, and its commit is not acknowledged
		return id, ""
	}},
	{domain.ReasonStoreFull, nil, func(s *stage) (tasker.TaskID, string) {
		id := s.submit("retries")
		s.store.Faults(0).Decide(func(uint64, string) memlog.Fate { return memlog.Full })
		s.undo = append(s.undo, func() { s.store.Faults(0).Decide(nil) })
		s.Advance(time.Hour + 10*time.Second)
		return id, ""
	}},
	{domain.ReasonLeaseStale, func(c *tasker.Config) { c.LeaseTTL = 10 * time.Second }, func(s *stage) (tasker.TaskID, string) {
		id := s.submit("retries")
		s.store.keepsNot.Store(true)
		s.undo = append(s.undo, func() { s.store.keepsNot.Store(false) })
		s.Advance(9 * time.Second) // more than two thirds of its time, and less than all of it
		return id, ""
	}},
	{domain.ReasonEngineDrains, func(c *tasker.Config) { c.Slots = 1 }, func(s *stage) (tasker.TaskID, string) {
		s.submit("holds")
		id := s.submit("well")
		other, stopped := s.Engine.Engine, make(chan struct{})
		go func() { defer close(stopped); s.Stop() }()
		s.undo = append(s.undo, func() { <-stopped })
		s.Settle()
		s.ask = other
		return id, ""
	}},
	{domain.ReasonTaskFrozen, nil, func(s *stage) (tasker.TaskID, string) {
		id := s.submit("waits")
		task := s.MustTask(id)
		s.Stop()
		s.store.Foreign(0, "new-1", fmt.Appendf(nil, `{"v":1,"id":"new-1","at":"2000-01-01T00:10:00Z","tasks":[{"task":"%s","prev":%d,"events":[{"type":"task.exploded","data":{}}]}]}`,
			id, s.lastOf(task)))
		s.Restart()
		return id, ""
	}},
	{domain.ReasonTaskEnded, nil, func(s *stage) (tasker.TaskID, string) { return s.submit("well"), "" }},
	{domain.ReasonTaskFailed, nil, func(s *stage) (tasker.TaskID, string) { return s.submit("fails"), "" }},
	{domain.ReasonDeadline, nil, func(s *stage) (tasker.TaskID, string) {
		id := s.submit("late")
		s.Advance(time.Minute)
		return id, ""
	}},
	{domain.ReasonTaskExpired, func(c *tasker.Config) { c.ErrorRetention = time.Hour }, func(s *stage) (tasker.TaskID, string) {
		id := s.submit("fails")
		s.Advance(2 * time.Hour)
		return id, ""
	}},
	{domain.ReasonTaskPaused, nil, func(s *stage) (tasker.TaskID, string) {
		id := s.submit("waits")
		s.must(s.Pause(s.t.Context(), id, tasker.By{Actor: "ann"}))
		return id, ""
	}},
	{domain.ReasonStopped, nil, func(s *stage) (tasker.TaskID, string) {
		id := s.submit("stops")
		close(s.hold) // a is over, and c could be started
		s.Settle()
		return id, "c"
	}},
	{domain.ReasonAboutToMove, func(c *tasker.Config) { c.Slots = 1 }, func(s *stage) (tasker.TaskID, string) {
		s.submit("holds")
		id := s.submit("well")
		free := func() { close(s.hold); s.Settle() } // between the look at the task and that at the slots
		s.store.read.Store(&free)
		return id, ""
	}},
	{domain.ReasonStepRunning, nil, func(s *stage) (tasker.TaskID, string) { return s.submit("waits"), "" }},
	{domain.ReasonWorkerSilent, nil, func(s *stage) (tasker.TaskID, string) {
		id := s.submit("silent")
		s.Advance(40 * time.Minute)
		return id, ""
	}},
	{domain.ReasonStepSleeping, nil, func(s *stage) (tasker.TaskID, string) { return s.submit("sleeps"), "" }},
	{domain.ReasonBackoff, nil, func(s *stage) (tasker.TaskID, string) { return s.submit("retries"), "" }},
	{domain.ReasonNoHandler, nil, func(s *stage) (tasker.TaskID, string) { return s.submit("someday"), "" }},
	{domain.ReasonNoSlot, func(c *tasker.Config) { c.Slots = 1 }, func(s *stage) (tasker.TaskID, string) {
		s.submit("holds")
		return s.submit("well"), ""
	}},
	{domain.ReasonNoHandlerSlot, func(c *tasker.Config) { c.SlotsPerHandler = map[string]int{"few": 1} }, func(s *stage) (tasker.TaskID, string) {
		s.submit("few")
		return s.submit("few"), ""
	}},
	{domain.ReasonHandlerLeaks, nil, func(s *stage) (tasker.TaskID, string) {
		for range executor.MaxLeaked {
			s.MustSubmit("deaf", nil)
		}
		s.Advance(time.Minute) // all have timed out, and go on all the same
		return s.submit("deaf"), ""
	}},
	{domain.ReasonParents, nil, func(s *stage) (tasker.TaskID, string) { return s.submit("waits"), "two" }},
	{domain.ReasonParentFailed, nil, func(s *stage) (tasker.TaskID, string) { return s.submit("fails"), "two" }},
	{domain.ReasonParentGone, nil, func(s *stage) (tasker.TaskID, string) {
		id := s.submit("waits")
		s.must(s.CancelStep(s.t.Context(), id, "one", tasker.By{Actor: "ann"}))
		return id, "two"
	}},
	{domain.ReasonStepFailed, nil, func(s *stage) (tasker.TaskID, string) { return s.submit("fails"), "one" }},
	{domain.ReasonStepCancelled, nil, func(s *stage) (tasker.TaskID, string) {
		id := s.submit("waits")
		s.must(s.CancelStep(s.t.Context(), id, "one", tasker.By{Actor: "ann"}))
		return id, "one"
	}},
	{domain.ReasonStepOver, nil, func(s *stage) (tasker.TaskID, string) { return s.submit("well"), "one" }},
}

func TestEveryReasonIsFoundWhenItIsCausedAndItsCommandIsAccepted(t *testing.T) {
	for _, c := range causes {
		t.Run(string(c.reason), func(t *testing.T) {
			store := &faulty{Store: memlog.New(memlog.Options{})}
			change := []func(*tasker.Config){func(config *tasker.Config) { config.Store = store }}
			if c.change != nil {
				change = append(change, c.change)
			}
			taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
				s := &stage{Engine: e, t: t, store: store, hold: make(chan struct{})}
				s.plays()
				defer func() {
					select {
					case <-s.hold:
					default:
						close(s.hold)
					}
					for _, undo := range s.undo {
						undo()
					}
				}()
				id, step := c.play(s)
				if s.ask == nil {
					s.ask = s.Engine.Engine
				}
				x := explained(t, s.ask, id, step, c.reason)
				s.proves(x)
				s.carriesOut(x)
			}, change...)
		})
	}
}

// proves: the explanation has a text, says what moves it or that nothing need, and its evidence is an event of the task.
func (s *stage) proves(x *tasker.Explanation) {
	s.t.Helper()
	if x.Text == "" {
		s.t.Error("there is no text")
	}
	if x.Evidence == "" {
		return
	}
	at, err := domain.ParsePosition(x.Evidence)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := s.client().Event(s.t.Context(), at)
	if err != nil || r.Task != x.Task {
		s.t.Errorf("the evidence %s is an event of task %s, error %v", x.Evidence, r.Task, err)
	}
}

// carriesOut does what the explanation says, which has to change something.
func (s *stage) carriesOut(x *tasker.Explanation) {
	s.t.Helper()
	if strings.Contains(x.Hint, "tasker task fork "+x.Task.String()) {
		if r, err := s.Fork(s.t.Context(), x.Task, tasker.ForkOptions{By: tasker.By{Actor: "ann"}}); err != nil || !r.Created {
			s.t.Errorf("%s: %+v, %v", x.Hint, r, err)
		}
	}
	if x.Verb == nil {
		switch x.Reason { //nolint:exhaustive // the others need a way on
		case domain.ReasonTaskEnded, domain.ReasonStepOver, domain.ReasonStepCancelled, domain.ReasonStepRunning, domain.ReasonParents,
			domain.ReasonAboutToMove, domain.ReasonLoading, domain.ReasonEngineDrains, domain.ReasonLeaseStale, domain.ReasonStepSleeping:
		default:
			if x.Fix == "" && x.Hint == "" {
				s.t.Error("it does not say what to do")
			}
		}
		return
	}
	var receipt tasker.VerbReceipt
	var err error
	ctx, by := s.t.Context(), tasker.By{Actor: "ann", Reason: "as explained"}
	switch v := x.Verb.(type) { //nolint:gochecksumtype // those that explanations name
	case domain.RetryTask:
		receipt, err = s.Retry(ctx, x.Task, by)
	case domain.ResolveTask:
		receipt, err = s.Resolve(ctx, x.Task, by)
	case domain.ResumeTask:
		receipt, err = s.Resume(ctx, x.Task, by)
	case domain.CancelTask:
		receipt, err = s.Cancel(ctx, x.Task, by)
	case domain.RetryStep:
		receipt, err = s.RetryStep(ctx, x.Task, v.Step, tasker.StepRetry{}, by)
	case domain.ResolveStep:
		receipt, err = s.ResolveStep(ctx, x.Task, v.Step, nil, by)
	case domain.CancelStep:
		receipt, err = s.CancelStep(ctx, x.Task, v.Step, by)
	case domain.FinishStep:
		receipt, err = s.CompleteStep(ctx, x.Task, v.Step, nil, by)
	default:
		s.t.Fatalf("the verb %T is unknown here", v)
	}
	if err != nil || !receipt.Changed {
		s.t.Errorf("%s changes %v, error %v", x.Fix, receipt.Changed, err)
	}
}

func TestAnAnswerThatLacksAPositionIsExplained(t *testing.T) {
	store := &faulty{Store: memlog.New(memlog.Options{})}
	engine, _ := indexed(t, tasker.Config{Store: store, Index: filepath.Join(t.TempDir(), "index.db")})
	first := buy(t, engine, "ann", false)
	if _, err := engine.FindTasks(soon(t, 20*time.Second), tasker.TaskQuery{}, first.Position); err != nil {
		t.Fatal(err)
	}
	goOn := make(chan struct{})
	store.follow.Store(&goOn)
	second := buy(t, engine, "bob", false)
	_, err := engine.FindTasks(soon(t, 200*time.Millisecond), tasker.TaskQuery{}, second.Position)
	x := engine.ExplainBehind(t.Context(), err)
	if x == nil || x.Reason != domain.ReasonIndexBehind || x.Evidence != second.Position.String() || x.Hint == "" ||
		!strings.Contains(x.Text, "the index has read partition 00 up to message ") || !strings.Contains(x.Text, " behind") {
		t.Errorf("while the index is held up: %+v, error %v", x, err)
	}
	close(goOn)
	store.follow.Store(nil)
	if _, err := engine.FindTasks(soon(t, 20*time.Second), tasker.TaskQuery{}, second.Position); err != nil {
		t.Error(err)
	}
	ahead := second.Position
	ahead.Sequence += 1000
	_, err = engine.FindTasks(soon(t, 100*time.Millisecond), tasker.TaskQuery{}, ahead)
	if x = engine.ExplainBehind(t.Context(), err); x == nil || !strings.Contains(x.Text, "nothing is stored at that position") {
		t.Errorf("of what is not stored: %+v, error %v", x, err)
	}
	if x := engine.ExplainBehind(t.Context(), tasker.ErrNoIndex); x != nil {
		t.Errorf("of another error: %+v", x)
	}
}

// Whoever adds a reason has to cause it.
func TestNoReasonIsWithoutACause(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "domain/explain.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	caused := map[domain.Reason]bool{domain.ReasonIndexBehind: true} // TestAnAnswerThatLacksAPositionIsExplained
	for _, c := range causes {
		if caused[c.reason] {
			t.Errorf("%s is caused twice", c.reason)
		}
		caused[c.reason] = true
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "Reason" {
			return true
		}
		name, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if found++; err != nil || !caused[domain.Reason(name)] {
			t.Errorf("nothing causes %s, error %v", name, err)
		}
		return true
	})
	if found != len(caused) {
		t.Errorf("%d reasons are declared, %d are caused", found, len(caused))
	}
}

package domain

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	_ "github.com/tasker-go/tasker/internal/sameseed"
)

// ref computes SEMANTICS 2, 4 and 5 by loops over the steps, from the text and from nothing else of the package.
type ref struct{ *Task }

func (r ref) optional(i int) bool { return r.Definition.Steps[i].Optional }

func (r ref) failedForGood(i int) bool { return r.Steps[i].State == Error && r.Steps[i].WakeAt == 0 }

func (r ref) hasRetryAt(i int) bool { return r.Steps[i].State == Error && r.Steps[i].WakeAt != 0 }

func (r ref) over(i int) bool {
	return slices.Contains([]State{Complete, Cancelled, ResolvedManually}, r.Steps[i].State) || r.failedForGood(i)
}

// satisfies: a parent satisfies its children when it is complete or resolved_manually, or optional and over.
func (r ref) satisfies(i int) bool {
	s := r.Steps[i].State
	return s == Complete || s == ResolvedManually || r.optional(i) && r.over(i)
}

func (r ref) count(is func(i int) bool) int {
	n := 0
	for i := range r.Steps {
		if is(i) {
			n++
		}
	}
	return n
}

func (r ref) stopTriggered() bool {
	return r.Definition.OnFailure == Stop && r.count(func(i int) bool { return !r.optional(i) && r.failedForGood(i) }) > 0
}

// wouldBeReady is "ready" without what is asked of the task.
func (r ref) wouldBeReady(i int) bool {
	s, tpl := r.Steps[i], r.Definition.Steps[i]
	limit := tpl.RetryLimit
	if s.More != nil && s.More.RetryLimit > 0 {
		limit = s.More.RetryLimit
	}
	for _, name := range tpl.DependsOn {
		for p := range r.Definition.Steps {
			if r.Definition.Steps[p].Name == name && !r.satisfies(p) {
				return false
			}
		}
	}
	return s.State == Pending && int(s.Executions) < limit && (s.Executions == 0 || !tpl.NotRetryable) && !r.stopTriggered()
}

func (r ref) live() bool { return r.State == Pending || r.State == InProgress }

func (r ref) ready(i int) bool { return r.wouldBeReady(i) && r.live() && !r.Paused }

func (r ref) context() ExecutionContext {
	in := func(states ...State) int {
		return r.count(func(i int) bool { return slices.Contains(states, r.Steps[i].State) })
	}
	c := ExecutionContext{
		Total: len(r.Steps), Pending: in(Pending), InProgress: in(InProgress), Completed: in(Complete, ResolvedManually),
		Ready:     r.count(r.ready),
		Failed:    r.count(func(i int) bool { return !r.optional(i) && r.Steps[i].State == Error }),
		Cancelled: r.count(func(i int) bool { return !r.optional(i) && r.Steps[i].State == Cancelled }),
		Blocked:   r.count(func(i int) bool { return !r.optional(i) && r.failedForGood(i) }),
		Tolerated: r.count(func(i int) bool {
			return r.optional(i) && r.over(i) && r.Steps[i].State != Complete && r.Steps[i].State != ResolvedManually
		}),
	}
	c.CompletionPercentage = math.Round(100*float64(c.Completed)/float64(c.Total)*100) / 100
	retrying := r.count(r.hasRetryAt)
	waits := retrying > 0 && !r.stopTriggered()
	satisfied := r.count(r.satisfies)
	switch {
	case slices.Contains([]State{Complete, Cancelled, ResolvedManually}, r.State):
		c.Status, c.Action = "finished", "none"
	case c.Ready > 0:
		c.Status, c.Action = "has_ready_steps", "execute_ready_steps"
	case c.InProgress > 0:
		c.Status, c.Action = "processing", "wait_for_completion"
	// A pause holds a live task only, and a retry that stop holds back is not one that a pause holds.
	case r.live() && r.Paused && (r.count(r.wouldBeReady) > 0 || waits):
		c.Status, c.Action = "paused", "resume"
	case r.live() && waits:
		c.Status, c.Action = "waiting_for_retry", "wait_for_retry"
	// A failed task is handled by an operator, whatever its steps say: one whose deadline passed may have none to blame.
	case c.Cancelled > 0 || c.Blocked > 0 || r.State == Error:
		c.Status, c.Action = "blocked_by_failures", "handle_failures"
	case satisfied == c.Total:
		c.Status, c.Action = "all_complete", "finalize_task"
	default:
		c.Status, c.Action = "unclear", "inspect"
	}
	proceeds := c.Ready > 0 || c.InProgress > 0 || waits
	switch {
	case c.Status == "unclear":
		c.Health = "unknown"
	case c.Failed == 0 && c.Cancelled == 0:
		c.Health = "healthy"
	case (c.Cancelled > 0 || c.Blocked > 0) && !proceeds:
		c.Health = "blocked"
	default:
		c.Health = "recovering"
	}
	return c
}

// check compares everything that the counters answer with the reference.
func (r ref) check(t interface{ Errorf(string, ...any) }, what any) bool {
	ok := true
	fail := func(format string, args ...any) { ok = false; t.Errorf(format, args...) }
	if got, want := r.ExecutionContext(), r.context(); got != want {
		fail("%+v:\ngot  %+v\nwant %+v", what, got, want)
	}
	if got, want := r.Status(), r.context().Status; got != want {
		fail("%+v: status %s, want %s", what, got, want)
	}
	for i := range r.Steps {
		if r.Ready(i) != r.ready(i) {
			fail("%+v: step %d is ready: %v", what, i, r.Ready(i))
		}
	}
	var at Instant
	step := -1
	if r.live() && !r.Paused && !r.stopTriggered() {
		for i, s := range r.Steps {
			if r.hasRetryAt(i) && (step < 0 || s.WakeAt < at) {
				at, step = s.WakeAt, i
			}
		}
	}
	if gotAt, gotStep := r.NextRetry(); gotAt != at || (gotStep < 0) != (step < 0) {
		fail("%+v: next retry %v of %d, want %v of %d", what, gotAt, gotStep, at, step)
	}
	recounted := r.Clone()
	recounted.recount()
	if recounted.counts != r.counts {
		fail("%+v: counts %+v, recounted %+v", what, r.counts, recounted.counts)
	}
	for i := range r.Steps {
		if recounted.Steps[i].open != r.Steps[i].open {
			fail("%+v: step %d has %d open parents, recounted %d", what, i, r.Steps[i].open, recounted.Steps[i].open)
		}
	}
	return ok
}

// stepVariants are the ways in which a step can be, as far as a context can tell.
var stepVariants = []Step{
	{State: Pending, Round: 1},
	{State: Pending, Round: 1, Executions: 1},
	{State: InProgress, Round: 1},
	{State: Complete, Round: 1},
	{State: Complete, Round: 1, Skipped: true},
	{State: Error, Round: 1, Executions: 1, WakeAt: taskTime + 5},
	{State: Error, Round: 1, Executions: 2},
	{State: Cancelled, Round: 1},
	{State: ResolvedManually, Round: 1},
}

func TestContextOfEverySmallTask(t *testing.T) {
	graphs := [][][]string{
		{nil}, {nil, nil}, {nil, {"a"}}, {nil, nil, {"a", "b"}}, {nil, {"a"}, {"b"}}, {nil, {"a"}, {"a"}}, {nil, nil, nil},
	}
	tried, statuses, healths := 0, map[ExecutionStatus]int{}, map[Health]int{}
	for _, graph := range graphs {
		n := len(graph)
		kinds := 3 // required, optional, final
		if n == 3 {
			kinds = 2
		}
		for _, onFailure := range []OnFailure{FinishBranches, Stop} {
			for kind := range pow(kinds, n) {
				def := &Definition{Name: "context", OnFailure: onFailure}
				for i, parents := range graph {
					k := kind / pow(kinds, i) % kinds
					def.Steps = append(def.Steps, StepTemplate{
						Name: string(rune('a' + i)), Handler: "h", DependsOn: parents, RetryLimit: 2, Optional: k == 1, NotRetryable: k == 2,
					})
				}
				if err := def.Validate(); err != nil {
					t.Fatal(err)
				}
				v := NewTask(Record{Event: TaskCreated{}, At: taskTime}, def)
				for which := range pow(len(stepVariants), n) {
					for i := range v.Steps {
						v.Steps[i] = stepVariants[which/pow(len(stepVariants), i)%len(stepVariants)]
					}
					v.recount()
					for _, state := range States {
						for _, paused := range []bool{false, true} {
							v.State, v.Paused = state, paused
							if c := (ref{v}).context(); v.ExecutionContext() != c || v.Status() != c.Status {
								if !(ref{v}).check(t, v.Steps) {
									t.Fatalf("%v %v paused %v kind %d", onFailure, state, paused, kind)
								}
							}
							c := v.ExecutionContext()
							tried, statuses[c.Status], healths[c.Health] = tried+1, statuses[c.Status]+1, healths[c.Health]+1
						}
					}
				}
			}
		}
	}
	t.Log(tried, "tasks:", statuses, healths)
	for status, action := range actions {
		if statuses[status] == 0 && status != StatusWaitingForDependencies || action == "" {
			t.Errorf("no task was %s", status)
		}
	}
}

func pow(base, n int) int {
	p := 1
	for range n {
		p *= base
	}
	return p
}

func TestUnclearIsReachedByHandOnly(t *testing.T) {
	def := &Definition{Name: "unclear", Steps: []StepTemplate{{Name: "a", Handler: "h"}}}
	if err := def.Validate(); err != nil {
		t.Fatal(err)
	}
	v := NewTask(Record{Event: TaskCreated{}, At: taskTime}, def)
	v.Steps[0].Executions = 3 // pending with its executions used up: no event leads here
	v.recount()
	c := v.ExecutionContext()
	if c.Status != StatusUnclear || c.Action != ActionInspect || c.Health != HealthUnknown {
		t.Errorf("%+v", c)
	}
}

func TestPercentageIsRoundedToTwoPlaces(t *testing.T) {
	def := &Definition{Name: "percentage", Steps: []StepTemplate{{Name: "a", Handler: "h"}, {Name: "b", Handler: "h"}, {Name: "c", Handler: "h"}}}
	if err := def.Validate(); err != nil {
		t.Fatal(err)
	}
	v := NewTask(Record{Event: TaskCreated{}, At: taskTime}, def)
	for i, want := range []float64{33.33, 66.67, 100} {
		v.Steps[i].State = Complete
		v.recount()
		if got := v.ExecutionContext().CompletionPercentage; got != want {
			t.Errorf("%d of 3: %v, want %v", i+1, got, want)
		}
	}
}

// anyDAG draws a definition of up to six steps with every option that matters to a context.
func anyDAG(rt *rapid.T) *Definition {
	def := &Definition{Name: "dag", OnFailure: rapid.SampledFrom([]OnFailure{FinishBranches, Stop}).Draw(rt, "on_failure")}
	for i := range rapid.IntRange(1, 6).Draw(rt, "steps") {
		tpl := StepTemplate{
			Name: string(rune('a' + i)), Handler: rapid.SampledFrom([]string{"h", SleepHandler}).Draw(rt, "handler"),
			RetryLimit: rapid.IntRange(1, 3).Draw(rt, "limit"), Optional: rapid.Bool().Draw(rt, "optional"),
			NotRetryable: rapid.Bool().Draw(rt, "final"), Skippable: true,
		}
		if tpl.Handler == SleepHandler {
			tpl.Wait = 1000
		}
		for p := range i {
			if rapid.Bool().Draw(rt, "edge") {
				tpl.DependsOn = append(tpl.DependsOn, string(rune('a'+p)))
			}
		}
		def.Steps = append(def.Steps, tpl)
	}
	if err := def.Validate(); err != nil {
		rt.Fatal(err)
	}
	return def
}

func TestEvolveIsTotalAndItsCountersAreARecount(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		def := anyDAG(rt)
		v := NewTask(Record{Event: TaskCreated{BypassSteps: []string{"a", "nobody"}}, At: taskTime}, def)
		step := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "", "nobody", "a\x00"})
		at := rapid.SampledFrom([]Instant{0, -1, taskTime, taskTime + 1, taskTime + 2, math.MaxInt64, math.MinInt64})
		for range rapid.IntRange(0, 60).Draw(rt, "events") {
			name, when := step.Draw(rt, "step"), at.Draw(rt, "when")
			attempt := rapid.SampledFrom([]int{-1, 0, 1, 2, 3, math.MaxInt32, math.MaxInt32 + 1, math.MaxInt, math.MinInt}).Draw(rt, "attempt")
			if i := def.Graph().Index(name); i >= 0 && rapid.Bool().Draw(rt, "right attempt") {
				attempt = int(v.Steps[i].Attempt)
				if v.Steps[i].State == Pending {
					attempt++
				}
			}
			kind := rapid.SampledFrom([]ErrorKind{"", KindError, KindWorkerLost, KindDeadline, "mine"}).Draw(rt, "kind")
			e := rapid.SampledFrom([]Event{
				TaskCreated{}, TaskStartRequested{}, TaskReenqueued{}, TaskDelayed{Until: when}, TaskCompleted{}, TaskFailed{},
				TaskRetryRequested{Deadline: when}, TaskCancelled{}, TaskResolvedManually{}, TaskPaused{}, TaskResumed{}, TaskAnnotated{},
				PartitionOpened{}, PartitionSkipped{}, DefinitionAdopted{}, Unknown{},
				StepExecutionRequested{Step: name, Attempt: attempt}, StepExecutionRequested{Step: name, Attempt: attempt},
				StepExecutionRequested{Step: name, Attempt: attempt, Until: when}, StepCompleted{Step: name, Attempt: attempt},
				StepFailed{Step: name, Attempt: attempt, Error: StepError{Kind: kind}, RetryAt: when},
				StepFailed{Step: name, Attempt: attempt, Error: StepError{Kind: kind}},
				StepRetryRequested{Step: name, NewRound: attempt%2 == 0, RetryLimit: attempt},
				StepCancelled{Step: name}, StepResolvedManually{Step: name}, StepSkipped{Step: name}, StepInherited{Step: name, Resolved: attempt%2 == 0},
				StepCheckpointed{Step: name, Attempt: attempt, Cursor: []byte(`1`)}, StepProgressed{Step: name, Attempt: attempt},
				StepLogAppended{Step: name, Attempt: attempt}, Custom{Step: name, Attempt: attempt}, Signal{Name: SignalHandle},
				rapid.SampledFrom([]Event{TaskExpired{}, TaskResumed{}, TaskStartRequested{}}).Draw(rt, "rare"),
			}).Draw(rt, "event")
			before := v.Clone()
			Evolve(v, Record{Event: e, At: when})
			for i := range v.Steps {
				switch s, was := v.Steps[i], before.Steps[i]; {
				case s.Attempt < was.Attempt:
					rt.Fatalf("%+v: attempt %d of step %d goes back to %d", e, was.Attempt, i, s.Attempt)
				case s.State == InProgress && was.State != InProgress && s.Attempt <= was.Attempt:
					rt.Fatalf("%+v: attempt %d of step %d begins again", e, s.Attempt, i)
				case was.State.Ended() && s.State != was.State:
					rt.Fatalf("%+v: step %d was %s and became %s", e, i, was.State, s.State)
				}
			}
			if before.State.Ended() && v.State != before.State {
				rt.Fatalf("%+v: the task was %s and became %s", e, before.State, v.State)
			}
			if !(ref{v}).check(rt, e) {
				rt.FailNow()
			}
			// Whatever is ready has been offered since the task was last asked.
			offered := v.Clone().TakeOffered()
			for i := range v.Steps {
				if v.Ready(i) && !before.Ready(i) && !slices.Contains(offered, int32(i)) {
					rt.Fatalf("%+v: step %d became ready and is not offered", e, i)
				}
			}
			if rapid.Bool().Draw(rt, "take") {
				v.TakeOffered()
			}
		}
	})
}

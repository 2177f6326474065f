package tasker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/taskertest"
)

// forker is who can fork: an engine, or a client in another process.
type forker interface {
	Fork(context.Context, tasker.TaskID, tasker.ForkOptions) (tasker.Receipt, error)
	TaskAt(context.Context, tasker.TaskID, tasker.Position) (*tasker.Task, error)
}

var (
	_ forker = (*tasker.Engine)(nil)
	_ forker = (*tasker.Client)(nil)
)

// parcelPost ships to an address that has to be right, and counts what ran.
type parcelPost struct {
	*taskertest.Engine
	t  *testing.T
	by forker
	mu sync.Mutex
	// ran is how often each step ran, by task and step.
	ran map[string]int
}

func (p *parcelPost) runs(task tasker.TaskView, step tasker.StepView) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ran[task.ID.String()+" "+step.Name]++
}

func (p *parcelPost) step(result func(tasker.TaskView) (any, error)) tasker.StepHandler {
	return tasker.StepHandlerFunc(func(_ context.Context, task tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
		p.runs(task, step)
		return result(task)
	})
}

func (p *parcelPost) workflow() *tasker.Workflow {
	ok := func(v any) tasker.StepHandler { return p.step(func(tasker.TaskView) (any, error) { return v, nil }) }
	return tasker.Define("parcel").Deadline(time.Hour).
		Schema(`{"type":"object","properties":{"address":{"type":"string"},"speed":{"default":"slow"}},"required":["address"]}`).
		Step("weigh", ok(map[string]int{"grams": 700})).
		Step("pay", ok(strings.Repeat("r", 3000)), tasker.After("weigh")).
		Step("label", ok(strings.Repeat("l", 150_000)), tasker.After("weigh"), tasker.Skippable()).
		Step("ship", p.step(func(task tasker.TaskView) (any, error) {
			if !strings.Contains(string(task.Context), "Right Street") {
				return nil, tasker.Permanent(errors.New("no such street"))
			}
			return "on its way", nil
		}), tasker.After("pay", "label")).
		Step("tell", tasker.StepHandlerFunc(func(ctx context.Context, task tasker.TaskView, all tasker.Sequence, step tasker.StepView) (any, error) {
			p.runs(task, step)
			pay, err := all.Find(ctx, "pay")
			if err != nil {
				return nil, err
			}
			label, err := all.Find(ctx, "label")
			return fmt.Sprint(len(pay.Result), " ", len(label.Result)), err
		}), tasker.After("ship")).MustBuild()
}

func parcels(t *testing.T, test func(p *parcelPost)) {
	t.Helper()
	for _, who := range []string{"engine", "client"} {
		t.Run(who, func(t *testing.T) {
			store := memlog.New(memlog.Options{Partitions: 2}) // the fork is mostly in another one than the task
			taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
				p := &parcelPost{Engine: e, t: t, by: e.Engine, ran: map[string]int{}}
				e.MustRegister(p.workflow())
				if who == "client" {
					client, err := tasker.NewClient(t.Context(), tasker.Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
					if err != nil {
						t.Fatal(err)
					}
					defer client.Close()
					p.by = client
				}
				test(p)
			}, func(c *tasker.Config) { c.Store = store })
		})
	}
}

func (p *parcelPost) failed(options ...tasker.SubmitOption) tasker.TaskID {
	id := p.MustSubmit("parcel", map[string]string{"address": "Wrong Street 1"}, options...)
	p.MustFail(id)
	return id
}

func (p *parcelPost) fork(of tasker.TaskID, o tasker.ForkOptions) tasker.Receipt {
	p.t.Helper()
	r, err := p.by.Fork(p.t.Context(), of, o)
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

// at is the position of the task's nth event of that type and step.
func (p *parcelPost) at(id tasker.TaskID, line string) tasker.Position {
	p.t.Helper()
	for i, l := range p.Trace(id) {
		if l == line {
			return p.Records(id)[i].Position
		}
	}
	p.t.Fatalf("no %q in %v", line, p.Trace(id))
	return tasker.Position{}
}

func (p *parcelPost) want(what string, got, want any) {
	p.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		p.t.Errorf("%s (-want +got)\n%s", what, diff)
	}
}

var rightAddress = map[string]string{"address": "Right Street 2"}

func TestAForkGoesOnFromBeforeTheStepThatFailed(t *testing.T) {
	parcels(t, func(p *parcelPost) {
		id := p.failed(tasker.Tagged("eu"), tasker.From("ann", "shop", "order 7"), tasker.Correlated("c-7"))
		before := p.MustTask(id)
		at := p.at(id, "step.execution_requested ship 1")
		r := p.fork(id, tasker.ForkOptions{At: at, Context: rightAddress, Tags: []string{"mended"}, By: tasker.By{Actor: "bob", Reason: "the address was wrong"}})
		if !r.Created || r.ID == id || r.Position.Sequence == 0 {
			t := p.t
			t.Errorf("%+v", r)
		}
		result := p.MustWait(r.ID)
		p.want("result", string(result.Value), `{"tell":"3002 150002"}`)
		p.want("trace", p.Trace(r.ID), []string{
			"task.created", "step.inherited weigh", "step.inherited pay", "step.inherited label", "task.start_requested",
			"step.execution_requested ship 1", "step.completed ship 1", "step.execution_requested tell 1", "step.completed tell 1", "task.completed",
		})
		for _, step := range []string{"weigh", "pay", "label"} {
			p.want(step, p.ran[r.ID.String()+" "+step], 0)
		}
		fork := p.MustTask(r.ID)
		p.want("forked from", fork.ForkedFrom, &tasker.ForkedFrom{Task: id, Position: at})
		p.want("context", string(fork.Context), `{"address":"Right Street 2","speed":"slow"}`)
		p.want("described", []any{fork.Tags, fork.Initiator, fork.SourceSystem, fork.Reason, fork.Correlation},
			[]any{[]string{"eu", "mended"}, "ann", "shop", "the address was wrong", "c-7"})
		pay := p.MustStep(r.ID, "pay")
		p.want("pay", []any{pay.State, pay.Inherited, pay.Attempt, pay.Executions, len(pay.Result)}, []any{domain.Complete, true, 0, 0, 3002})
		p.want("ship", p.MustStep(r.ID, "ship").Inherited, false)
		p.want("the other task", p.MustTask(id), before)
		first := p.Records(r.ID)
		p.want("actor", first[0].Actor(), domain.Actor("operator:bob"))
		p.want("one message", first[3].Position.Sequence, first[0].Position.Sequence)
		p.want("from", first[2].Event.(domain.StepInherited).From, p.at(id, "step.completed pay 1"))
		if large := first[2].Event.(domain.StepInherited).Result; large.Blob == "" || large.JSON != nil {
			p.t.Errorf("a result of 3 kB stands in the event: %d bytes", len(large.JSON))
		}
	})
}

func TestAForkOfNowHasTheSameContextAndFailsInTheSameWay(t *testing.T) {
	parcels(t, func(p *parcelPost) {
		id := p.failed()
		r := p.fork(id, tasker.ForkOptions{})
		p.MustFail(r.ID)
		p.want("context", string(p.MustTask(r.ID).Context), string(p.MustTask(id).Context))
		p.want("position", p.MustTask(r.ID).ForkedFrom.Position, p.at(id, "task.failed"))
		p.want("what ran", []int{p.ran[r.ID.String()+" weigh"], p.ran[r.ID.String()+" ship"]}, []int{0, 1})

		again := p.fork(r.ID, tasker.ForkOptions{Context: rightAddress}) // a fork of a fork
		p.MustWait(again.ID)
		p.want("what ran", []int{p.ran[again.ID.String()+" pay"], p.ran[again.ID.String()+" ship"]}, []int{0, 1})
		p.want("from", p.Records(again.ID)[1].Event.(domain.StepInherited).From, p.at(r.ID, "step.inherited weigh"))
	})
}

func TestStepsThatAreToRunAgainTakeWhatIsBehindThemAlong(t *testing.T) {
	parcels(t, func(p *parcelPost) {
		id := p.MustSubmit("parcel", rightAddress, tasker.Bypass("label"))
		p.MustWait(id)
		_, err := p.by.Fork(p.t.Context(), id, tasker.ForkOptions{})
		refused := (*domain.RefusedError)(nil)
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), "nothing would run") || !strings.Contains(err.Error(), "name the steps to run again") {
			p.t.Errorf("a fork in which nothing would run: %v", err)
		}
		_, err = p.by.Fork(p.t.Context(), id, tasker.ForkOptions{Rerun: []string{"pay", "post"}})
		if unknown := (*domain.UnknownStepError)(nil); !errors.As(err, &unknown) || unknown.Step != "post" {
			p.t.Errorf("an unknown step: %v", err)
		}
		r := p.fork(id, tasker.ForkOptions{Rerun: []string{"pay"}})
		p.MustWait(r.ID)
		p.want("trace", p.Trace(r.ID)[:3], []string{"task.created", "step.inherited weigh", "step.inherited label"})
		p.want("skipped", p.MustStep(r.ID, "label").Skipped, true)
		p.want("pay", p.ran[r.ID.String()+" pay"], 1)
		p.want("behind it", []int{p.ran[r.ID.String()+" ship"], p.ran[r.ID.String()+" tell"]}, []int{1, 1})

		r = p.fork(id, tasker.ForkOptions{Rerun: []string{"label"}}) // is not skipped again
		p.MustWait(r.ID)
		p.want("label", []any{p.ran[r.ID.String()+" label"], p.MustStep(r.ID, "label").Skipped, p.MustStep(r.ID, "pay").Inherited}, []any{1, false, true})
	})
}

func TestAForkOfARunningTaskLeavesItAlone(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		release := make(chan struct{})
		e.MustRegister(tasker.Define("slow").Step("one", taskertest.Returns(1)).
			Step("two", tasker.StepHandlerFunc(func(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) {
				<-release
				return 2, nil
			}), tasker.After("one")).MustBuild())
		id := e.MustSubmit("slow", nil)
		e.Settle()
		r, err := e.Fork(t.Context(), id, tasker.ForkOptions{})
		if err != nil {
			t.Fatal(err)
		}
		e.Settle()
		for of, want := range map[tasker.TaskID]int{id: 1, r.ID: 0} {
			if task := e.MustTask(of); task.State != domain.InProgress || task.Steps[1].State != domain.InProgress || task.Steps[0].Attempt != want {
				t.Errorf("%+v", task)
			}
		}
		close(release)
		e.MustWait(id)
		e.MustWait(r.ID)
	})
}

func TestACancelledStepRunsInAFork(t *testing.T) {
	parcels(t, func(p *parcelPost) {
		id := p.failed()
		if _, err := p.CancelStep(p.t.Context(), id, "ship", ann); err != nil {
			p.t.Fatal(err)
		}
		_, err := p.Retry(p.t.Context(), id, ann)
		if err == nil || !strings.Contains(err.Error(), "resolve the task or fork it") {
			p.t.Fatalf("%v", err)
		}
		if _, err := p.Cancel(p.t.Context(), id, ann); err != nil {
			p.t.Fatal(err)
		}
		p.MustWait(p.fork(id, tasker.ForkOptions{Context: rightAddress}).ID)
	})
}

func TestAForkBeginsAnew(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(tasker.Define("x").Deadline(time.Hour).Step("a", taskertest.Returns("a")).
			Step("b", tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, s tasker.StepView) (any, error) {
				if s.Inputs != nil {
					return nil, tasker.Permanent(errors.New("inputs"))
				}
				return nil, errors.Join(s.Checkpoint(ctx, 7), tasker.Permanent(errors.New("b")))
			}), tasker.After("a")).
			Step("c", taskertest.Returns("c"), tasker.After("b")).MustBuild())
		id := e.MustSubmit("x", nil)
		e.MustFail(id)
		e.Advance(30 * time.Minute)
		if _, err := e.RetryStep(t.Context(), id, "b", tasker.StepRetry{RetryLimit: 9, Inputs: 1}, ann); err != nil {
			t.Fatal(err)
		}
		e.MustFail(id)
		if _, err := e.ResolveStep(t.Context(), id, "b", "by hand", ann); err != nil {
			t.Fatal(err)
		}
		e.MustWait(id)
		records := e.Records(id)
		fork := func(typ domain.EventType, n int) tasker.TaskID {
			t.Helper()
			for _, r := range records {
				if r.Event.Type() != typ {
					continue
				}
				if n--; n < 0 {
					got, err := e.Fork(t.Context(), id, tasker.ForkOptions{At: r.Position})
					if err != nil {
						t.Fatal(err)
					}
					return got.ID
				}
			}
			t.Fatal(typ)
			return id
		}
		again := fork(domain.TaskFailedType, 1)
		e.MustFail(again)
		task := e.MustTask(again)
		b := task.Steps[1]
		if b.Round != 1 || b.Attempt != 1 || b.RetryLimit == 9 || b.Inputs != nil || b.Error.Message != "b" || task.Round != 1 {
			t.Errorf("%+v", b)
		}
		if want := task.CreatedAt.Add(time.Hour); !task.Deadline.Equal(want) {
			t.Errorf("deadline %s, want %s", task.Deadline, want)
		}
		resolved := fork(domain.StepResolvedManuallyType, 0)
		e.MustWait(resolved)
		if b := e.MustStep(resolved, "b"); b.State != domain.ResolvedManually || !b.Inherited || string(b.Result) != `"by hand"` {
			t.Errorf("%+v", b)
		}
	})
}

func TestAForkWithAKeyIsMadeOnce(t *testing.T) {
	parcels(t, func(p *parcelPost) {
		id := p.failed()
		o := tasker.ForkOptions{Key: "mend", Context: rightAddress, Rerun: []string{"pay", "weigh"}}
		first := p.fork(id, o)
		p.MustWait(first.ID)
		o.Rerun = []string{"weigh", "pay"} // in whatever order
		second := p.fork(id, o)
		p.want("again", []any{second.ID, second.Created, first.Created}, []any{first.ID, false, true})
		for what, other := range map[string]tasker.ForkOptions{
			"context":  {Key: "mend", Rerun: o.Rerun},
			"rerun":    {Key: "mend", Context: rightAddress},
			"position": {Key: "mend", Context: rightAddress, Rerun: o.Rerun, At: p.at(id, "task.created")},
		} {
			r, err := p.by.Fork(p.t.Context(), id, other)
			if !errors.Is(err, tasker.ErrIdempotencyMismatch) || r.ID != first.ID {
				p.t.Errorf("another %s: %+v, %v", what, r, err)
			}
		}
		if r, err := p.by.Fork(p.t.Context(), first.ID, tasker.ForkOptions{Key: "mend", Rerun: []string{"tell"}}); err != nil || !r.Created || r.ID == first.ID {
			p.t.Errorf("the same key for another task: %+v, %v", r, err)
		}
		chosen := tasker.TaskID{1, 2, 3, 4, 5, 6, 0x70, 8, 0x80, 10}
		for n := range 2 {
			if r := p.fork(id, tasker.ForkOptions{ID: chosen}); r.ID != chosen || r.Created != (n == 0) {
				p.t.Errorf("%d: %+v", n, r)
			}
		}
	})
}

func TestAForkOfADefinitionThatWasReplacedRunsTheOldOne(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustHandle("first", taskertest.Returns("first"))
		e.MustHandle("second", taskertest.FailTimes(1, tasker.Permanent(errors.New("no")), "second"))
		e.MustHandle("third", taskertest.Returns("third"))
		apply := func(second string) {
			def, err := domain.ParseDefinition([]byte(`{"name":"moving","steps":[{"name":"a","handler":"first"},{"name":"b","handler":"` + second + `","depends_on":["a"]}]}`))
			if err == nil {
				err = e.Apply(t.Context(), def, true)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		apply("second")
		id := e.MustSubmit("moving", nil)
		e.MustFail(id)
		apply("third")
		r, err := e.Fork(t.Context(), id, tasker.ForkOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(e.MustWait(r.ID).Value); got != `{"b":"second"}` {
			t.Errorf("result %s", got)
		}
	})
}

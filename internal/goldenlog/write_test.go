package goldenlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/taskertest"
)

var write = flag.String("write", "", "write a new golden log of this name, such as v2; one that exists never changes")

// story is what an engine does, and what is done to it, so that its log has one of everything.
type story struct {
	*taskertest.Engine
	t *testing.T
}

var ann = tasker.By{Actor: "ann", Reason: "a golden log"}

func (s story) must(_ tasker.VerbReceipt, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

const nobody = "nobody is there"

// workflows are what the story runs. Those that the log leaves unfinished can be finished by the handlers of another
// process, which sets go.
func workflows(finish bool) []any {
	dummy := taskertest.Returns(map[string]bool{"dummy": true})
	failing := taskertest.Fails(errors.New(nobody))
	hangs := tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, _ tasker.StepView) (any, error) {
		if finish {
			return "done", nil
		}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	late := tasker.StepHandlerFunc(func(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) {
		if finish {
			return "done", nil
		}
		return nil, tasker.RetryAfter(10*time.Minute, errors.New(nobody))
	})
	once := tasker.StepHandlerFunc(func(_ context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
		if step.Attempt == 1 {
			return nil, errors.New(nobody)
		}
		return step.Attempt, nil
	})
	fixed := tasker.WithBackoff(tasker.Backoff{Strategy: domain.StrategyFixed, Base: 2 * time.Second, Jitter: domain.NoJitter})
	wide := tasker.Define("wide").Description(strings.Repeat("a definition that is too large to stand in the log as it is; ", 2400)).
		Step("one", dummy)
	return []any{
		tasker.Define("dummy_task").Step("step-one", dummy).Step("step-two", dummy).
			Step("step-three", dummy, tasker.After("step-two")).Step("step-four", dummy, tasker.After("step-three")).MustBuild(),
		tasker.Define("flaky").Step("call", once, fixed).MustBuild(),
		tasker.Define("failing").Deadline(time.Hour).Step("call", failing, tasker.Retries(1)).Step("after", dummy, tasker.After("call")).
			Step("beside", dummy, tasker.Optional()).MustBuild(),
		tasker.Define("long").Step("copy", tasker.StepHandlerFunc(long), tasker.Emits("copied")).MustBuild(),
		tasker.Define("nap").StepNamed("wait", domain.SleepHandler, tasker.HandlerConfig(map[string]string{"duration": "10s"})).
			Step("go", dummy, tasker.After("wait")).MustBuild(),
		tasker.Define("skips").Step("one", dummy, tasker.Skippable()).Step("two", dummy, tasker.After("one")).MustBuild(),
		tasker.Define("hangs").Step("one", hangs, tasker.Timeout(0)).Step("two", dummy, tasker.After("one")).MustBuild(),
		tasker.Define("late").Step("one", late).MustBuild(),
		tasker.Define("large").Step("one", taskertest.Returns(strings.Repeat("r", 200_000))).
			Step("two", taskertest.Returns(strings.Repeat("s", 2_000))).MustBuild(),
		tasker.Define("noted").Step("one", dummy).TaskHandler(notes{}).MustBuild(),
		wide.MustBuild(),
	}
}

// long says everything that a handler can say.
func long(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
	step.Progress(1, 2, "half")
	tasker.Log(ctx, "attempt %d", step.Attempt)
	time.Sleep(1500 * time.Millisecond)
	if err := errors.Join(step.Checkpoint(ctx, step.Attempt), step.Emit("copied", map[string]int{"attempt": step.Attempt})); err != nil {
		return nil, err
	}
	if step.Attempt == 1 {
		return nil, tasker.RetryAfter(time.Second, errors.New("the disk is full"))
	}
	step.Progress(2, 2, "")
	return "copied", nil
}

type notes struct{}

func (notes) UpdateAnnotations(context.Context, tasker.TaskView, tasker.Sequence, []tasker.StepView) ([]tasker.Annotation, error) {
	return []tasker.Annotation{{Kind: "count", Value: json.RawMessage(`{"steps":1}`)}}, nil
}

// tell runs the story. Its last tasks do not end.
func (s story) tell() {
	ctx := context.Background()
	s.MustRegister(workflows(false)...)
	s.MustWait(s.MustSubmit("dummy_task", map[string]bool{"dummy": true}, tasker.Tagged("eu", "vip"), tasker.Correlated("req-42"),
		tasker.From("ann", "shop", "order 7"), tasker.Key("golden")))
	for _, name := range []string{"flaky", "long", "nap", "large", "noted", "wide"} {
		input := any(nil)
		if name == "large" {
			input = map[string]string{"text": strings.Repeat("c", 150_000)}
		}
		s.MustWait(s.MustSubmit(name, input))
	}
	s.MustWait(s.MustSubmit("skips", nil, tasker.Bypass("one")))
	s.failures(ctx)
	s.operators(ctx)
	s.forks(ctx)

	// A message that is no commit closes the partition when the next engine loads it, until somebody skips it.
	s.Stop()
	foreign := s.Store.Foreign(0, "foreign", []byte("not a commit"))
	operator, err := tasker.NewClient(ctx, tasker.Config{Store: s.Store})
	if err != nil {
		s.t.Fatal(err)
	}
	defer operator.Close()
	skipped := make(chan error, 1)
	go func() {
		time.Sleep(time.Second)
		skipped <- operator.Skip(ctx, 0, foreign, ann)
	}()
	s.Restart() // is ready when it owns the partition
	if err := <-skipped; err != nil {
		s.t.Fatal(err)
	}

	// What runs when its process dies is lost, and runs again.
	dies := s.MustSubmit("hangs", map[string]int{"n": 1})
	s.Settle()
	s.Crash()
	s.Advance(2 * time.Minute)
	s.must(s.CompleteStep(ctx, dies, "one", "by hand", ann))
	s.MustWait(dies)

	// Unfinished, for the versions that come: running, waiting, paused, asleep, failed.
	s.MustSubmit("hangs", map[string]int{"n": 2})
	s.MustSubmit("late", nil)
	paused := s.MustSubmit("hangs", map[string]int{"n": 3})
	s.must(s.Pause(ctx, paused, ann))
	s.MustFail(s.MustSubmit("failing", map[string]int{"n": 9}))
	s.MustSubmit("nap", nil, tasker.Key("nap"))
	s.Settle()
}

// failures end in every way that a failed task can.
func (s story) failures(ctx context.Context) {
	failed := func(n int) tasker.TaskID {
		id := s.MustSubmit("failing", map[string]int{"n": n}, tasker.Key(fmt.Sprint("failing-", n)))
		s.MustFail(id)
		return id
	}
	again := failed(1)
	s.must(s.Retry(ctx, again, ann))
	s.MustFail(again)
	s.must(s.RetryStep(ctx, again, "call", tasker.StepRetry{RetryLimit: 2, Inputs: map[string]int{"amount": 7}}, ann))
	s.Advance(10 * time.Second)
	s.must(s.ResolveStep(ctx, again, "call", map[string]string{"by": "hand"}, ann))
	s.MustWait(again)
	s.must(s.Resolve(ctx, failed(2), ann))
	s.must(s.Cancel(ctx, failed(3), ann))
	failed(4)
	s.Advance(3 * time.Hour) // error_retention passes: it expires
}

// forks begin where tasks of every kind stood.
func (s story) forks(ctx context.Context) {
	fork := func(of tasker.TaskID, o tasker.ForkOptions) tasker.TaskID {
		r, err := s.Fork(ctx, of, o)
		if err != nil {
			s.t.Fatal(err)
		}
		return r.ID
	}
	s.MustWait(fork(s.MustWait(s.MustSubmit("skips", nil, tasker.Bypass("one"))).ID, tasker.ForkOptions{Rerun: []string{"two"}, By: ann}))
	s.MustWait(fork(s.MustWait(s.MustSubmit("large", nil)).ID, tasker.ForkOptions{Rerun: []string{"two"}, Key: "large", Tags: []string{"forked"}}))
	failed := s.MustSubmit("failing", map[string]int{"n": 10})
	s.MustFail(failed)
	s.must(s.ResolveStep(ctx, failed, "call", map[string]string{"by": "hand"}, ann))
	s.MustWait(failed)
	again := fork(failed, tasker.ForkOptions{Rerun: []string{"after"}, Context: map[string]int{"n": 11}})
	s.MustWait(fork(again, tasker.ForkOptions{Rerun: []string{"beside"}})) // a fork of a fork
	s.MustWait(again)
}

// operators act on what runs and waits.
func (s story) operators(ctx context.Context) {
	cancelled := s.MustSubmit("hangs", map[string]int{"n": 4})
	s.Settle()
	s.must(s.Annotate(ctx, cancelled, tasker.Annotation{Kind: "note", Step: "one", Value: json.RawMessage(`"it hangs"`)}, "ann"))
	s.must(s.Cancel(ctx, cancelled, ann))
	cut := s.MustSubmit("hangs", map[string]int{"n": 5})
	s.Settle()
	s.must(s.CancelStep(ctx, cut, "one", ann))
	s.MustFail(cut)
	waits := s.MustSubmit("late", map[string]int{"n": 6})
	s.Settle()
	s.must(s.Pause(ctx, waits, ann))
	s.must(s.Resume(ctx, waits, ann))
	s.must(s.ResolveStep(ctx, waits, "one", nil, ann))
	s.MustWait(waits)
}

// The test writes a log only when it is told to, and never one that exists.
func TestWrite(t *testing.T) {
	if *write == "" {
		t.Skip("only with -write NAME: see README.md")
	}
	path := "testdata/" + *write
	if _, err := os.Stat(path + ".jsonl"); err == nil {
		t.Fatalf("%s.jsonl exists: a golden log never changes", path)
	}
	var all []message
	short := func(c *tasker.Config) {
		c.ErrorRetention, c.Name, c.SnapshotBytes = 2*time.Hour, "golden", 1<<40
	}
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		story{e, t}.tell()
		err := e.Store.Log(0).Scan(context.Background(), 1, func(m domain.Message) error {
			line := message{Sequence: m.Sequence, CommitID: m.CommitID, Time: m.Time, Body: m.Data}
			if !json.Valid(m.Data) {
				line.Body, line.Garbage = nil, string(m.Data)
			}
			all = append(all, line)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}, short)
	var out bytes.Buffer
	for _, line := range all {
		lines := json.NewEncoder(&out)
		lines.SetEscapeHTML(false)
		if err := lines.Encode(line); err != nil {
			t.Fatal(err)
		}
	}
	commits := decode(t, all)
	state := encode(t, fold(t, commits, len(commits)))
	if t.Failed() {
		return
	}
	for name, text := range map[string][]byte{path + ".jsonl": out.Bytes(), path + ".state.json": state} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

package tasker

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

// A step that is started by the very commit with which a process becomes the owner may ask for the other steps before that
// process takes requests. It has to wait for a moment, not to fail.
func TestAHandlerWaitsForAnOwnerThatIsJustTakingOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		store := memlog.New(memlog.Options{})
		release := make(chan struct{})
		flow := Define("wide").
			Step("a", StepHandlerFunc(func(context.Context, TaskView, Sequence, StepView) (any, error) {
				<-release
				return "done", nil
			})).
			Step("b", StepHandlerFunc(func(context.Context, TaskView, Sequence, StepView) (any, error) { return "done", nil })).MustBuild()
		start := func() (*Engine, func()) {
			e, err := New(ctx, Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Register(flow); err != nil {
				t.Fatal(err)
			}
			running, stop := context.WithCancel(ctx)
			ended := make(chan error, 1)
			go func() { ended <- e.Run(running) }()
			synctest.Wait()
			return e, func() {
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
		}
		owner, stopOwner := start()
		next, stopNext := start() // finds the partition owned
		defer stopNext()
		r, err := owner.Submit(ctx, "wide", nil)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()

		type answer struct {
			steps []domain.StepView
			err   error
		}
		answers, given := make(chan answer, 1), make(chan answer, 1)
		go func() {
			steps, err := next.sequence(ctx, 0, r.ID)
			answers <- answer{steps, err}
		}()
		over, end := context.WithCancelCause(ctx)
		go func() {
			steps, err := next.sequence(over, 0, r.ID)
			given <- answer{steps, err}
		}()
		synctest.Wait()
		select {
		case a := <-answers:
			t.Fatalf("it did not wait: %+v", a)
		default:
		}
		lost := errors.New("the execution is over")
		end(lost)
		if a := <-given; !errors.Is(a.err, lost) {
			t.Errorf("at its end it got %v", a.err)
		}
		stopOwner() // step a is still running: the next owner starts it again
		if a := <-answers; a.err != nil || len(a.steps) != 2 || string(a.steps[1].Result) != `"done"` {
			t.Errorf("%+v", a)
		}
		close(release)
		if _, err := next.Wait(ctx, r.ID); err != nil {
			t.Error(err)
		}
	})
}

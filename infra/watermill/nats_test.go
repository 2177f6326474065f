package watermill_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/google/uuid"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/infra/watermill"
)

// patience is for anything on a real server.
const patience = 30 * time.Second

// ledger notes what a handler has done, by the ids of the events.
type ledger struct {
	mu    sync.Mutex
	times map[string]int
	last  map[domain.TaskID]domain.Position
	wrong []string
	ends  int // tasks whose end was handled
	full  chan struct{}
	want  int
}

func newLedger(want int) *ledger {
	return &ledger{times: map[string]int{}, last: map[domain.TaskID]domain.Position{}, full: make(chan struct{}), want: want}
}

func (l *ledger) handle(ctx context.Context, r *domain.Record) error {
	correlation := cqrs.OriginalMessageFromCtx(ctx).Metadata.Get(watermill.MetadataCorrelation)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times[r.ID()]++
	if before, ok := l.last[r.Task]; ok && !r.Task.IsZero() && !before.Less(r.Position) {
		l.wrong = append(l.wrong, fmt.Sprintf("%s came after %s", r.ID(), before))
	}
	l.last[r.Task] = r.Position
	if !r.Task.IsZero() && correlation != "for "+r.Task.String() {
		l.wrong = append(l.wrong, fmt.Sprintf("%s (%s) has the correlation %q", r.ID(), r.Event.Type(), correlation))
	}
	if r.Event.Type() == domain.TaskCompletedType {
		if l.ends++; l.ends == l.want {
			close(l.full)
		}
	}
	return nil
}

// process is a program of its own with a Bus in it.
func process(t *testing.T, config tasker.Config, l *ledger) (stop func()) {
	t.Helper()
	c, err := tasker.NewClient(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	b := newBus(t, c, watermill.BusConfig{Events: watermill.EventsConfig{
		Subscription: domain.Subscription{From: domain.FromBeginning}, CloseTimeout: patience,
	}})
	if err := b.Handle(cqrs.NewEventHandler("ledger", l.handle)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	through := make(chan error, 1)
	go func() { through <- b.Run(ctx) }()
	return func() {
		cancel()
		if err := <-through; err != nil {
			t.Errorf("Run: %v", err)
		}
		c.Close()
	}
}

func TestABusInAnotherProcessMissesNothingOfARealEngine(t *testing.T) {
	srv := natsservertest.Single(t)
	config := tasker.Config{Connect: srv.Connect, Logger: quiet}
	engine, err := tasker.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	flaky := tasker.StepHandlerFunc(func(_ context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
		if step.Attempt == 1 {
			return nil, tasker.RetryAfter(time.Millisecond, errors.New("no van"))
		}
		return nil, step.Emit("order.shipped", map[string]int{"van": 7})
	})
	if err := engine.Register(tasker.Define("order").Step("ship", flaky, tasker.Emits("order.shipped")).MustBuild()); err != nil {
		t.Fatal(err)
	}
	run, stopEngine := context.WithCancel(context.Background())
	through := make(chan error, 1)
	go func() { through <- engine.Run(run) }()
	defer func() {
		stopEngine()
		if err := <-through; err != nil {
			t.Error(err)
		}
	}()
	<-engine.Ready()

	const lives, each = 4, 50
	l := newLedger(lives * each)
	for life := 1; life <= lives; life++ {
		stop := process(t, config, l)
		for range each {
			v7, err := uuid.NewV7()
			if err != nil {
				t.Fatal(err)
			}
			id := tasker.TaskID(v7)
			if _, err := engine.Submit(t.Context(), "order", struct{}{}, tasker.WithID(id), tasker.Correlated("for "+id.String())); err != nil {
				t.Fatal(err)
			}
		}
		if life == lives {
			select {
			case <-l.full:
			case <-time.After(patience):
				t.Errorf("the ends of %d tasks were heard, want %d", l.ends, l.want)
			}
		}
		stop() // in the middle, but for the last
	}
	l.check(t, engine)
}

// check compares with what the log holds.
func (l *ledger) check(t *testing.T, engine *tasker.Engine) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.wrong[:min(len(l.wrong), 10)] {
		t.Error(w)
	}
	n := 0
	for r, err := range engine.Replay(t.Context(), tasker.ReplayOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if times := l.times[r.ID()]; times != 1 {
			t.Errorf("event %s (%s) was handled %d times", r.ID(), r.Event.Type(), times)
		}
	}
	if n < 9*l.want {
		t.Errorf("the log has only %d events", n)
	}
}

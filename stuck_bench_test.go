package tasker_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

// BenchmarkStuck asks what stands still among 240,000 tasks, and how long submissions wait meanwhile, at most.
func BenchmarkStuck(b *testing.B) {
	const tasks, clients = 240_000, 100
	e, err := tasker.New(b.Context(), tasker.Config{Store: memlog.New(memlog.Options{}), Logger: slog.New(slog.DiscardHandler), NoIntake: true, Drain: -1})
	if err != nil {
		b.Fatal(err)
	}
	fails := tasker.StepHandlerFunc(func(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) {
		return nil, tasker.Permanent(errors.New("no"))
	})
	nap := tasker.HandlerConfig(map[string]string{"duration": "10h"})
	if err := e.Register(
		tasker.Define("nap").StepNamed("a", domain.SleepHandler, nap).StepNamed("b", domain.SleepHandler, nap).
			StepNamed("c", "x", tasker.After("a")).StepNamed("d", "x", tasker.After("b")).MustBuild(),
		tasker.Define("fails").Step("a", fails).MustBuild(),
	); err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error)
	go func() { ended <- e.Run(ctx) }()
	defer func() { stop(); <-ended }()
	<-e.Ready()
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for i := range tasks / clients {
				name := "nap"
				if i%10 == 0 {
					name = "fails"
				}
				r, err := e.Submit(ctx, name, nil)
				if err == nil && i%2 == 1 {
					_, err = e.Pause(ctx, r.ID, tasker.By{})
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	quit, worst := make(chan struct{}), time.Duration(0)
	all.Go(func() {
		for next := time.NewTicker(time.Millisecond); ; {
			select {
			case <-quit:
				return
			case <-next.C:
			}
			began := time.Now()
			if _, err := e.Submit(ctx, "nap", nil); err != nil {
				b.Error(err)
			}
			worst = max(worst, time.Since(began))
		}
	})
	for b.Loop() {
		p, err := e.Stuck(ctx, tasker.StuckQuery{})
		if err != nil || len(p.Groups) != 2 || p.Groups[1].Tasks < tasks/2 {
			b.Fatalf("%v, error %v", lines(p), err)
		}
	}
	close(quit)
	all.Wait()
	b.ReportMetric(float64(worst.Microseconds())/1000, "ms-slowest-submit")
}

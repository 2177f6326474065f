package executor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Whatever happens to executions, each is reported at most once, every slot comes back, and nothing is remembered.
func TestEveryExecutionEndsOnceAndGivesItsSlotBack(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) { stress(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func stress(t *testing.T, dice *rand.Rand) {
	const steps = 300
	var templates []domain.StepTemplate
	for i := range steps {
		templates = append(templates, domain.StepTemplate{
			Name: fmt.Sprint("s", i), Handler: fmt.Sprint("h", i%3), Timeout: time.Duration(1+dice.IntN(20)) * time.Millisecond,
		})
	}
	b := newBench(t, Config{Slots: 40, PerHandler: map[string]int{"h1": 7}}, define(t, templates...))
	naps := make([]time.Duration, steps)
	for i := range naps {
		naps[i] = time.Duration(dice.IntN(25)) * time.Millisecond
	}
	var mu sync.Mutex
	ran := map[string]int{}
	for i := range 3 {
		b.register(fmt.Sprint("h", i), func(ctx context.Context, _ domain.TaskView, _ domain.Sequence, step domain.StepView) (any, error) {
			mu.Lock()
			ran[step.Name]++
			mu.Unlock()
			var n int
			_, _ = fmt.Sscanf(step.Name, "s%d", &n)
			if n%5 == 0 {
				time.Sleep(naps[n]) // deaf
				return nil, nil
			}
			select {
			case <-time.After(naps[n]):
				if n%7 == 0 {
					panic("seven")
				}
				return nil, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
	}
	free := make(chan struct{}, 1)
	b.exec.OnFree(func() {
		select {
		case free <- struct{}{}:
		default:
		}
	})
	for i := range steps {
		for !b.request(templates[i].Name) {
			<-free
		}
		switch dice.IntN(10) {
		case 0:
			b.commit(domain.StepCancelled{Step: templates[dice.IntN(i+1)].Name})
		case 1:
			time.Sleep(time.Duration(dice.IntN(5)) * time.Millisecond)
		case 2:
			if i == steps/2 {
				b.exec.CancelPartition(3)
			}
		}
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Duration(dice.IntN(30))*time.Millisecond)
	defer stop()
	b.exec.Drain(ctx)
	time.Sleep(time.Minute)
	b.drain()
	seen := map[int]bool{}
	for _, r := range b.reported() {
		var step int
		if cmd, ok := r.cmd.(domain.CompleteStep); ok {
			step = cmd.Step
		} else {
			step = r.cmd.(domain.FailStep).Step
		}
		if seen[step] {
			t.Errorf("step %d was reported twice", step)
		}
		seen[step] = true
	}
	st := b.exec.Stats()
	if uint64(len(seen)) != st.Completed+st.Failed || st.Executions != st.Completed+st.Failed+st.Cancelled || st.Leaked != 0 {
		t.Errorf("%d reports do not add up: %+v", len(seen), st)
	}
	for name, n := range ran {
		if n != 1 {
			t.Errorf("%s ran %d times", name, n)
		}
	}
	for i := range b.exec.active {
		if n := len(b.exec.active[i].running); n != 0 {
			t.Errorf("%d executions are remembered", n)
		}
	}
}

func TestExecutionsDoNotWaitForEachOther(t *testing.T) {
	const n = 500
	var steps []domain.StepTemplate
	for i := range n {
		steps = append(steps, domain.StepTemplate{Name: fmt.Sprint("s", i), Handler: "h"})
	}
	b := newBench(t, Config{}, define(t, steps...))
	var all sync.WaitGroup
	all.Add(n)
	b.register("h", func(context.Context, domain.TaskView, domain.Sequence, domain.StepView) (any, error) {
		all.Done()
		all.Wait() // until every one of them runs
		return nil, nil
	})
	for round := range 2 { // the second one finds idle workers
		for i := range n {
			b.request(steps[i].Name)
		}
		all.Wait()
		if round == 0 {
			for len(b.reported()) < n {
				<-time.After(time.Millisecond)
			}
			all.Add(n)
			for i := range n {
				b.commit(domain.StepFailed{Step: steps[i].Name, Attempt: 1})
				b.commit(domain.StepRetryRequested{Step: steps[i].Name})
			}
		}
	}
	b.drain()
	if got := len(b.reported()); got != 2*n {
		t.Errorf("%d reports", got)
	}
	if got := b.exec.workers.parked; got != 0 {
		t.Errorf("%d workers are still idle", got)
	}
}

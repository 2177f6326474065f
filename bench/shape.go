package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/tasker-go/tasker"
)

// shape is the workflow that is measured.
type shape struct {
	name  string
	steps int
	chain int // length of its longest path, when it is a chain
	build func(b *tasker.Builder, h tasker.StepHandler) *tasker.Builder
}

type result struct {
	Dummy bool `json:"dummy"`
}

// CheckShape says what is wrong with the name of a shape.
func CheckShape(text string) error {
	_, err := parseShape(text)
	return err
}

func parseShape(text string) (shape, error) {
	name, size, sized := strings.Cut(text, ":")
	n := 0
	if sized {
		var err error
		if n, err = strconv.Atoi(size); err != nil || n < 1 {
			return shape{}, fmt.Errorf("shape %q: %q is not a number of steps", text, size)
		}
	}
	after := tasker.After
	switch {
	case name == "dummy" && !sized:
		return shape{name: "dummy_task", steps: 4, build: func(b *tasker.Builder, h tasker.StepHandler) *tasker.Builder {
			return b.Step("step-one", h).Step("step-two", h).Step("step-three", h, after("step-two")).
				Step("step-four", h, after("step-three"))
		}}, nil
	case name == "diamond" && !sized:
		return shape{name: "diamond", steps: 7, build: func(b *tasker.Builder, h tasker.StepHandler) *tasker.Builder {
			return b.Step("start_workflow", h).
				Step("branch_one_process", h, after("start_workflow")).
				Step("branch_one_validate", h, after("branch_one_process")).
				Step("branch_two_process", h, after("start_workflow")).
				Step("branch_two_validate", h, after("branch_two_process")).
				Step("merge_branches", h, after("branch_one_validate", "branch_two_validate")).
				Step("end_workflow", h, after("merge_branches"))
		}}, nil
	case name == "fanout" && sized:
		return shape{name: "fan_out", steps: n + 2, build: func(b *tasker.Builder, h tasker.StepHandler) *tasker.Builder {
			b.Step("prepare", h)
			workers := make([]string, n)
			for i := range workers {
				workers[i] = fmt.Sprintf("worker-%d", i)
				b.StepNamed(workers[i], worker, after("prepare"))
			}
			return b.Step("join", h, after(workers...))
		}}, nil
	case name == "chain" && sized:
		return shape{name: "chain", steps: n, chain: n, build: func(b *tasker.Builder, h tasker.StepHandler) *tasker.Builder {
			b.Step("step-0", h)
			for i := 1; i < n; i++ {
				b.Step(fmt.Sprintf("step-%d", i), h, after(fmt.Sprintf("step-%d", i-1)))
			}
			return b
		}}, nil
	}
	return shape{}, fmt.Errorf("unknown shape %q: there are dummy, diamond, fanout:N and chain:N", text)
}

// worker is the handler that many steps share.
const worker = "bench-worker"

// register hands the workflow to the engine. A share of all steps fails for good.
func (s shape) register(e *tasker.Engine, failShare float64) error {
	var calls atomic.Int64
	every := int64(0)
	if failShare > 0 {
		every = int64(1 / failShare)
	}
	h := tasker.Handle(func(context.Context, result) (result, error) {
		if every > 0 && calls.Add(1)%(every*int64(s.steps)) == 0 {
			return result{}, tasker.Permanent(errors.New("one in so many fails"))
		}
		return result{Dummy: true}, nil
	})
	if err := e.Handler(worker, h); err != nil {
		return err
	}
	w, err := s.build(tasker.Define(s.name), h).Build()
	if err != nil {
		return err
	}
	return e.Register(w)
}

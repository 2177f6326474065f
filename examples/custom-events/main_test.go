package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/examples/internal/readme"
	"github.com/tasker-go/tasker/infra/yamldef"
	"github.com/tasker-go/tasker/taskertest"
)

// B30 end to end, on a real log: declared, emitted, stored with the outcome, heard by name and over NATS, by each listener
// once.
func TestB30READMEShowsWhatIsHeard(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	readme.Shows(t, out.String())
}

func TestEventThatIsNotDeclaredFailsTheStepThatEmitsIt(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		order, err := yamldef.Load("order.yaml", definition)
		if err != nil {
			t.Fatal(err)
		}
		e.MustHandle("pack", tasker.Handle(func(ctx context.Context, _ Order) (any, error) {
			return nil, tasker.Permanent(tasker.Emit(ctx, "order.shipped", nil)) // that is for ship to say
		}))
		e.MustHandle("ship", tasker.Handle(ship))
		e.MustRegister(order)
		s := e.When("order", Order{Order: 1}).ThenFail("pack").ThenEmitted()
		if got := e.MustStep(s.ID(), "pack").Error.Message; !strings.Contains(got, `"order.shipped" is declared neither by step "pack"`) {
			t.Errorf("it failed with %q", got)
		}
	})
}

func TestEventsOfTheEnginesOwnCannotBeDeclared(t *testing.T) {
	text := strings.Replace(string(definition), "order.delayed", "task.delayed", 1)
	_, err := yamldef.Load("order.yaml", []byte(text))
	if err == nil || !strings.Contains(err.Error(), `"task." is reserved`) {
		t.Errorf("the custom event task.delayed gave %v", err)
	}
}

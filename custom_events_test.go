package tasker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/taskertest"
)

// parcel emits what its step and its definition declare.
func parcel(end error) tasker.StepHandlerFunc {
	return func(_ context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
		err := errors.Join(step.Emit("order.shipped", map[string]any{"step": step.Name}), step.Emit("noted", nil))
		return nil, errors.Join(err, end)
	}
}

func customs(events []tasker.Event) []string {
	said := []string{}
	for _, e := range events {
		if c, ok := e.Event.(domain.Custom); ok {
			said = append(said, strings.TrimSpace(fmt.Sprintf("%s %s %d %s", c.Type(), c.Step, c.Attempt, c.Data)))
		}
	}
	return said
}

func TestCustomEventsReachWhoeverNamesThem(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(tasker.Define("order").CustomEvent("noted", "").
			Step("send", parcel(nil), tasker.Emits("order.shipped")).MustBuild())
		byName, byFamily, all, none, live := &listener{}, &listener{}, &listener{}, &listener{}, &listener{}
		tap, err := e.Tap([]tasker.EventType{"custom.noted"}, live.hear)
		if err != nil {
			t.Fatal(err)
		}
		defer tap.Stop()
		for name, l := range map[string]*listener{"name": byName, "family": byFamily, "all": all, "none": none} {
			types := map[string][]tasker.EventType{
				"name": {domain.CustomType("order.shipped")}, "family": {"custom.*"}, "none": {"custom.order.lost", "step.*"},
			}[name]
			defer attach(t, e, name, l, types...)()
		}
		id := e.MustSubmit("order", nil)
		e.MustWait(id)
		e.Settle()
		e.Restart() // subscribers end with their engine; the durable one that begins again hears nothing twice
		defer attach(t, e, "name", byName, domain.CustomType("order.shipped"))()
		e.Settle()
		shipped, noted := `custom.order.shipped send 1 {"step":"send"}`, `custom.noted send 1`
		for name, c := range map[string]struct {
			l    *listener
			want []string
		}{
			"by name": {byName, []string{shipped}}, "by family": {byFamily, []string{shipped, noted}},
			"without types": {all, []string{shipped, noted}}, "by another name": {none, []string{}}, "live": {live, []string{noted}},
		} {
			if diff := cmp.Diff(c.want, customs(c.l.events())); diff != "" {
				t.Errorf("%s: (-want +got)\n%s", name, diff)
			}
		}
		if diff := cmp.Diff([]string{shipped, noted}, customs(e.Records(id))); diff != "" {
			t.Errorf("stored: (-want +got)\n%s", diff)
		}
	})
}

func TestCustomEventsAreStoredInTheCommitOfTheReportAlsoWhenItFailed(t *testing.T) {
	for name, end := range map[string]error{"well": nil, "badly": tasker.Permanent(errors.New("no van"))} {
		t.Run(name, func(t *testing.T) {
			taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
				e.MustRegister(tasker.Define("order").CustomEvents("order.shipped", "noted").Step("send", parcel(end)).MustBuild())
				id := e.MustSubmit("order", nil)
				_, _ = e.Wait(context.Background(), id)
				records := e.Records(id)
				for i, r := range records {
					if _, ok := r.Event.(domain.Custom); !ok {
						continue
					}
					if r.Actor() != domain.ByHandler || r.Position.Sequence != records[i+1].Position.Sequence {
						t.Errorf("%s is by %s, and %s follows", r.ID(), r.Actor(), records[i+1].ID())
					}
				}
				outcome := domain.StepCompletedType
				if end != nil {
					outcome = domain.StepFailedType
				}
				if got := e.Events(id)[3:6]; got[0] != "custom.order.shipped" || got[1] != "custom.noted" || got[2] != outcome {
					t.Errorf("stored %v", got)
				}
				h, err := e.History(context.Background(), id)
				if err != nil {
					t.Fatal(err)
				}
				if x := h.Events[3]; x.Type != "custom.order.shipped" || x.Step != "send" || x.Cause != h.Events[2].ID || string(x.Data) != `{"data":{"step":"send"}}` {
					t.Errorf("history: %+v", x)
				}
			})
		})
	}
}

func TestAnEventThatIsNotDeclaredFailsTheStepOnlyIfTheHandlerSaysSo(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		var said error
		emits := func(pass bool) tasker.StepHandlerFunc {
			return func(_ context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
				if said = step.Emit("order.lost", nil); pass {
					return nil, tasker.Permanent(said)
				}
				return nil, nil
			}
		}
		e.MustRegister(tasker.Define("order").Step("quiet", emits(false)).Step("loud", emits(true), tasker.After("quiet")).
			Step("other", parcel(nil), tasker.After("loud"), tasker.Emits("order.lost", "order.shipped")).MustBuild())
		failed := e.MustFail(e.MustSubmit("order", nil))
		if len(failed.Steps) != 1 || failed.Steps[0] != "loud" || failed.Errors["loud"] != said.Error() {
			t.Errorf("failed: %+v", failed)
		}
		want := `event "order.lost" is declared neither by step "loud" nor by default.order@0.1.0: add it to custom_events`
		if said == nil || said.Error() != want {
			t.Errorf("Emit said %v", said)
		}
	})
}

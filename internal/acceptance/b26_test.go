package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/jsonschema"
	"github.com/tasker-go/tasker/infra/yamldef"
)

// taskersFile has every key that Tasker's files have; a test beside it says so.
const taskersFile = "../../infra/yamldef/testdata/tasker-everything.yaml"

// stub is a handler of that name, as it stands in the file.
func (w *world) stub(name string) tasker.StepHandler {
	return w.noting(tasker.StepHandlerFunc(func(ctx context.Context, task tasker.TaskView, sequence tasker.Sequence, step tasker.StepView) (any, error) {
		if step.Handler != name {
			return nil, tasker.Permanent(errors.New(step.Name + " wants " + step.Handler))
		}
		steps, err := sequence.Steps(ctx)
		if err != nil {
			return nil, err
		}
		seen := []string{}
		for _, s := range steps {
			if s.State == domain.Complete && !s.Skipped {
				seen = append(seen, s.Name)
			}
		}
		var input struct{ Gift bool }
		if err := json.Unmarshal(task.Context, &input); err != nil {
			return nil, err
		}
		return map[string]any{"config": step.Config, "system": step.DependentSystem, "seen": seen, "gift": input.Gift}, nil
	}))
}

// ran is what a stub returns.
type ran struct {
	Config map[string]any
	System string
	Seen   []string
	Gift   bool
}

func TestB26TaskersFilesRunWithStubHandlers(t *testing.T) {
	for environment, want := range map[string]struct {
		url, courier, system string
		parcels, weight      float64
		gift                 bool
	}{
		"":            {"https://warehouse.example/picks", "https://courier.example", "warehouse", 1, 30, false},
		"development": {"http://localhost:3000/picks", "https://courier.example", "warehouse", 1, 30, false},
		"production":  {"https://warehouse.example/picks", "https://express.example", "big_warehouse", 1, 60, true},
	} {
		t.Run("environment "+environment, func(t *testing.T) {
			both(t, func(w *world) {
				w.ignores(`"seen":\[[^]]*\]`) // steps that ran beside the one that looked may be over or not
				file, err := yamldef.ReadFile(taskersFile, yamldef.Options{Environment: environment})
				if err != nil {
					w.t.Fatal(err)
				}
				d := file.Definition
				w.add(d)
				for i := range d.Steps {
					w.handle(d.Steps[i].Handler, w.stub(d.Steps[i].Handler))
				}
				equal(w, "name", d.FullName(), "fulfilment.fulfilment_ship_order@2.1.0")
				in := tasker.InNamespace("fulfilment")
				_, err = w.Submit(context.Background(), d.Name, map[string]any{"order_id": "seven"}, in)
				var refused *jsonschema.ViolationsError
				if !errors.As(err, &refused) {
					w.t.Errorf("an input that the schema forbids gave %v", err)
				}
				id := w.submit(d.Name, map[string]any{"order_id": 7}, in, tasker.Bypass("insure_parcel"))
				w.helped(id)

				pick := w.resultOf(id, "pick_goods")
				equal(w, "url", pick.Config["url"], any(want.url))
				equal(w, "what all steps share", pick.Config["region"], any("eu"))
				limits := pick.Config["limits"].(map[string]any)
				equal(w, "parcels and weight", []any{limits["parcels"], limits["weight_kg"]}, []any{want.parcels, want.weight})
				equal(w, "default of the context", pick.Gift, want.gift)
				equal(w, "system", pick.System, want.system)
				book := w.resultOf(id, "book_courier")
				equal(w, "courier", []any{book.Config["url"], book.Config["token"]}, []any{want.courier, "${COURIER_TOKEN}"})
				equal(w, "courier's system", book.System, "courier")
				equal(w, "seen by pack_parcel", w.resultOf(id, "pack_parcel").Seen, []string{"pick_goods", "book_courier"})
				equal(w, "skipped", w.step(id, "insure_parcel").Skipped, true)
				if seen := w.resultOf(id, "hand_over").Seen; !slices.Contains(seen, "pack_parcel") {
					w.t.Errorf("hand_over saw only %v", seen)
				}
				for i := range d.Steps {
					calls := 1
					if d.Steps[i].Name == "insure_parcel" {
						calls = 0
					}
					equal(w, "calls of "+d.Steps[i].Name, len(w.of(id, d.Steps[i].Name)), calls)
				}
			})
		})
	}
}

// resultOf is what the stub of a step returned.
func (w *world) resultOf(id tasker.TaskID, step string) ran {
	w.t.Helper()
	var out ran
	if err := json.Unmarshal(w.step(id, step).Result, &out); err != nil {
		w.t.Fatalf("%s: %v", step, err)
	}
	return out
}

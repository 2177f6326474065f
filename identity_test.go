package tasker_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/taskertest"
)

// orders is a definition whose submissions have an identity.
func orders(version string, identity domain.Identity, schema string) *tasker.Definition {
	return &tasker.Definition{
		Name: "orders", Version: version, Identity: identity, Schema: []byte(schema),
		Steps: []domain.StepTemplate{{Name: "place", Handler: "place", Skippable: true}},
	}
}

func hashed(window time.Duration) domain.Identity {
	return domain.Identity{Strategy: domain.IdentityHash, Window: window}
}

type submitter interface {
	Submit(ctx context.Context, name string, input any, options ...tasker.SubmitOption) (tasker.Receipt, error)
}

func submit(t *testing.T, e submitter, input string, options ...tasker.SubmitOption) tasker.Receipt {
	t.Helper()
	r, err := e.Submit(t.Context(), "orders", json.RawMessage(input), options...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func client(t *testing.T, e *taskertest.Engine) *tasker.Client {
	t.Helper()
	c, err := tasker.NewClient(t.Context(), tasker.Config{Store: e.Store, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestTheSameContentWithinTheWindowIsTheSameTask(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(orders("1.0.0", hashed(time.Minute), `{"properties":{"n":{"default":1}}}`))
		e.MustHandle("place", taskertest.Returns("placed"))
		e.Advance(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute))) // a window begins
		c := client(t, e)
		const order = `{"id": 7, "lines": [1.0, {"b": 1, "a": 2}]}`
		first := submit(t, e, order)
		if !first.Created {
			t.Fatal("nothing was there before")
		}
		e.MustWait(first.ID)
		for name, r := range map[string]tasker.Receipt{
			"from the engine":      submit(t, e, order),
			"from a client":        submit(t, c, order),
			"written anew":         submit(t, c, `{"lines":[1,{"a":2,"b":1}],"id":7e0}`),
			"tags do not count":    submit(t, e, order, tasker.Tagged("urgent"), tasker.Correlated("x")),
			"nor does the version": submit(t, e, order, tasker.AtVersion("1.0.0")),
		} {
			if r.Created || r.ID != first.ID {
				t.Errorf("%s: %+v is another task", name, r)
			}
		}
		seen := map[tasker.TaskID]string{first.ID: "the first"}
		for name, r := range map[string]tasker.Receipt{
			"another context":   submit(t, e, `{"id": 8}`),
			"another reason":    submit(t, e, order, tasker.From("", "", "again")),
			"another initiator": submit(t, e, order, tasker.From("ann", "", "")),
			"another system":    submit(t, e, order, tasker.From("", "shop", "")),
			"bypass":            submit(t, e, order, tasker.Bypass("place")),
			"a key of its own":  submit(t, e, order, tasker.Key("mine")),
			"an id of its own":  submit(t, e, order, tasker.WithID(tasker.TaskID{0: 1, 6: 0x70, 8: 0x80, 15: 1})),
		} {
			if other, ok := seen[r.ID]; ok || !r.Created {
				t.Errorf("%s is the same task as %s", name, other)
			}
			seen[r.ID] = name
		}
		e.Advance(time.Minute)
		if r := submit(t, e, order); !r.Created {
			t.Error("in the next window it is the same task")
		}
	})
}

func TestAStaleClientLearnsTheIdentityFromTheOwner(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustHandle("place", taskertest.Returns("placed"))
		e.MustRegister(orders("1.0.0", domain.Identity{}, ""))
		c := client(t, e)
		if a, b := submit(t, c, "{}"), submit(t, c, "{}"); !b.Created || a.ID == b.ID {
			t.Fatal("without an identity, every submission is a task of its own")
		}
		if _, err := c.Definitions(t.Context()); err != nil { // it knows 1.0.0 for sure now
			t.Fatal(err)
		}
		e.MustRegister(orders("1.1.0", hashed(time.Hour), ""))
		if a, b := submit(t, c, "{}"), submit(t, c, "{}"); !a.Created || b.Created || a.ID != b.ID {
			t.Fatalf("the identity of 1.1.0 is not known: %+v %+v", a, b)
		}
		if a, b := submit(t, c, "{}", tasker.AtVersion("1.0.0")), submit(t, c, "{}", tasker.AtVersion("1.0.0")); !a.Created || !b.Created {
			t.Fatalf("that of 1.0.0 is another one: %+v %+v", a, b)
		}
		e.MustRegister(orders("1.2.0", domain.Identity{}, ""))
		if a, b := submit(t, c, "{}"), submit(t, c, "{}"); !a.Created || !b.Created {
			t.Fatalf("the identity is gone in 1.2.0: %+v %+v", a, b)
		}
	})
}

func TestAnIdentityThatIsAFunctionIsRefusedWhereTheFunctionIsNot(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustHandle("place", taskertest.Returns("placed"))
		e.MustRegister(orders("1.0.0", domain.Identity{Strategy: domain.IdentityCustom}, ""))
		for name, s := range map[string]submitter{"engine": e, "client": client(t, e)} {
			_, err := s.Submit(t.Context(), "orders", nil)
			var missing *tasker.NoIdentityError
			if !errors.As(err, &missing) || missing.Definition != "default.orders@1.0.0" {
				t.Errorf("%s: got %v", name, err)
			}
			if r := submit(t, s, "{}", tasker.Key(name)); !r.Created {
				t.Errorf("%s: a key is enough", name)
			}
		}
	})
}

func TestAChangedDefaultIsNoOtherInput(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustHandle("place", taskertest.Returns("placed"))
		e.MustRegister(orders("1.0.0", domain.Identity{}, `{"properties":{"priority":{"default":"low"}}}`))
		first := submit(t, e, `{"id":7,"n":1.50}`, tasker.Key("k"))
		e.MustRegister(orders("1.1.0", domain.Identity{}, `{"properties":{"priority":{"default":"high"},"colour":{"default":"red"}}}`))
		again := submit(t, e, ` {"n":1.5, "id":7}`, tasker.Key("k"))
		if again.Created || again.ID != first.ID {
			t.Fatalf("%+v, want the first task %s", again, first.ID)
		}
		if got := string(e.MustTask(first.ID).Context); !strings.Contains(got, `"low"`) || strings.Contains(got, "red") {
			t.Errorf("the stored context is %s", got)
		}
		for name, o := range map[string][]tasker.SubmitOption{
			`{"id":7,"n":1.5,"priority":"low"}`: nil, // what is said is another input than what is left out
			`{"id":8,"n":1.5}`:                  nil,
			`{"id":7,"n":1.5}`:                  {tasker.Bypass("place")},
		} {
			r, err := e.Submit(t.Context(), "orders", json.RawMessage(name), append(o, tasker.Key("k"))...)
			if !errors.Is(err, tasker.ErrIdempotencyMismatch) || r.Created || r.ID != first.ID {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
		}
	})
}

package tasker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/jsonschema"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/subscribers"
)

// refusals brings about every refusal of a verb, in an engine and through a client, and says the text of each.
func refusals(t *testing.T, id TaskID, say func(when string, err error)) {
	synctest.Test(t, func(t *testing.T) {
		store := memlog.New(memlog.Options{})
		quiet := slog.New(slog.DiscardHandler)
		engine, err := New(t.Context(), Config{Store: store, Logger: quiet, Drain: -1})
		if err != nil {
			t.Fatal(err)
		}
		if err := engine.Register(stuck); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- engine.Run(ctx) }()
		defer func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		<-engine.Ready()
		client, err := NewClient(ctx, Config{Store: store, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for _, c := range refusalCases {
			task, err := engine.Submit(ctx, "stuck", map[string]string{"how": c.task})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if c.first.Name != "" {
				if _, err := engine.do(ctx, task.ID, c.first, By{}); err != nil {
					t.Fatalf("%s: %v", c.when, err)
				}
				synctest.Wait()
			}
			receipt, err := engine.do(ctx, task.ID, c.verb, ann)
			if err == nil || receipt.Changed {
				t.Fatalf("%s: it was done: %+v", c.when, receipt)
			}
			_, remote := client.do(ctx, task.ID, c.verb, ann)
			if remote == nil || remote.Error() != err.Error() {
				t.Errorf("%s: a client is told %v, not %v", c.when, remote, err)
			}
			say(c.when, errors.New(strings.ReplaceAll(err.Error(), task.ID.String(), id.String())))
		}
	})
}

// stuck fails, runs on, or is complete, as its context says.
var stuck = Define("stuck").
	Step("pay", Handle(func(ctx context.Context, in struct{ How string }) (int, error) {
		switch in.How {
		case "failed":
			return 0, Permanent(errors.New("no"))
		case "running":
			<-ctx.Done()
		}
		return 1, nil
	})).
	Step("ship", Handle(func(context.Context, json.RawMessage) (int, error) { return 2, nil }), After("pay")).
	MustBuild()

var ann = By{"ann", "ticket 12"}

var refusalCases = []struct {
	when, task  string
	first, verb verb
}{
	{"cancel of a complete task", "well", verb{}, verb{Name: "cancel"}},
	{"retry of a complete task", "well", verb{}, verb{Name: "retry"}},
	{"resolve of a complete task", "well", verb{}, verb{Name: "resolve"}},
	{"resolve of a running task", "running", verb{}, verb{Name: "resolve"}},
	{"pause of a failed task", "failed", verb{}, verb{Name: "pause"}},
	{"retry of a task with a cancelled step", "running", verb{Name: "cancel_step", Step: "pay"}, verb{Name: "retry"}},
	{"retry of a running step", "running", verb{}, verb{Name: "retry_step", Step: "pay"}},
	{"retry of a cancelled step", "running", verb{Name: "cancel_step", Step: "pay"}, verb{Name: "retry_step", Step: "pay"}},
	{"resolve of a running step", "running", verb{}, verb{Name: "resolve_step", Step: "pay"}},
	{"resolve of a cancelled step", "running", verb{Name: "cancel_step", Step: "pay"}, verb{Name: "resolve_step", Step: "pay"}},
	{"complete of a pending step", "running", verb{}, verb{Name: "complete_step", Step: "ship"}},
	{"complete of a failed step", "failed", verb{}, verb{Name: "complete_step", Step: "pay"}},
	{"complete of a cancelled step", "running", verb{Name: "cancel_step", Step: "pay"}, verb{Name: "complete_step", Step: "pay"}},
	{"cancel of a step that was resolved", "failed", verb{Name: "resolve_step", Step: "pay"}, verb{Name: "cancel_step", Step: "pay"}},
	{"retry of a step of a task that was resolved", "failed", verb{Name: "resolve"}, verb{Name: "retry_step", Step: "pay"}},
	{"a step that does not exist", "running", verb{}, verb{Name: "cancel_step", Step: "send"}},
	{"a note about a step that does not exist", "running", verb{}, verb{Name: "annotate", Step: "send", Note: &noteRequest{"note", []byte("1")}}},
	{"a note without kind", "running", verb{}, verb{Name: "annotate", Note: &noteRequest{"", []byte("1")}}},
	{"a note without value", "running", verb{}, verb{Name: "annotate", Note: &noteRequest{"note", nil}}},
	{"a note that is no JSON", "running", verb{}, verb{Name: "annotate", Note: &noteRequest{"note", []byte(`"a`)}}},
	{"a negative retry limit", "failed", verb{}, verb{Name: "retry_step", Step: "pay", RetryLimit: -1}},
	{"inputs that are too large", "failed", verb{}, verb{Name: "retry_step", Step: "pay", Inputs: []byte(`"` + strings.Repeat("x", 128<<10) + `"`)}},
	{"a result that is too large", "failed", verb{}, verb{Name: "resolve_step", Step: "pay", Result: []byte(`"` + strings.Repeat("x", 16<<20) + `"`)}},
	{"a result that is no JSON", "failed", verb{}, verb{Name: "resolve_step", Step: "pay", Result: []byte(`{"a"}`)}},
	{"a verb of a newer version", "running", verb{}, verb{Name: "explode"}},
}

func TestAnActorStandsInOneLine(t *testing.T) {
	for _, name := range []string{"", "ann", "Ann Smith", `CORP\ann`, "ann@example.com", "änn"} {
		if err := checkActor(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{" ann", "ann\n", "ann\nbob", "\x00", "\xff", " "} {
		if checkActor(name) == nil {
			t.Errorf("%q was taken", name)
		}
	}
}

func TestTypedErrorsKeepTheirFieldsOnTheWayToAnotherProcess(t *testing.T) {
	id := TaskID{1, 6: 0x70, 8: 0x80}
	for _, err := range []error{
		&domain.TransitionError{Task: id, Step: "pay", From: domain.Error, To: domain.Complete, Hint: "resolve it"},
		&domain.RefusedError{Task: id, Reason: "nothing could run"},
		&domain.UnknownStepError{Task: id, Step: "send"},
		&InvalidVerbError{Reason: "the retry limit is -1"},
		&domain.BypassError{Definition: "default.order@1.0.0", Step: "pay", Reason: "is not skippable"},
		&DefinitionNotFoundError{Namespace: "default", Name: "ordr", Version: "2.0.0", Known: []string{"default.order@1.0.0"}},
		&jsonschema.ViolationsError{Violations: []jsonschema.Violation{{Path: "/a", Message: "is missing"}}},
		&subscribers.FrozenError{Task: id, Event: "step.teleported", Version: 2},
	} {
		text, failed := json.Marshal(toWire(fmt.Errorf("doing it: %w", err)))
		if failed != nil {
			t.Fatal(failed)
		}
		if strings.Contains(string(text), `"Task"`) || strings.Contains(string(text), `"Step"`) {
			t.Errorf("Go names on the wire: %s", text)
		}
		var wire wireError
		if err := json.Unmarshal(text, &wire); err != nil {
			t.Fatal(err)
		}
		got := wire.err()
		typed := reflect.New(reflect.TypeOf(err))
		if !errors.As(got, typed.Interface()) || !reflect.DeepEqual(typed.Elem().Interface(), err) || got.Error() != "doing it: "+err.Error() {
			t.Errorf("%T arrived as %v: %v", err, typed.Elem().Interface(), got)
		}
		if errors.Is(err, ErrUnknownStep) != errors.Is(got, ErrUnknownStep) {
			t.Errorf("%T: the sentinel is lost", err)
		}
	}
}

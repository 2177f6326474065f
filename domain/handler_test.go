package domain

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestAResultThatIsNotThereSaysWhy(t *testing.T) {
	for want, step := range map[string]StepView{
		`step has no result: step "a" was skipped`:                           {State: Complete, Skipped: true},
		`step has no result: step "a" failed: jam`:                           {State: Error, LastError: &StepError{Message: "jam"}},
		`step has no result: step "a" failed`:                                {State: Error},
		`step has no result: step "a" was cancelled`:                         {State: Cancelled},
		`step has no result: step "a" is resolved_manually without a result`: {State: ResolvedManually},
		`step has no result: step "a" is in_progress, and not over yet`:      {State: InProgress},
	} {
		step.Name = "a"
		if err := step.Decode(new(int)); !errors.Is(err, ErrNoResult) || err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
}

func TestAResultThatDoesNotFitIsAPermanentFailureThatNamesTypeAndField(t *testing.T) {
	type cart struct {
		Items int `json:"items"`
	}
	step := StepView{Name: "count", State: Complete, Result: json.RawMessage(`{"items":"three"}`)}
	err := step.Decode(&cart{})
	var f *Failure
	if !errors.As(err, &f) || f.Kind != KindPermanent {
		t.Fatalf("got %v, want a permanent failure", err)
	}
	const want = `the result of step "count" does not fit domain.cart: json: cannot unmarshal string into Go struct field cart.items of type int`
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) || wrong.Field != "items" {
		t.Errorf("the cause is lost: %v", err)
	}
}

package doctest_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/yamldef"
	"github.com/tasker-go/tasker/taskertest"
)

// The Go code of docs/from-ruby-tasker.md: what stands there stands here, and runs.

type refund struct{ bank bank }

func (r refund) Handle(ctx context.Context, _ tasker.TaskView, sequence tasker.Sequence, step tasker.StepView) (any, error) {
	validated, err := sequence.Find(ctx, "validate")
	if err != nil {
		return nil, err
	}
	var payment struct {
		ID     string
		Amount float64
	}
	var config struct{ Currency string }
	if err := errors.Join(validated.Decode(&payment), json.Unmarshal(step.Config, &config)); err != nil {
		return nil, tasker.Permanent(err)
	}
	receipt, err := r.bank.Refund(ctx, step.IdempotencyKey, payment.ID, payment.Amount, config.Currency)
	switch {
	case errors.Is(err, errBusy):
		return nil, tasker.RetryAfter(30*time.Second, err)
	case errors.Is(err, errRefused):
		return nil, &domain.Failure{Err: err, Kind: domain.KindPermanent, Code: "REFUSED"}
	}
	return receipt, err
}

type notes struct{}

func (notes) UpdateAnnotations(_ context.Context, _ tasker.TaskView, _ tasker.Sequence, completed []tasker.StepView) ([]tasker.Annotation, error) {
	count, err := json.Marshal(len(completed))
	return []tasker.Annotation{{Kind: "completed", Value: count}}, err
}

func register(engine *tasker.Engine, b bank, validate, notify tasker.StepHandler) error {
	definition, err := yamldef.LoadFile("testdata/refund.yaml")
	if err != nil {
		return err
	}
	workflow, err := tasker.Bind(definition, notes{})
	if err != nil {
		return err
	}
	return errors.Join(
		engine.Register(workflow),
		engine.Handler("Payments::Validate", validate),
		engine.Handler("Payments::Refund", refund{b}),
		engine.Handler("Payments::Notify", notify),
	)
}

var (
	errBusy    = errors.New("the bank is busy")
	errRefused = errors.New("the bank refuses")
)

// bank answers one refund after the other with these errors, then well.
type bank struct{ errs chan error }

func (b bank) Refund(_ context.Context, key, payment string, amount float64, currency string) (map[string]any, error) {
	select {
	case err := <-b.errs:
		return nil, err
	default:
		return map[string]any{"key": key != "", "payment": payment, "amount": amount, "currency": currency}, nil
	}
}

func TestTheExampleForThoseWhoComeFromRubyRuns(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		b := bank{make(chan error, 1)}
		validate := taskertest.Returns(map[string]any{"id": "p1", "amount": 12.5})
		if err := register(e.Engine, b, validate, taskertest.Returns("sent")); err != nil {
			t.Fatal(err)
		}
		submit := func() tasker.TaskID {
			return e.MustSubmit("payments_refund", map[string]string{"payment_id": "p1"}, tasker.InNamespace("payments"))
		}

		b.errs <- errBusy
		id := submit()
		e.MustWait(id)
		step := e.MustStep(id, "refund")
		var failed time.Time
		for _, r := range e.Records(id) {
			if _, ok := r.Event.(domain.StepFailed); ok {
				failed = r.At.Time()
			}
		}
		if wait := step.StartedAt.Sub(failed); step.Attempt != 2 || wait != 30*time.Second {
			t.Errorf("attempt %d after %s", step.Attempt, wait)
		}
		want := `{"amount":12.5,"currency":"EUR","key":true,"payment":"p1"}`
		if diff := cmp.Diff(want, string(step.Result)); diff != "" {
			t.Error(diff)
		}

		b.errs <- errRefused
		id = submit()
		e.MustFail(id)
		step = e.MustStep(id, "refund")
		if step.Attempt != 1 || step.Error.Kind != domain.KindPermanent || step.Error.Code != "REFUSED" {
			t.Errorf("attempt %d, %+v", step.Attempt, step.Error)
		}
		e.Settle()
		noted := 0
		for _, r := range e.Records(id) {
			if a, ok := r.Event.(domain.TaskAnnotated); ok && a.Kind == "completed" && string(a.Annotation) == "1" {
				noted++
			}
		}
		if noted != 1 {
			t.Errorf("%d notes", noted)
		}
	})
}

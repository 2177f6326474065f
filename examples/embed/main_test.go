package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/examples/internal/readme"
	"github.com/tasker-go/tasker/taskertest"
)

func TestREADMEShowsWhatIsPrinted(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, "", ""); err != nil {
		t.Fatal(err)
	}
	readme.Shows(t, out.String())
}

func TestOrderThatCannotBeChargedFailsAtOnce(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(orders())
		id := e.When("order", Order{"ada", 0}).ThenFail("charge").ID()
		if step := e.MustStep(id, "charge"); step.Attempt != 1 || step.Error.Kind != domain.KindPermanent {
			t.Errorf("charge: %+v", step)
		}
	})
}

func TestOrdersAreCountedOnceAcrossACrash(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(orders())
		totals := newTotals()
		attach := func() (stop func()) {
			return start(context.Background(), func(ctx context.Context) error {
				return e.Attach(ctx, "totals", []tasker.EventType{domain.TaskCompletedType}, totals.handle,
					tasker.AttachOptions{From: tasker.FromBeginning})
			})
		}
		stop := attach()
		e.MustWait(e.MustSubmit("order", Order{"ada", 4200}))
		e.Settle()
		stop()
		e.Crash()
		stop = attach()
		defer stop()
		e.MustWait(e.MustSubmit("order", Order{"grace", 100}))
		e.Advance(time.Second)
		totals.mu.Lock()
		defer totals.mu.Unlock()
		if totals.completed != 2 {
			t.Errorf("counted %d orders, want 2", totals.completed)
		}
	})
}

func TestOrdersComeOverHTTP(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(orders())
		totals := newTotals()
		defer start(context.Background(), func(ctx context.Context) error {
			return e.Attach(ctx, "", []tasker.EventType{domain.TaskCompletedType}, totals.handle)
		})()
		e.Settle()
		handler := api(e.Engine, totals)
		call := func(method, path, body string) (int, string) {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
			return w.Code, strings.TrimSpace(w.Body.String())
		}
		status, text := call(http.MethodPost, "/orders", `{"customer":"ada","cents":4200}`)
		id, err := tasker.ParseTaskID(text)
		if status != http.StatusOK || err != nil {
			t.Fatalf("%d %s: %v", status, text, err)
		}
		if got := string(e.MustWait(id).Value); !strings.Contains(got, "ada paid 42.00, reference pay_") {
			t.Errorf("result %s", got)
		}
		e.Settle()
		if status, text := call(http.MethodGet, "/totals", ""); status != http.StatusOK || text != "1" {
			t.Errorf("totals: %d %s, want 1", status, text)
		}
		if status, _ := call(http.MethodPost, "/orders", "{"); status != http.StatusBadRequest {
			t.Errorf("no JSON gave %d", status)
		}
	})
}

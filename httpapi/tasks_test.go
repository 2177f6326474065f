package httpapi

import (
	"net/http"
	"testing"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

func TestATaskFromItsSubmissionToItsEnd(t *testing.T) {
	w := serve(t, start(t), Options{})
	body := map[string]any{"name": "echo", "context": map[string]any{"a": 1}, "tags": []string{"x"}, "reason": "why not"}
	first := w.do(http.MethodPost, "/api/v1/tasks", body, "Idempotency-Key: k1")
	receipt := read[tasker.Receipt](t, first, http.StatusCreated)
	path := "/api/v1/tasks/" + receipt.ID.String()
	if !receipt.Created || first.Header.Get("Location") != path || receipt.Position.Sequence == 0 {
		t.Errorf("%+v at %q", receipt, first.Header.Get("Location"))
	}
	again := read[tasker.Receipt](t, w.do(http.MethodPost, "/api/v1/tasks", body, "Idempotency-Key: k1"), http.StatusOK)
	if again.Created || again.ID != receipt.ID {
		t.Errorf("again: %+v", again)
	}
	body["context"] = map[string]any{"a": 2}
	p := w.do(http.MethodPost, "/api/v1/tasks", body, "Idempotency-Key: k1").problem(t)
	if p.Code != CodeMismatch || p.Task != receipt.ID.String() {
		t.Errorf("%+v", p)
	}
	waited := read[Waited](t, w.do(http.MethodGet, path+"/wait?timeout=10s", nil), http.StatusOK)
	if !waited.Done || waited.Task.State != domain.Complete || string(waited.Task.Context) != `{"a":1}` {
		t.Errorf("%+v", waited)
	}
	h := read[tasker.History](t, w.do(http.MethodGet, path+"/history", nil), http.StatusOK)
	if len(h.Events) < 5 || len(h.Executions) != 2 || h.Events[0].Type != domain.TaskCreatedType {
		t.Errorf("%+v", h)
	}
	x := read[tasker.Explanation](t, w.do(http.MethodGet, path+"/explain", nil), http.StatusOK)
	if x.Reason != domain.ReasonTaskEnded || x.Text == "" {
		t.Errorf("%+v", x)
	}
	steps := read[Steps](t, w.do(http.MethodGet, path+"/steps", nil), http.StatusOK)
	if len(steps.Steps) != 2 || steps.Steps[1].Name != "two" {
		t.Errorf("%+v", steps)
	}
	two := read[StepDetails](t, w.do(http.MethodGet, path+"/steps/two", nil), http.StatusOK)
	if string(two.Result) != `"said"` || len(two.Executions) != 1 || len(two.Log) != 1 || two.Log[0].Lines[0] != "hello" ||
		two.Log[0].Attempt != 1 || string(two.Input.Results["one"]) != `{"a":1}` || string(two.Input.Context) != `{"a":1}` {
		t.Errorf("%+v", two)
	}
}

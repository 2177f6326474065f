package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

const tasksPath = "/api/v1/tasks"

func trySubmit(t *testing.T, w *world) {
	r := w.do("POST", tasksPath, map[string]any{"name": "order", "namespace": "shop", "context": map[string]any{"total": 1}, "initiator": "ann"})
	receipt := read[tasker.Receipt](t, r, http.StatusCreated)
	task := read[tasker.Task](t, w.do("GET", tasksPath+"/"+receipt.ID.String(), nil), 200)
	if task.Initiator != "ann" || task.Namespace != "shop" {
		t.Errorf("%+v", task)
	}
	same := map[string]any{"name": "echo", "id": receipt.ID.String()}
	if p := w.as("shop").do("POST", tasksPath, same).problem(t); p.Code != CodeForbidden {
		t.Errorf("%+v", p) // of another namespace than the token's
	}
	other, _ := w.submit("echo", "", nil)
	taken := map[string]any{"name": "order", "namespace": "shop", "context": map[string]any{"total": 1}, "id": other.ID.String()}
	if p := w.as("shop").do("POST", tasksPath, taken).problem(t); p.Code != CodeRefused || strings.Contains(p.Detail, "default") {
		t.Errorf("%+v", p)
	}
	for what, c := range map[string]struct {
		body     any
		code     Code
		location string
	}{
		"no such definition":  {map[string]any{"name": "ehco"}, CodeDefNotFound, ""},
		"no such version":     {map[string]any{"name": "echo", "version": "9.9.9"}, CodeDefNotFound, ""},
		"a wrong context":     {map[string]any{"name": "order", "namespace": "shop", "context": map[string]any{"total": "x"}}, CodeInvalid, "body.context/total"},
		"a context in a list": {map[string]any{"name": "echo", "context": []int{1}}, CodeInvalid, ""},
		"id and key":          {map[string]any{"name": "echo", "id": nobody, "key": "k"}, CodeInvalid, ""},
		"no id":               {map[string]any{"name": "echo", "id": "x"}, CodeInvalid, "body.id"},
		"no name":             {map[string]any{"name": ""}, CodeInvalid, "body.name"},
		"a bypass":            {map[string]any{"name": "echo", "bypass_steps": []string{"one"}}, CodeInvalid, ""},
		"long tags":           {map[string]any{"name": "echo", "tags": []string{strings.Repeat("x", 17<<10)}}, CodeInvalid, ""},
		"no trace":            {map[string]any{"name": "echo", "traceparent": "00-x"}, CodeInvalid, ""},
	} {
		p := w.do("POST", tasksPath, c.body).problem(t)
		if p.Code != c.code || c.location != "" && (len(p.Errors) == 0 || p.Errors[0].Location != c.location) {
			t.Errorf("%s: %+v", what, p)
		}
	}
	if p := w.do("POST", tasksPath, map[string]any{"name": "echo", "key": "a"}, "Idempotency-Key: b").problem(t); p.Code != CodeInvalid {
		t.Errorf("two keys: %+v", p)
	}
	hidden := w.as("shop").do("POST", tasksPath, map[string]any{"name": "nothing", "namespace": "shop"}).problem(t)
	if hidden.Code != CodeDefNotFound || strings.Contains(hidden.Detail, "default.") || !strings.Contains(hidden.Detail, "shop.order") {
		t.Errorf("%+v", hidden)
	}
	big := map[string]any{"name": "echo", "context": map[string]any{"text": strings.Repeat("x", 3<<20)}}
	read[tasker.Receipt](t, w.do("POST", tasksPath, big), http.StatusCreated)
}

// tryTask shows one task in every way.
func tryTask(t *testing.T, w *world) {
	_, path := w.submit("fails", "", map[string]any{"n": 1})
	task := w.until(path, domain.Error)
	if task.Steps[0].Error == nil || task.Steps[0].Error.Message != "card declined" {
		t.Errorf("%+v", task.Steps[0])
	}
	if h := read[tasker.History](t, w.do("GET", path+"/history", nil), 200); h.Events[len(h.Events)-1].Type != domain.TaskFailedType {
		t.Errorf("%+v", h)
	}
	if x := read[tasker.Explanation](t, w.do("GET", path+"/explain", nil), 200); x.Reason != domain.ReasonTaskFailed || x.Fix == "" {
		t.Errorf("%+v", x)
	}
	if s := read[Steps](t, w.do("GET", path+"/steps", nil), 200); len(s.Steps) != 2 || s.Steps[1].State != domain.Pending {
		t.Errorf("%+v", s)
	}
	d := read[StepDetails](t, w.do("GET", path+"/steps/pay", nil), 200)
	if d.Error == nil || len(d.Executions) != 1 || d.Executions[0].Error == nil || len(d.Log) != 0 {
		t.Errorf("%+v", d)
	}
	if p := w.do("GET", path+"/steps/nothing", nil).problem(t); p.Code != CodeStepNotFound {
		t.Errorf("%+v", p)
	}
	if r := w.do("HEAD", path, nil); r.Status != 200 || r.Text != "" {
		t.Errorf("%+v", r)
	}
	elsewhere := w.as("shop").do("GET", path, nil)
	if none := w.as("shop").do("GET", tasksPath+"/"+nobody, nil).detailFor(t, task.ID.String()); elsewhere.problem(t).Detail != none {
		t.Errorf("a task elsewhere looks other than none: %s, not %s", elsewhere.Text, none)
	}
}

// detailFor is the detail as it would be for another id.
func (r reply) detailFor(t *testing.T, id string) string {
	return strings.ReplaceAll(r.problem(t).Detail, nobody, id)
}

func tryWait(t *testing.T, w *world) {
	_, path := w.submit("hangs", "", nil)
	began := time.Now()
	waited := read[Waited](t, w.do("GET", path+"/wait?timeout=30ms", nil), 200)
	if waited.Done || waited.Task.State.Ended() || time.Since(began) < 30*time.Millisecond {
		t.Errorf("%+v after %s", waited, time.Since(began))
	}
	done := make(chan reply, 1)
	go func() {
		r, _ := w.try("GET", path+"/wait?timeout=20s", nil)
		done <- r
	}()
	w.do("POST", path+"/cancel", nil)
	if waited := read[Waited](t, <-done, 200); !waited.Done || waited.Task.State != domain.Cancelled {
		t.Errorf("%+v", waited)
	}
	_, failed := w.submit("fails", "", nil)
	if waited := read[Waited](t, w.do("GET", failed+"/wait", nil), 200); !waited.Done || waited.Task.State != domain.Error {
		t.Errorf("%+v", waited)
	}
	for _, timeout := range []string{"6m", "-1s", "x", "1e9s"} {
		if p := w.do("GET", path+"/wait?timeout="+timeout, nil).problem(t); p.Code != CodeInvalid {
			t.Errorf("%q: %+v", timeout, p)
		}
	}
}

// tryVerbs acts on tasks.
func tryVerbs(t *testing.T, w *world) {
	act := func(path, verb string, status int, body any) reply {
		t.Helper()
		r := w.do("POST", path+"/"+verb, body, headerRequest+": 1")
		if r.Status != status {
			t.Errorf("%s: %d %s", verb, r.Status, r.Text)
		}
		return r
	}
	_, path := w.submit("hangs", "", nil)
	w.until(path, domain.InProgress)
	paused := read[tasker.VerbReceipt](t, act(path, "pause", 200, map[string]any{"reason": "look first"}), 200)
	again := read[tasker.VerbReceipt](t, act(path, "pause", 200, nil), 200)
	if !paused.Changed || again.Changed || paused.Position.Sequence == 0 {
		t.Errorf("%+v %+v", paused, again)
	}
	h := read[tasker.History](t, w.do("GET", path+"/history", nil), 200)
	if last := h.Events[len(h.Events)-1]; last.Type != domain.TaskPausedType || last.Actor != "operator:root" || !strings.Contains(string(last.Data), "look first") {
		t.Errorf("%+v", last)
	}
	act(path, "resume", 200, nil)
	if p := act(path, "resolve", 409, nil).problem(t); p.Code != CodeRefused || !strings.Contains(p.Detail, "in_progress") {
		t.Errorf("%+v", p)
	}
	act(path, "cancel", 200, `{}`)
	act(path, "retry", 409, nil)
	if p := act(path, "cancel", 422, map[string]any{"reason": strings.Repeat("x", 17<<10)}).problem(t); p.Code != CodeInvalid {
		t.Errorf("%+v", p)
	}
	_, path = w.submit("fails", "", nil)
	w.until(path, domain.Error)
	if r := read[tasker.VerbReceipt](t, act(path, "retry", 200, nil), 200); !r.Changed || r.From != domain.Error {
		t.Errorf("%+v", r)
	}
	w.until(path, domain.Error)
	act(path, "resolve", 200, nil)
	w.until(path, domain.ResolvedManually)
}

func tryAnnotate(t *testing.T, w *world) {
	_, path := w.submit("echo", "", nil)
	r := w.do("POST", path+"/annotate", map[string]any{"kind": "note", "annotation": map[string]any{"by": "phone"}, "step": "one"})
	if receipt := read[tasker.VerbReceipt](t, r, 200); !receipt.Changed {
		t.Errorf("%+v", receipt)
	}
	for what, c := range map[string]struct {
		body map[string]any
		code Code
	}{
		"no kind":      {map[string]any{"annotation": 1}, CodeInvalid},
		"no value":     {map[string]any{"kind": "x"}, CodeInvalid},
		"no such step": {map[string]any{"kind": "x", "annotation": 1, "step": "three"}, CodeStepNotFound},
		"too much":     {map[string]any{"kind": "x", "annotation": strings.Repeat("x", 129<<10)}, CodeInvalid},
	} {
		if p := w.do("POST", path+"/annotate", c.body).problem(t); p.Code != c.code {
			t.Errorf("%s: %+v", what, p)
		}
	}
}

// tryStepVerbs acts on steps.
func tryStepVerbs(t *testing.T, w *world) {
	act := func(path string, status int, body any) reply {
		t.Helper()
		r := w.do("POST", path, body, headerRequest+": 1")
		if r.Status != status {
			t.Errorf("%s: %d %s", path, r.Status, r.Text)
		}
		return r
	}
	_, path := w.submit("fails", "", map[string]any{"n": 1})
	w.until(path, domain.Error)
	r := read[tasker.VerbReceipt](t, act(path+"/steps/pay/retry", 200, map[string]any{"reason": "again", "inputs": map[string]any{"n": 2}, "retry_limit": 2}), 200)
	if !r.Changed || !r.Reopened || r.Step != "pay" {
		t.Errorf("%+v", r)
	}
	task := w.until(path, domain.Error)
	if string(task.Steps[0].Inputs) != `{"n":2}` || task.Steps[0].RetryLimit != 2 {
		t.Errorf("%+v", task.Steps[0])
	}
	act(path+"/steps/pay/retry", 422, map[string]any{"retry_limit": 0})
	act(path+"/steps/nothing/retry", 404, nil)
	if p := act(path+"/steps/pay/complete", 409, map[string]any{"result": 1}).problem(t); p.Code != CodeRefused {
		t.Errorf("%+v", p)
	}
	act(path+"/steps/pay/resolve", 200, map[string]any{"result": map[string]any{"paid": "cash"}, "reason": "cash"})
	task = w.until(path, domain.Complete)
	if string(task.Steps[0].Result) != `{"paid":"cash"}` {
		t.Errorf("%+v", task.Steps[0])
	}
	_, path = w.submit("hangs", "", nil)
	w.until(path, domain.InProgress)
	act(path+"/steps/hang/complete", 200, map[string]any{"result": 7})
	if task = w.until(path, domain.Complete); string(task.Steps[0].Result) != "7" {
		t.Errorf("%+v", task.Steps[0])
	}
	_, path = w.submit("hangs", "", nil)
	w.until(path, domain.InProgress)
	act(path+"/steps/hang/cancel", 200, nil)
	w.until(path, domain.Error)
}

func tryDefinitions(t *testing.T, w *world) {
	const path = "/api/v1/definitions"
	names := func(w *world, query string) string {
		t.Helper()
		var all []string
		for _, d := range read[Definitions](t, w.do("GET", path+query, nil), 200).Definitions {
			all = append(all, d.Namespace+"."+d.Name)
		}
		return strings.Join(all, " ")
	}
	if got := names(w, ""); !strings.Contains(got, "default.echo") || !strings.Contains(got, "shop.order") {
		t.Error(got)
	}
	if got := names(w.as("shop"), ""); strings.Contains(got, "default.") || !strings.Contains(got, "shop.order") {
		t.Error(got)
	}
	if p := w.as("shop").do("GET", path+"?namespace=default", nil).problem(t); p.Code != CodeForbidden {
		t.Errorf("%+v", p)
	}
	body := map[string]any{"definition": map[string]any{"name": "new", "namespace": "shop", "steps": []any{map[string]any{"name": "a", "handler": "h"}}}}
	if n := read[DefinitionName](t, w.as("shop").do("PUT", path, body), 200); n != (DefinitionName{"shop", "new", "0.1.0"}) {
		t.Errorf("%+v", n)
	}
	d := read[DefinitionDetails](t, w.do("GET", path+"/shop/new?version=0.1.0", nil), 200)
	if len(d.Steps) != 1 || d.Steps[0].Handler != "h" || d.Versions[0] != "0.1.0" || d.Hash == "" || len(d.Body) == 0 || d.Steps[0].Timeout == 0 {
		t.Errorf("%+v", d)
	}
	if p := w.as("shop").do("GET", path+"/default/echo", nil).problem(t); p.Code != CodeDefNotFound || strings.Contains(p.Detail, "default.echo") {
		t.Errorf("%+v", p)
	}
	changed := map[string]any{"definition": map[string]any{"name": "new", "namespace": "shop", "steps": []any{map[string]any{"name": "b", "handler": "h"}}}}
	if p := w.do("PUT", path, changed).problem(t); p.Code != CodeDefExists {
		t.Errorf("%+v", p)
	}
	changed["replace"] = true
	read[DefinitionName](t, w.do("PUT", path, changed), 200)
	runs := map[string]any{"definition": map[string]any{"name": "evil", "steps": []any{map[string]any{"name": "a", "handler": "exec", "handler_config": map[string]any{"command": []string{"id"}}}}}}
	if p := w.do("PUT", path, runs).problem(t); p.Code != CodeForbidden {
		t.Errorf("%+v", p)
	}
	if p := w.as("shop").do("PUT", path, map[string]any{"definition": map[string]any{"name": "x", "steps": []any{map[string]any{"name": "a", "handler": "h"}}}}).problem(t); p.Code != CodeForbidden {
		t.Errorf("another namespace: %+v", p)
	}
	if p := w.do("PUT", path, map[string]any{"yaml": "name: x"}).problem(t); p.Code != CodeInvalid {
		t.Errorf("%+v", p)
	}
	if p := w.do("PUT", path, map[string]any{}).problem(t); p.Code != CodeInvalid {
		t.Errorf("%+v", p)
	}
	for what, body := range map[string]any{"a loop": map[string]any{"definition": map[string]any{"name": "x", "steps": []any{map[string]any{"name": "a", "handler": "h", "depends_on": "a"}}}}, "exec": runs} {
		if c := read[Checked](t, w.do("POST", path+"/validate", body), 200); c.Valid || len(c.Problems) == 0 {
			t.Errorf("%s: %+v", what, c)
		}
	}
	if c := read[Checked](t, w.do("POST", path+"/validate", body), 200); !c.Valid || len(c.Problems) != 0 {
		t.Errorf("%+v", c)
	}
}

func tryLetters(t *testing.T, w *world) {
	const path = "/api/v1/dead-letters"
	put := func(name, kind, data string) {
		t.Helper()
		l := domain.DeadLetter{Kind: kind, Name: name, Reason: "no", Subject: "tasker.submit.task." + name, Data: []byte(data)}
		if err := w.engine.store.DeadLetters().Put(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	begin := read[Letters](t, w.do("GET", path+"?limit=500", nil), 200)
	put("default.echo", tasker.LetterSubmission, `{"context":[]}`)
	put("mailer", tasker.LetterSubscriber, "\xff")
	put("shop.order", tasker.LetterSubmission, `garbage`)
	all := read[Letters](t, w.do("GET", path+"?limit=500", nil), 200).Letters[len(begin.Letters):]
	if len(all) != 3 || all[0].Name != "default.echo" || all[0].Data != nil {
		t.Fatalf("%+v", all)
	}
	page := read[Letters](t, w.do("GET", path+"?limit=1&kind=subscriber", nil), 200)
	if len(page.Letters) != 1 {
		t.Errorf("%+v", page)
	}
	mine := read[Letters](t, w.as("shop").do("GET", path+"?limit=1", nil), 200)
	if len(mine.Letters) != 1 || mine.Letters[0].Name != "shop.order" {
		t.Errorf("%+v", mine)
	}
	at := func(i int) string { return path + "/" + itoa(all[i].Sequence) }
	if l := read[Letter](t, w.do("GET", at(0), nil), 200); string(l.Data) != `{"context":[]}` || l.Kind != "submission" {
		t.Errorf("%+v", l)
	}
	if l := read[Letter](t, w.do("GET", at(1), nil), 200); string(l.Binary) != "\xff" {
		t.Errorf("%+v", l)
	}
	if l := read[Letter](t, w.do("GET", at(2), nil), 200); l.Text != "garbage" {
		t.Errorf("%+v", l)
	}
	if p := w.as("shop").do("GET", at(0), nil).problem(t); p.Code != CodeLetterNotFound {
		t.Errorf("%+v", p)
	}
	if p := w.do("POST", at(1)+"/requeue", nil, headerRequest+": 1").problem(t); p.Code != CodeNotRequeuable {
		t.Errorf("%+v", p)
	}
	if r := w.do("POST", at(0)+"/requeue", map[string]any{"input": map[string]any{"n": 1}}); r.Status != 204 || r.Text != "" {
		t.Errorf("%d %s", r.Status, r.Text)
	}
	for _, i := range []int{1, 2} {
		if r := w.do("DELETE", at(i), nil, headerRequest+": 1"); r.Status != 204 {
			t.Errorf("%d %s", r.Status, r.Text)
		}
		if p := w.do("DELETE", at(i), nil, headerRequest+": 1").problem(t); p.Code != CodeLetterNotFound {
			t.Errorf("%+v", p)
		}
	}
}

// tryFork looks at a task as it was, and goes on from there.
func tryFork(t *testing.T, w *world) {
	_, path := w.submit("fails", "", map[string]any{"n": 1})
	w.until(path, domain.Error)
	h := read[tasker.History](t, w.do("GET", path+"/history", nil), 200)
	var at string
	for _, e := range h.Events {
		if e.Type == domain.StepExecutionRequestedType {
			at = e.ID
		}
	}
	if then := read[tasker.Task](t, w.do("GET", path+"?at="+at, nil), 200); then.State != domain.InProgress || then.Steps[0].State != domain.InProgress {
		t.Errorf("%+v", then)
	}
	fork := map[string]any{"at": at, "context": map[string]any{"n": 2}, "tags": []string{"again"}, "reason": "wrong n", "key": "f1"}
	made := w.do("POST", path+"/fork", fork)
	receipt := read[tasker.Receipt](t, made, 201)
	task := w.until(made.Header.Get("Location"), domain.Error)
	if task.ForkedFrom == nil || task.ForkedFrom.Position.String() != at || string(task.Context) != `{"n":2}` || task.ID != receipt.ID || len(task.Tags) != 1 {
		t.Errorf("%+v", task)
	}
	if again := read[tasker.Receipt](t, w.do("POST", path+"/fork", fork), 200); again.Created || again.ID != receipt.ID {
		t.Errorf("%+v", again)
	}
	read[tasker.Receipt](t, w.do("POST", path+"/fork", nil, headerRequest+": 1"), 201)
	for what, c := range map[string]struct {
		body map[string]any
		code Code
	}{
		"no position":         {map[string]any{"at": "x"}, CodeInvalid},
		"an event elsewhere":  {map[string]any{"at": "01-99999-0"}, CodeEventNotFound},
		"no such step":        {map[string]any{"rerun": []string{"x"}}, CodeStepNotFound},
		"a context in a list": {map[string]any{"context": []int{1}}, CodeInvalid},
		"another fork":        {map[string]any{"key": "f1"}, CodeMismatch},
	} {
		if p := w.do("POST", path+"/fork", c.body).problem(t); p.Code != c.code {
			t.Errorf("%s: %+v", what, p)
		}
	}
	if p := w.do("GET", path+"?at=00-99999-0", nil).problem(t); p.Code != CodeEventNotFound {
		t.Errorf("%+v", p)
	}
	_, over := w.submit("echo", "", nil)
	w.until(over, domain.Complete)
	if p := w.do("POST", over+"/fork", nil, headerRequest+": 1").problem(t); p.Code != CodeRefused {
		t.Errorf("%+v", p)
	}
	if p := w.as("submits").do("POST", path+"/fork", fork).problem(t); p.Code != CodeForbidden {
		t.Errorf("%+v", p)
	}
}

package acceptance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/httphandler"
)

// service is a server that answers the n-th request of a step as its script says; without a script, or behind its end, 200.
type service struct {
	w      *world
	script map[string][]reply
}

type reply struct {
	status int
	after  func(now time.Time) string // Retry-After; nil = none
}

type attemptKey struct{}

// RoundTrip knows the step from the path and the attempt from the context.
func (s service) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := reply{status: http.StatusOK}
	script, n := s.script[strings.TrimPrefix(r.URL.Path, "/")], r.Context().Value(attemptKey{}).(int)
	if n <= len(script) {
		answer = script[n-1]
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if answer.after != nil {
		header.Set("Retry-After", answer.after(s.w.now()))
	}
	body := io.NopCloser(strings.NewReader(`{"ok":true}`))
	if answer.status == http.StatusNoContent {
		body = http.NoBody
	}
	return &http.Response{
		StatusCode: answer.status, Status: fmt.Sprintf("%d %s", answer.status, http.StatusText(answer.status)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Body: body, ContentLength: -1, Request: r,
	}, nil
}

func TestB25StatusAndRetryAfterDecideWhatBecomesOfAnHTTPStep(t *testing.T) {
	thirty := func(time.Time) string { return "30" }
	date := func(now time.Time) string { return now.Add(time.Minute).UTC().Format(http.TimeFormat) }
	none := []reply{{status: 429}, {status: 429}, {status: 429}}
	both(t, func(w *world) {
		s := service{w, map[string][]reply{
			"s201": {{status: 201}}, "s202": {{status: 202}}, "s204": {{status: 204}},
			"seconds": {{429, thirty}}, "date": {{429, date}}, "plain": none, "broken": {{status: 500}}, "gone": {{status: 404}},
		}}
		client := httphandler.New(httphandler.Options{Transport: s, Now: w.now})
		defer client.Close()
		call := w.noting(tasker.StepHandlerFunc(func(ctx context.Context, task tasker.TaskView, all tasker.Sequence, step tasker.StepView) (any, error) {
			return client.Handle(context.WithValue(ctx, attemptKey{}, w.attempt(task, step)), task, all, step)
		}))
		b := tasker.Define("calls")
		for _, name := range []string{"s200", "s201", "s202", "s204", "seconds", "date", "plain", "broken", "gone"} {
			b.Step(name, call, tasker.HandlerConfig(map[string]string{"url": "http://shop.example/" + name}), tasker.Optional(),
				tasker.Retries(4), tasker.WithBackoff(tasker.Backoff{Jitter: domain.NoJitter}))
		}
		w.add(b.MustBuild())
		id, _ := w.runs("calls", nil)

		waits := map[string][]time.Duration{}
		for _, r := range w.records(id) {
			if e, ok := r.Event.(domain.StepFailed); ok && e.RetryAt != 0 {
				waits[e.Step] = append(waits[e.Step], e.RetryAt.Sub(r.At))
			}
		}
		for _, name := range []string{"s200", "s201", "s202", "s204", "seconds", "date", "plain", "broken"} {
			equal(w, "state of "+name, w.step(id, name).State, domain.Complete)
		}
		equal(w, "429 with Retry-After: 30", waits["seconds"], []time.Duration{30 * time.Second})
		equal(w, "429 without", waits["plain"], []time.Duration{time.Second, 2 * time.Second, 4 * time.Second})
		equal(w, "500", waits["broken"], []time.Duration{time.Second})
		if d := waits["date"]; len(d) != 1 || d[0] < time.Second || d[0] > time.Minute {
			w.t.Errorf("429 with a date a minute ahead waits %v", d)
		}
		gone := w.step(id, "gone")
		equal(w, "404", gone.State, domain.Error)
		equal(w, "executions of 404", waits["gone"], nil)
		if gone.Error == nil || gone.Error.Code != "HTTP_404" || gone.Error.Kind != domain.KindPermanent {
			w.t.Errorf("404: %+v", gone.Error)
		}
	})
}

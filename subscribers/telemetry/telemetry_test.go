package telemetry

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

func task(tb testing.TB) *domain.Task {
	tb.Helper()
	d := &domain.Definition{Name: "work", Steps: []domain.StepTemplate{{Name: "one", Handler: "h"}}}
	if err := d.Validate(); err != nil {
		tb.Fatal(err)
	}
	created, err := domain.DecideCreate(d, domain.CreateTask{Context: domain.Inline([]byte(`{"secret":1}`)), Correlation: "c-1"}, 1)
	if err != nil {
		tb.Fatal(err)
	}
	return domain.NewTask(domain.Record{Event: created, At: 1_000_000, Task: domain.TaskID{15: 1}}, d)
}

func committed(t *domain.Task, ev domain.Event) subscribers.Committed {
	return subscribers.Committed{Task: t, Record: domain.Record{
		Event: ev, At: 3_000_000, Task: t.ID, Position: domain.Position{Partition: 2, Sequence: 9, Index: 1},
	}}
}

func TestEventsAreWrittenAtTheirLevel(t *testing.T) {
	work := task(t)
	failure := domain.StepError{Kind: domain.KindError, Message: "out of paper", Code: "E1"}
	const about = `event=02-9-1 task=00000000-0000-0000-0000-000000000001`
	for _, tt := range []struct {
		event domain.Event
		want  string
	}{
		{domain.TaskCompleted{Result: domain.Inline([]byte(`{"secret":1}`))}, `level=INFO msg=task.completed ` + about + ` definition=default.work@0.1.0 correlation=c-1 took=2s`},
		{domain.TaskFailed{Reason: domain.FailStepsInError, Steps: []string{"one"}}, `level=ERROR msg=task.failed ` + about + ` definition=default.work@0.1.0 correlation=c-1 reason=steps_in_error_state steps=[one] took=2s`},
		{domain.StepFailed{Step: "one", Attempt: 1, Error: failure, RetryAt: 4_000_000}, `level=WARN msg=step.failed ` + about + ` definition=default.work@0.1.0 correlation=c-1 step=one attempt=1 signal=observability.step.backoff kind=error error="out of paper" code=E1 retry_at=1970-01-01T00:00:04.000000Z`},
		{domain.StepFailed{Step: "one", Attempt: 3, Error: failure}, `level=ERROR msg=step.failed ` + about + ` definition=default.work@0.1.0 correlation=c-1 step=one attempt=3 signal=observability.step.max_retries_reached kind=error error="out of paper" code=E1`},
		{domain.StepSkipped{Step: "one", Reason: "bypass_steps"}, `level=DEBUG msg=step.skipped ` + about + ` definition=default.work@0.1.0 correlation=c-1 step=one signal=observability.step.skip reason=bypass_steps`},
		{domain.StepCompleted{Step: "one", Attempt: 1, Result: domain.Inline([]byte(`{"secret":1}`))}, `level=DEBUG msg=step.completed ` + about + ` definition=default.work@0.1.0 correlation=c-1 step=one attempt=1 bytes=12`},
	} {
		var out bytes.Buffer
		tel := New(Config{Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		tel.Notify(committed(work, tt.event))
		_, got, _ := strings.Cut(strings.TrimSpace(out.String()), " ")
		if got != tt.want {
			t.Errorf("\n got %s\nwant %s", got, tt.want)
		}
	}
}

func TestEveryFactIsCountedAndWritten(t *testing.T) {
	var out bytes.Buffer
	tel := New(Config{Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	work := task(t)
	entries := domain.Catalogue()
	for n, entry := range entries {
		for range n {
			tel.Notify(committed(work, entry.Sample))
			tel.Notify(subscribers.Committed{Record: domain.Record{Event: domain.Unknown{TypeName: "task.invented"}}})
		}
	}
	counts := tel.Counters()
	if len(counts) != len(entries)+3 || len(tel.SubscribesTo()) != len(entries) {
		t.Fatalf("%d counters and %d subscriptions for %d facts", len(counts), len(tel.SubscribesTo()), len(entries))
	}
	for n, entry := range entries {
		if counts[entry.Type] != uint64(n) {
			t.Errorf("%s was counted %d times, want %d", entry.Type, counts[entry.Type], n)
		}
		if n > 0 && !strings.Contains(out.String(), "msg="+string(entry.Type)) {
			t.Errorf("%s was not written", entry.Type)
		}
	}
	if strings.Contains(out.String(), "secret") {
		t.Error("payloads do not belong into the log")
	}
}

func TestSignalsOfStepsAreCountedAndWrittenOnceBesideTheirFacts(t *testing.T) {
	var out bytes.Buffer
	tel := New(Config{Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	work := task(t)
	for _, e := range []domain.Event{
		domain.StepFailed{Step: "one", Attempt: 1, RetryAt: 1}, domain.StepFailed{Step: "one", Attempt: 2, RetryAt: 2},
		domain.StepFailed{Step: "one", Attempt: 3}, domain.StepSkipped{Step: "one"}, domain.StepCompleted{Step: "one"},
	} {
		tel.Notify(committed(work, e))
	}
	for signal, n := range map[domain.EventType]uint64{
		domain.SignalStepBackoff: 2, domain.SignalMaxRetriesReached: 1, domain.SignalStepSkip: 1,
	} {
		if counted, written := tel.Counters()[signal], strings.Count(out.String(), string(signal)); counted != n || written != int(n) {
			t.Errorf("%s was counted %d times and written %d times, want %d", signal, counted, written, n)
		}
	}
	if lines := strings.Count(out.String(), "\n"); lines != 5 {
		t.Errorf("%d lines for 5 facts:\n%s", lines, out.String())
	}
}

func TestALevelThatIsOffAllocatesNothing(t *testing.T) {
	tel := New(Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	c := committed(task(t), domain.StepCompleted{Step: "one", Attempt: 1})
	if n := testing.AllocsPerRun(100, func() { tel.Notify(c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNotify(b *testing.B) {
	tel := New(Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	c := committed(task(b), domain.StepCompleted{Step: "one", Attempt: 1})
	b.ReportAllocs()
	for b.Loop() {
		tel.Notify(c)
	}
}

package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/domain"
)

// sliceLog is the log of a world.
type sliceLog struct {
	domain.Log // what is not needed here

	first    uint64
	messages []domain.Message // from sequence 1 on
	reads    int
	broken   error
}

func logOf(w *world) *sliceLog {
	l := &sliceLog{first: 1}
	for _, c := range w.commits {
		l.messages = append(l.messages, domain.Message{Sequence: c.Sequence, CommitID: c.ID, Data: domain.EncodeCommit(c), Time: c.At.Time()})
	}
	return l
}

func (l *sliceLog) Read(_ context.Context, sequence uint64) (domain.Message, error) {
	l.reads++
	if sequence < l.first || sequence > uint64(len(l.messages)) || l.messages[sequence-1].Data == nil {
		return domain.Message{}, domain.ErrNoMessage
	}
	return l.messages[sequence-1], l.broken
}

func (l *sliceLog) Scan(_ context.Context, from uint64, each func(domain.Message) error) error {
	for _, m := range l.messages[max(from, l.first)-1:] {
		if err := each(m); err != nil {
			return fmt.Errorf("scan: %w", err)
		}
	}
	return l.broken
}

func (l *sliceLog) SequenceAt(_ context.Context, t time.Time) (uint64, error) {
	for _, m := range l.messages[l.first-1:] {
		if !m.Time.Before(t) {
			return m.Sequence, nil
		}
	}
	return uint64(len(l.messages)) + 1, nil
}

func (l *sliceLog) Bounds(context.Context) (domain.LogBounds, error) {
	return domain.LogBounds{First: l.first, Last: uint64(len(l.messages))}, l.broken
}

// eventful is a log in which a task meets everything that a history has to measure.
func eventful(t testing.TB) (*world, domain.TaskID) {
	w := newWorld(t)
	id, other := unkeyedID(1), unkeyedID(2)
	w.create(other, `{}`)
	w.create(id, `{"order":17}`)
	w.do(id, domain.StartTask{}, "")
	w.do(id, domain.StartStep{Step: 0}, "")
	w.do(other, domain.StartTask{}, "")
	w.commit(t)
	w.do(id, domain.CompleteStep{Step: 0, Attempt: 1, Result: domain.Inline(json.RawMessage(`{"ok":true}`))}, "")
	w.do(id, domain.StartStep{Step: 1}, "")
	w.do(id, domain.StartStep{Step: 2}, "")
	w.commit(t)
	w.do(id, domain.PauseTask{Reason: "lunch"}, domain.ByOperator)
	w.do(id, domain.FailStep{Step: 1, Attempt: 1, Error: domain.StepError{Message: "no answer", Code: "HTTP_503"}}, "")
	w.commit(t)
	w.now += 5_000_000
	w.do(id, domain.ResumeTask{}, domain.ByOperator)
	w.do(id, domain.ReleaseStep{Step: 1}, "")
	w.do(id, domain.StartStep{Step: 1}, "")
	w.commit(t)
	w.do(id, domain.FailStep{Step: 1, Attempt: 2, Error: domain.StepError{Message: "gone", Kind: domain.KindPermanent}}, "")
	w.commit(t)
	w.do(id, domain.CancelStep{Step: "c"}, domain.ByOperator)
	w.do(id, domain.FailTask{}, "")
	w.commit(t)
	w.do(id, domain.RetryTask{Reason: "repaired"}, "operator:ann")
	w.do(id, domain.StartTask{}, "")
	w.do(id, domain.StartStep{Step: 1}, "")
	w.commit(t)
	w.do(id, domain.CompleteStep{Step: 1, Attempt: 3}, "")
	w.do(id, domain.StartStep{Step: 3}, "")
	w.commit(t)
	w.do(id, domain.CompleteStep{Step: 3, Attempt: 1}, "")
	w.do(id, domain.CompleteTask{}, "")
	w.commit(t)
	return w, id
}

func TestHistoryTellsCausesAndDurations(t *testing.T) {
	w, id := eventful(t)
	records, trimmed, err := Walk(t.Context(), logOf(w), 3, id, w.prev[id])
	if err != nil || trimmed {
		t.Fatal(trimmed, err)
	}
	h := FoldHistory(records)
	var b strings.Builder
	fmt.Fprintf(&b, "%s.%s@%s in %v\n", h.Namespace, h.Name, h.Version, h.Duration)
	for _, e := range h.Events {
		fmt.Fprintf(&b, "%-8s %-25s %s%-2d %-12s because %-8s", e.ID, e.Type, e.Step, e.Attempt, e.Actor, e.Cause)
		if e.Duration != 0 {
			fmt.Fprintf(&b, " after %v", e.Duration)
		}
		b.WriteByte('\n')
	}
	for _, x := range h.Executions {
		fmt.Fprintf(&b, "%s%d of round %d: %s after %v, waited %v", x.Step, x.Attempt, x.Round, x.Outcome, x.Duration, x.Waited)
		if x.Error != nil {
			fmt.Fprintf(&b, ": %s, again %v", x.Error.Message, x.RetryAt != 0)
		}
		b.WriteByte('\n')
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	want := strings.Split(strings.TrimSpace(wantHistory), "\n")
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("(-want +got)\n%s\n%s", diff, b.String())
	}
	if string(h.Events[2].Data) != "" || !strings.Contains(string(h.Events[0].Data), `"order":17`) {
		t.Errorf("data: %s, %s", h.Events[0].Data, h.Events[2].Data)
	}
	if text, err := json.Marshal(h); err != nil || !json.Valid(text) {
		t.Error(err)
	}
}

const wantHistory = `
default.w@0.1.0 in 13.000024s
03-2-1   task.created              0  submitter    because
03-2-2   task.start_requested      0  engine       because 03-2-1
03-2-3   step.execution_requested  a1  engine       because 03-2-1
03-3-0   step.completed            a1  handler      because 03-2-3   after 1.000003s
03-3-1   step.execution_requested  b1  engine       because 03-3-0
03-3-2   step.execution_requested  c1  engine       because 03-3-0
03-4-0   task.paused               0  operator     because
03-4-1   step.failed               b1  handler      because 03-3-1   after 1.000003s
03-5-0   task.resumed              0  operator     because          after 6.000003s
03-5-1   step.retry_requested      b0  engine       because 03-4-1   after 6.000003s
03-5-2   step.execution_requested  b2  engine       because 03-5-1
03-6-0   step.failed               b2  handler      because 03-5-2   after 1.000003s
03-7-0   step.cancelled            c0  operator     because          after 9.000012s
03-7-1   task.failed               0  engine       because 03-7-0   after 10.000015s
03-8-0   step.retry_requested      b0  operator:ann because          after 2.000006s
03-8-1   task.retry_requested      0  operator:ann because          after 1.000003s
03-8-2   task.start_requested      0  engine       because 03-8-1
03-8-3   step.execution_requested  b3  engine       because 03-8-1
03-9-0   step.completed            b3  handler      because 03-8-3   after 1.000003s
03-9-1   step.execution_requested  d1  engine       because 03-9-0
03-10-0  step.completed            d1  handler      because 03-9-1   after 1.000003s
03-10-1  task.completed            0  engine       because 03-10-0  after 13.000024s
a1 of round 1: completed after 1.000003s, waited 0s
b1 of round 1: failed after 1.000003s, waited 0s: no answer, again true
c1 of round 1: cancelled after 9.000012s, waited 0s
b2 of round 1: failed after 1.000003s, waited 6.000003s: gone, again false
b3 of round 2: completed after 1.000003s, waited 2.000006s
d1 of round 1: completed after 1.000003s, waited 0s
`

func TestACauseThatARecordNamesIsKept(t *testing.T) {
	id := unkeyedID(1)
	at := func(i int) domain.Position { return domain.Position{Partition: 3, Sequence: 5, Index: i} }
	causes := Causes([]domain.Record{
		{Task: id, Event: domain.TaskResumed{}, By: domain.ByOperator, Cause: "cmd-1", Position: at(0)},
		{Task: unkeyedID(2), Event: domain.TaskPaused{}, By: domain.ByOperator, Position: at(1)},
		{Task: id, Event: domain.StepExecutionRequested{Step: "a", Attempt: 4}, Position: at(2)},
		{Task: unkeyedID(2), Event: domain.StepCompleted{Step: "a", Attempt: 4}, Position: at(3)},
		{Task: id, Event: domain.StepCompleted{Step: "a", Attempt: 4}, Cause: "03-1-1", Position: at(4)},
		{Task: id, Event: domain.TaskCompleted{}, Position: at(5)},
	})
	want := []string{"cmd-1", "", "03-5-0", "", "03-1-1", "03-5-4"}
	if diff := cmp.Diff(want, causes); diff != "" {
		t.Error(diff)
	}
}

func TestADeadlineEndsTheWaitOfAFailedExecutionAndNotTheExecution(t *testing.T) {
	id := unkeyedID(1)
	record := func(at domain.Instant, e domain.Event) domain.Record {
		return domain.Record{Task: id, At: at, Event: e}
	}
	h := FoldHistory([]domain.Record{
		record(10, domain.TaskCreated{Name: "x"}),
		record(20, domain.StepExecutionRequested{Step: "a", Attempt: 1}),
		record(30, domain.StepFailed{Step: "a", Attempt: 1, Error: domain.StepError{Message: "first"}, RetryAt: 90}),
		record(40, domain.StepFailed{Step: "a", Attempt: 1, Error: domain.StepError{Kind: domain.KindDeadline}}),
		record(40, domain.TaskFailed{Reason: domain.FailDeadline}),
	})
	want := []Execution{{
		Step: "a", Attempt: 1, Round: 1, StartedAt: 20, EndedAt: 30, Duration: 10 * time.Microsecond,
		Outcome: OutcomeFailed, Error: &domain.StepError{Message: "first"},
	}}
	if diff := cmp.Diff(want, h.Executions); diff != "" {
		t.Error(diff)
	}
	if h.EndedAt != 40 || h.Duration != 30*time.Microsecond {
		t.Errorf("%+v", h)
	}
}

func TestATaskIsWhatItsOwnRecordsMakeIt(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 20).Draw(rt, "turns") {
			w.randomTurn(rt, t)
		}
		log := logOf(w)
		for _, id := range w.ids {
			log.reads = 0
			records, trimmed, err := Walk(t.Context(), log, 3, id, w.prev[id])
			if err != nil || trimmed {
				rt.Fatal(trimmed, err)
			}
			var want []string
			commits := map[uint64]bool{}
			for _, c := range w.commits {
				for _, r := range c.Records {
					if r.Task == id {
						want = append(want, r.ID())
						commits[c.Sequence] = true
					}
				}
			}
			var got []string
			for _, r := range records {
				got = append(got, r.ID())
			}
			if diff := cmp.Diff(want, got); diff != "" || log.reads != len(commits) {
				rt.Fatalf("%d reads for %d commits\n%s", log.reads, len(commits), diff)
			}
			task, err := LoadTask(records, w.p.Definition)
			if err != nil {
				rt.Fatal(err)
			}
			if e := w.p.Find(id); e != nil {
				if !e.Task.Equal(task) {
					rt.Fatalf("task %s\n got %+v\nwant %+v", id, task, e.Task)
				}
			} else if ended, ok := w.p.Ended.Get(id); !ok || !task.State.Ended() || ended.Last != task.Last {
				rt.Fatalf("task %s: %s, %+v", id, task.State, ended)
			}
			last, found, err := FindTask(t.Context(), log, 3, id)
			if err != nil || !found || last != w.prev[id] {
				rt.Fatalf("task %s found at %d, %v, %v, want %d", id, last, found, err, w.prev[id])
			}
			if h := FoldHistory(records); len(h.Events) != len(records) {
				rt.Fatal("events are missing")
			}
		}
	})
}

func TestAHistoryWhoseBeginningWasTrimmedSaysSo(t *testing.T) {
	w, id := eventful(t)
	log := logOf(w)
	log.first = 5
	records, trimmed, err := Walk(t.Context(), log, 3, id, w.prev[id])
	if err != nil || !trimmed || records[0].Position.Sequence != 5 {
		t.Fatal(trimmed, err)
	}
	if h := FoldHistory(records); h.Task != id || len(h.Events) != len(records) {
		t.Errorf("%+v", h)
	}
	if _, err := LoadTask(records, w.p.Definition); err == nil || !strings.Contains(err.Error(), "beginning is missing") {
		t.Errorf("loaded from half a history: %v", err)
	}
	if last, found, err := FindTask(t.Context(), log, 3, id); err != nil || !found || last != w.prev[id] {
		t.Errorf("found at %d, %v, %v", last, found, err)
	}
	log.first = uint64(len(log.messages)) + 1
	if records, trimmed, err := Walk(t.Context(), log, 3, id, w.prev[id]); err != nil || !trimmed || len(records) != 0 {
		t.Errorf("%d records, %v, %v", len(records), trimmed, err)
	}
	if _, found, err := FindTask(t.Context(), log, 3, id); err != nil || found {
		t.Errorf("found in an empty log, or %v", err)
	}
	log.first = 1
	log.messages[3].Data = []byte("not a commit") // and an operator has skipped it
	if records, trimmed, err := Walk(t.Context(), log, 3, id, w.prev[id]); err != nil || !trimmed || records[0].Position.Sequence != 5 {
		t.Errorf("behind a skipped message: %d records, %v, %v", len(records), trimmed, err)
	}
}

func TestAChainOfCommitsThatLeadsNowhereIsAnError(t *testing.T) {
	w, id := eventful(t)
	log := logOf(w)
	log.messages[3].Data = nil
	if _, _, err := Walk(t.Context(), log, 3, id, w.prev[id]); err == nil || errors.Is(err, domain.ErrNoMessage) {
		t.Errorf("a hole in the log: %v", err)
	}
	if _, _, err := Walk(t.Context(), logOf(w), 3, unkeyedID(99), 3); err == nil {
		t.Error("walked through a commit of other tasks")
	}
	log.broken = io.ErrUnexpectedEOF
	if _, _, err := Walk(t.Context(), log, 3, id, w.prev[id]); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a log that cannot be read: %v", err)
	}
	if _, _, err := FindTask(t.Context(), log, 3, id); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a log that cannot be searched: %v", err)
	}
}

func TestASearchBeginsAtTheTimeInTheID(t *testing.T) {
	w := newWorld(t)
	for range 300 { // 5 minutes
		w.commit(t)
	}
	id := unkeyedID(int(w.now-worldStart) / 1000)
	w.create(id, `{}`)
	w.run(t, id)
	last := w.prev[id]
	w.create(unkeyedID(1), `{"mentions":"`+id.String()+`"}`)
	w.commit(t)
	log := logOf(w)
	for i := range 200 {
		log.messages[i].Data = []byte(id.String()) // would be no commit
		log.messages[i].CommitID = "x"
	}
	if got, found, err := FindTask(t.Context(), log, 3, id); err != nil || !found || got != last {
		t.Errorf("found at %d, %v, %v, want %d", got, found, err, last)
	}
	if _, found, err := FindTask(t.Context(), log, 3, unkeyedID(3)); err != nil || found {
		t.Errorf("found what is not there: %v", err)
	}
}

// A hint makes a search short, and never wrong.
func TestAHintOnlyMakesASearchShorter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 8).Draw(rt, "turns") {
			w.randomTurn(rt, t)
		}
		log := logOf(w)
		near := uint64(rapid.IntRange(0, len(log.messages)+1).Draw(rt, "hint"))
		log.first = uint64(rapid.IntRange(1, min(4, len(log.messages))).Draw(rt, "first"))
		for _, id := range w.ids {
			want, there, err := FindTask(t.Context(), log, 3, id)
			if err != nil {
				rt.Fatal(err)
			}
			got, found, err := FindTaskNear(t.Context(), log, 3, id, near)
			if err != nil || found != there {
				rt.Fatalf("found %t, %v, want %t", found, err, there)
			}
			// An ended task may have been annotated since; without a hint as well as with one, the search ends at its end.
			if got != want && (got != near || !endedBy(t, log, id, got)) {
				rt.Fatalf("with the hint %d at %d, without at %d", near, got, want)
			}
		}
	})
}

func endedBy(t *testing.T, log domain.Log, id domain.TaskID, last uint64) bool {
	t.Helper()
	records, _, err := Walk(t.Context(), log, 3, id, last)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(records, func(r domain.Record) bool { return ends(r.Event) })
}

func TestAHintOfAnEndedTaskSavesTheScan(t *testing.T) {
	w := newWorld(t)
	id := unkeyedID(1)
	w.create(id, `{}`)
	w.run(t, id)
	last := w.prev[id]
	for range 300 {
		w.commit(t)
	}
	log := logOf(w)
	if got, found, err := FindTaskNear(t.Context(), noScan{log}, 3, id, last); err != nil || !found || got != last {
		t.Errorf("found at %d, %v, %v, want %d", got, found, err, last)
	}
	if got, found, err := FindTaskNear(t.Context(), log, 3, id, last+7); err != nil || !found || got != last {
		t.Errorf("with a wrong hint found at %d, %v, %v, want %d", got, found, err, last)
	}
}

type noScan struct{ domain.Log }

func (noScan) Scan(context.Context, uint64, func(domain.Message) error) error {
	return errors.New("the log is scanned")
}

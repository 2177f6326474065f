package projections

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/domain"
)

func TestStatisticsCountTasksAndStepsByOutcome(t *testing.T) {
	w, _ := eventful(t)
	third := unkeyedID(3)
	w.create(third, `{}`)
	w.do(third, domain.StartStep{Step: 0}, "")
	w.do(third, domain.CancelTask{}, domain.ByOperator)
	w.commit(t)
	s := NewStatistics()
	for _, c := range w.commits {
		for _, r := range c.Records {
			s.Apply(r)
		}
	}
	got := s.Snapshot()
	want := []DefinitionStatistics{{
		Namespace: "default", Name: "w", Version: "0.1.0",
		Created: 3, Live: 1, Completed: 1, Failed: 1, Retried: 1, Cancelled: 1,
		Steps: []StepStatistics{
			{Name: "a", Executions: 2, Completed: 1, Cancelled: 1},
			{Name: "b", Executions: 3, Completed: 1, Failed: 2, FailedForGood: 1, Retries: 1, Rounds: 1, Cancelled: 1},
			{Name: "c", Executions: 1, Cancelled: 2},
			{Name: "d", Executions: 1, Completed: 1, Cancelled: 1},
		},
	}}
	if diff := cmp.Diff(want, got.Definitions, cmpopts.IgnoreTypes(DurationStatistics{})); diff != "" {
		t.Error(diff)
	}
	if d := got.Definitions[0]; d.Duration.Count != 1 || d.Duration.P99 != d.Duration.Mean || d.Duration.Mean < 10*time.Second ||
		d.Steps[1].Duration.Count != 3 || d.Steps[1].Duration.Max != 1_000_003*time.Microsecond {
		t.Errorf("durations: %+v", d)
	}
	if got.Events[domain.TaskCreatedType] != 3 || got.Events[domain.PartitionOpenedType] != 1 {
		t.Errorf("events: %v", got.Events)
	}
	if len(s.tasks) != 1 || len(s.running) != 0 {
		t.Errorf("it holds %d tasks and %d executions, one task is live", len(s.tasks), len(s.running))
	}
}

func TestStatisticsAgreeWithTheState(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		s := NewStatistics()
		for range rapid.IntRange(1, 20).Draw(rt, "turns") {
			w.randomTurn(rt, t)
		}
		events := uint64(0)
		for _, c := range w.commits {
			for _, r := range c.Records {
				s.Apply(r)
				events++
			}
		}
		got := s.Snapshot()
		for _, n := range got.Events {
			events -= n
		}
		if events != 0 {
			rt.Fatalf("%d events are not counted", events)
		}
		if len(s.tasks) != w.p.LiveCount()+w.p.FailedCount() {
			rt.Fatalf("it holds %d tasks, there are %d", len(s.tasks), w.p.LiveCount()+w.p.FailedCount())
		}
		running := 0
		for e := range w.p.Tasks() {
			running += e.Task.ExecutionContext().InProgress
		}
		for id := range w.p.FailedTasks() {
			running += w.p.unpack(w.p.failed[id]).ExecutionContext().InProgress
		}
		if running != len(s.running) {
			rt.Fatalf("it holds %d executions, there are %d", len(s.running), running)
		}
		for _, d := range got.Definitions {
			if d.Live != uint64(w.p.LiveCount()) || d.Completed+d.Cancelled+d.ResolvedManually != uint64(w.p.Ended.Len()) {
				rt.Fatalf("%+v with %d live and %d ended", d, w.p.LiveCount(), w.p.Ended.Len())
			}
		}
	})
}

func TestStatisticsOfATaskWhoseBeginningIsMissingAreItsEvents(t *testing.T) {
	s := NewStatistics()
	id := unkeyedID(1)
	s.Apply(domain.Record{Task: id, Event: domain.StepCompleted{Step: "a", Attempt: 1}})
	s.Apply(domain.Record{Task: id, Event: domain.TaskCompleted{}})
	if got := s.Snapshot(); got.Events[domain.TaskCompletedType] != 1 || len(got.Definitions) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestStatisticsAreReadWhileTheyGrow(t *testing.T) {
	w, _ := eventful(t)
	s := NewStatistics()
	var all sync.WaitGroup
	all.Go(func() {
		for _, c := range w.commits {
			for _, r := range c.Records {
				s.Apply(r)
			}
		}
	})
	all.Go(func() {
		for range 100 {
			_ = fmt.Sprint(s.Snapshot())
		}
	})
	all.Wait()
}

func TestPercentilesAreRightToSixPercent(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var d durations
		all := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(0, 1<<rapid.IntRange(1, 40).Draw(rt, "bits")).Draw(rt, "us")) * time.Microsecond
		}), 1, 200).Draw(rt, "all")
		var sum time.Duration
		for _, took := range all {
			d.add(took)
			sum += took
		}
		slices.Sort(all)
		got := d.statistics()
		if got.Count != uint64(len(all)) || got.Min != all[0] || got.Max != all[len(all)-1] || got.Mean != sum/time.Duration(len(all)) {
			rt.Fatalf("%+v of %v", got, all)
		}
		for share, p := range map[float64]time.Duration{0.50: got.P50, 0.95: got.P95, 0.99: got.P99} {
			want := all[int(share*float64(len(all)))]
			if math.Abs(float64(p-want)) > 0.0626*float64(want) {
				rt.Fatalf("p%v is %v, want %v", 100*share, p, want)
			}
		}
	})
	var d durations
	d.add(-time.Second)
	if got := d.statistics(); got.Max != 0 || got.Count != 1 {
		t.Errorf("a negative duration: %+v", got)
	}
}

func BenchmarkStatistics(b *testing.B) {
	w, _ := eventful(b)
	s := NewStatistics()
	var records []domain.Record
	for _, c := range w.commits {
		records = append(records, c.Records...)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Apply(records[i%len(records)])
	}
}

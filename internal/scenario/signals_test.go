package scenario

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/domain"
)

// Whatever happens, and however it falls into messages: each fact and each message has its signals, once each.
func TestEveryHistoryHasItsSignalsOnceEach(t *testing.T) {
	entries := map[domain.EventType]domain.SignalEntry{}
	for _, entry := range domain.SignalCatalogue() {
		entries[entry.Type] = entry
	}
	heard := map[domain.EventType]int{}
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt, false)
		r := w.submit(rt, rapid.SampledFrom([]int{1, 2, AllSlots}).Draw(rt, "slots"))
		if rapid.Bool().Draw(rt, "pause") {
			_, _ = r.Do(domain.PauseTask{})
			_, _ = r.Do(domain.ResumeTask{})
		}
		if rapid.Bool().Draw(rt, "lose") {
			r.Lose()
		}
		w.play(rt, r, func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "next") })
		for _, commit := range messages(rt, r.Log) {
			told := domain.WithSignals(commit)
			checkSignals(rt, entries, commit, told)
			for _, rec := range told {
				if s, ok := rec.Event.(domain.Signal); ok {
					heard[s.Name]++
				}
			}
			if again := domain.WithSignals(commit); !reflect.DeepEqual(told, again) {
				rt.Fatal("derived again, the signals are others")
			}
		}
	})
	for name, entry := range entries {
		if (heard[name] > 0) == entry.Live {
			t.Errorf("%s was heard %d times", name, heard[name])
		}
	}
}

// messages cuts a log into messages anywhere.
func messages(rt *rapid.T, log []domain.Record) [][]domain.Record {
	var all [][]domain.Record
	for i, rec := range log {
		if i == 0 || rapid.IntRange(0, 3).Draw(rt, "cut") == 0 {
			all = append(all, nil)
		}
		last := len(all) - 1
		rec.Position = domain.Position{Sequence: uint64(last + 1), Index: len(all[last])}
		all[last] = append(all[last], rec)
	}
	return all
}

func checkSignals(rt *rapid.T, entries map[domain.EventType]domain.SignalEntry, commit, told []domain.Record) {
	var facts []domain.Record
	n := map[domain.EventType]int{}
	for i, rec := range told {
		if i > 0 && rec.Position == told[i-1].Position && domain.RankOf(rec.Event) <= domain.RankOf(told[i-1].Event) {
			rt.Fatalf("%s is told after %s", rec.Event.Type(), told[i-1].Event.Type())
		}
		s, ok := rec.Event.(domain.Signal)
		if !ok {
			facts = append(facts, rec)
			continue
		}
		n[s.Name]++
		fact := commit[rec.Position.Index]
		if rec.At != fact.At || rec.Task != fact.Task || rec.Position != fact.Position {
			rt.Fatalf("%s is not where its fact is: %+v, %+v", s.Name, rec, fact)
		}
		var says map[string]any
		if err := json.Unmarshal(domain.EventData(s), &says); err != nil && domain.EventData(s) != nil {
			rt.Fatal(err)
		}
		for field := range says {
			if !slices.Contains(entries[s.Name].Has, field) {
				rt.Fatalf("%s has %s, which its entry does not name", s.Name, field)
			}
		}
	}
	if !reflect.DeepEqual(facts, commit) {
		rt.Fatal("the facts are not passed on as they are")
	}
	want := expected(commit)
	for name := range entries {
		if n[name] != want[name] {
			rt.Fatalf("%s was told %d times, want %d, in %v", name, n[name], want[name], commit)
		}
	}
}

// expected counts the signals of a message of one task as SEMANTICS 11 says it.
func expected(commit []domain.Record) map[domain.EventType]int {
	n := map[domain.EventType]int{}
	for _, rec := range commit {
		switch e := rec.Event.(type) { //nolint:gochecksumtype // those that imply signals
		case domain.StepExecutionRequested:
			n[domain.SignalViableStepsDiscovered], n[domain.SignalStepsExecutionStarted] = 1, 1
		case domain.StepCompleted:
			n[domain.SignalStepsExecutionCompleted] = 1
		case domain.StepFailed:
			if e.Error.Kind != domain.KindDeadline {
				n[domain.SignalStepsExecutionCompleted] = 1
			}
			if e.RetryAt != 0 {
				n[domain.SignalStepBackoff]++
			} else {
				n[domain.SignalMaxRetriesReached]++
			}
		case domain.StepSkipped:
			n[domain.SignalStepSkip]++
		case domain.TaskStartRequested:
			if !e.Again {
				n[domain.SignalTaskStarted]++
			}
			n[domain.SignalFinalizationStarted]++
		case domain.TaskReenqueued, domain.TaskDelayed:
			n[domain.SignalFinalizationStarted]++
			n[domain.SignalReenqueueStarted]++
			n[domain.SignalNoViableSteps]++
		case domain.TaskCompleted, domain.TaskFailed:
			n[domain.SignalFinalizationStarted]++
		}
	}
	n[domain.SignalFinalizationCompleted] = n[domain.SignalFinalizationStarted]
	return n
}

package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/sqlite"
	"github.com/tasker-go/tasker/projections/index"
)

func TestHostileQueriesAreRefusedWithTheFieldToChange(t *testing.T) {
	b := filled(t, 1, 5)
	x := openIndex(t, "", b.store.Data())
	whole(t, x, b)
	page, err := x.Tasks(t.Context(), index.TaskQuery{Limit: 1})
	if err != nil || page.Next == "" {
		t.Fatalf("%+v, %v", page, err)
	}
	long := strings.Repeat("x", 600)
	for field, q := range map[string][]index.TaskQuery{
		"sort":          {{Sort: "size"}, {Sort: "created; DROP TABLE task"}},
		"limit":         {{Limit: -1}, {Limit: 501}},
		"states":        {{States: []domain.State{99}}},
		"namespace":     {{Namespaces: []string{long}}, {Namespaces: []string{"\xff"}}, {Namespaces: make([]string, 1001)}},
		"initiator":     {{Initiator: long}},
		"tags":          {{Tags: make([]string, 17)}, {Tags: []string{long}}},
		"fields":        {{Fields: map[string]string{long: ""}}},
		"text":          {{Text: long}, {Text: "!!! ???"}, {Text: strings.Repeat("a ", 17)}},
		"after":         {{After: "x"}, {After: strings.Repeat("A", 300)}, {After: page.Next, Initiator: "web"}, {After: page.Next, Ascending: true}},
		"ended_before":  {{EndedAfter: time.Unix(1<<60, 0)}},
		"source_system": {{SourceSystem: "\xc3\x28"}},
	} {
		for _, q := range q {
			var wrong *index.QueryError
			if _, err := x.Tasks(t.Context(), q); !errors.As(err, &wrong) || wrong.Field != field || wrong.Why == "" {
				t.Errorf("%s: %v", field, err)
			}
		}
	}
	var wrong *index.QueryError
	if _, err := x.Steps(t.Context(), index.StepQuery{Limit: 1000}); !errors.As(err, &wrong) {
		t.Errorf("steps: %v", err)
	}
	if _, err := x.Steps(t.Context(), index.StepQuery{After: page.Next}); !errors.As(err, &wrong) {
		t.Errorf("steps behind a page of tasks: %v", err)
	}
	if _, err := x.Analyze(t.Context(), index.AnalyticsQuery{Top: 1000}); !errors.As(err, &wrong) {
		t.Errorf("analytics: %v", err)
	}
	if _, err := x.Count(t.Context(), index.TaskQuery{Text: "\xff"}); !errors.As(err, &wrong) {
		t.Errorf("count: %v", err)
	}
}

func TestAnyTextIsAQuery(t *testing.T) {
	b := filled(t, 1, 5)
	x := openIndex(t, "", b.store.Data())
	whole(t, x, b)
	for _, text := range []string{
		`"`, `a"b`, `NEAR(a b)`, `a OR b`, `text:a`, `a*b*`, `-a`, `^a`, `a AND`, `NOT a`, `{a b}:c`, `''`, `%`, `_`, "a\x00b", "日本 語", "İ", "e\u0301", `a+b`, `(a`, `))`,
	} {
		var wrong *index.QueryError
		if _, err := x.Tasks(t.Context(), index.TaskQuery{Text: text}); err != nil && !errors.As(err, &wrong) {
			t.Errorf("%q: %v", text, err)
		}
		for _, q := range []index.TaskQuery{{Namespaces: []string{text}}, {Name: text}, {Version: text}, {Tags: []string{text}}, {Fields: map[string]string{text: text}}, {Waiting: domain.WaitReason(text)}} {
			if page, err := x.Tasks(t.Context(), q); err != nil && !errors.As(err, &wrong) || len(page.Tasks) != 0 {
				t.Errorf("%q: %d tasks, %v", text, len(page.Tasks), err)
			}
		}
	}
}

func TestAQueryWhoseTimeIsOverEnds(t *testing.T) {
	b := filled(t, 1, 5)
	x := openIndex(t, "", b.store.Data())
	whole(t, x, b)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := x.Tasks(ctx, index.TaskQuery{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := x.Tasks(t.Context(), index.TaskQuery{}); err != nil {
		t.Errorf("the connection is of no use behind it: %v", err)
	}
}

// Tasks that do not change while a list is read page by page are on it exactly once, whatever happens to others.
func TestPagesNeitherSkipNorRepeatWhatStandsStill(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBook(t, 2)
		b.fill(t, rt, 12)
		x := openIndex(t, "", b.store.Data())
		defer x.Close()
		stop := follow(t, x, b.store, sqlite.FollowOptions{Pace: time.Millisecond})
		defer stop()
		reach(t, x, b.end())
		before := b.model(t)
		q := drawQuery(rt)
		q.Limit = rapid.IntRange(1, 4).Draw(rt, "page")
		seen := map[domain.TaskID]int{}
		for n := 0; ; n++ {
			page, err := x.Tasks(t.Context(), q)
			if err != nil {
				rt.Fatal(err)
			}
			for _, row := range page.Tasks {
				seen[row.ID]++
			}
			if q.After = page.Next; q.After == "" {
				break
			}
			b.fill(t, rt, 1)
			if n%2 == 0 {
				reach(t, x, b.end())
			}
		}
		for _, row := range before.list(q) { // of these nothing more was written
			if seen[row.ID] != 1 {
				rt.Fatalf("%+v: task %s was listed %d times", q, row.ID, seen[row.ID])
			}
		}
	})
}

func TestStepsAreFoundLikeBySearchingAll(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBook(t, 2)
		b.fill(t, rt, 20)
		x := openIndex(t, "", b.store.Data())
		defer x.Close()
		whole(t, x, b)
		m := b.model(t)
		for range 20 {
			q := drawStepQuery(rt, m)
			var want, got []string
			for _, steps := range m.steps {
				for _, s := range steps {
					if takesStep(q, s) {
						want = append(want, fmt.Sprint(s.Task, s.Step))
					}
				}
			}
			for {
				page, err := x.Steps(t.Context(), q)
				if err != nil {
					rt.Fatal(err)
				}
				for _, s := range page.Steps {
					got = append(got, fmt.Sprint(s.Task, s.Step))
				}
				if q.After = page.Next; q.After == "" {
					break
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(want, got) {
				rt.Fatalf("%+v: %d steps, want %d", q, len(got), len(want))
			}
		}
	})
}

func drawStepQuery(rt *rapid.T, m model) (q index.StepQuery) {
	for range rapid.IntRange(0, 3).Draw(rt, "filters") {
		switch rapid.IntRange(0, 6).Draw(rt, "filter") {
		case 0:
			q.Task = m.tasks[rapid.IntRange(0, len(m.tasks)-1).Draw(rt, "task")].ID
		case 1:
			q.Namespaces = []string{"shop", "none"}
		case 2:
			q.Name, q.Version = "order", "0.1.0"
		case 3:
			q.Step = rapid.SampledFrom([]string{"one", "send", "none"}).Draw(rt, "step")
		case 4:
			q.Handler = "g"
		case 5:
			q.States = rapid.SliceOfN(rapid.SampledFrom(domain.States), 1, 2).Draw(rt, "states")
		case 6:
			q.ErrorKind = rapid.SampledFrom([]domain.ErrorKind{domain.KindError, domain.KindPermanent, domain.KindDeadline}).Draw(rt, "kind")
		}
	}
	q.Limit = rapid.IntRange(1, 30).Draw(rt, "limit")
	return q
}

func takesStep(q index.StepQuery, s index.StepRow) bool {
	same := func(want, have string) bool { return want == "" || want == have }
	return (q.Task.IsZero() || q.Task == s.Task) && (len(q.Namespaces) == 0 || slices.Contains(q.Namespaces, s.Namespace)) && same(q.Name, s.TaskName) && same(q.Version, s.Version) &&
		same(q.Step, s.Step) && same(q.Handler, s.Handler) && (len(q.States) == 0 || slices.Contains(q.States, s.State)) &&
		(q.ErrorKind == "" || s.Error != nil && s.Error.Kind == q.ErrorKind)
}

// The numbers are those of every event counted by hand; percentiles within 2.5 %.
func TestAnalyticsAreThoseOfEveryEventCounted(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBook(t, 2)
		b.fill(t, rt, 25)
		x := openIndex(t, "", b.store.Data())
		defer x.Close()
		whole(t, x, b)
		m := b.model(t)
		a, err := x.Analyze(t.Context(), index.AnalyticsQuery{Top: 5})
		if err != nil {
			rt.Fatal(err)
		}
		compareTops(rt, m, a)
		for _, d := range a.Definitions {
			if d.Tasks != d.Complete+d.Failed+d.Cancelled+d.Resolved || d.SuccessRate != ratio(d.Complete, d.Tasks) {
				rt.Fatalf("%+v", d)
			}
			var durations []time.Duration
			states := map[domain.State]int64{}
			for _, row := range m.list(index.TaskQuery{Namespaces: []string{d.Namespace}, Name: d.Name, Version: d.Version}) {
				if states[row.State]++; row.State == domain.Complete {
					durations = append(durations, row.Duration)
				}
			}
			if states[domain.Complete] != d.Complete || states[domain.Error] != d.Failed || states[domain.Cancelled] != d.Cancelled || states[domain.ResolvedManually] != d.Resolved {
				rt.Fatalf("%s: %+v, want %+v", d.Name, d, states)
			}
			compareDurations(rt, d.Duration, durations)
			for _, s := range d.Steps {
				executions, took := b.executions(t, d, s.Step)
				if s.Complete != executions[domain.Complete] || s.Failed != executions[domain.Error] || s.Retries != executions[domain.Pending] {
					rt.Fatalf("%s: %+v, want %+v", s.Step, s, executions)
				}
				compareDurations(rt, s.Duration, took)
			}
		}
	})
}

func ratio(n, of int64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

func compareTops(rt *rapid.T, m model, a index.Analytics) {
	var tasks, steps, retries []int64
	for _, row := range m.tasks {
		if row.EndedAt.IsZero() {
			for _, s := range m.steps[row.ID] {
				if s.Attempt > 1 {
					retries = append(retries, 0) // of tasks that go on: not listed
				}
			}
			continue
		}
		tasks = append(tasks, int64(row.Duration))
		for _, s := range m.steps[row.ID] {
			if s.Duration > 0 {
				steps = append(steps, int64(s.Duration))
			}
			if s.Attempt > 1 {
				retries = append(retries, int64(s.Attempt-1))
			}
		}
	}
	top := func(list []int64) []int64 {
		slices.Sort(list)
		slices.Reverse(list)
		return slices.DeleteFunc(list[:min(len(list), 5)], func(n int64) bool { return n == 0 })
	}
	var have [3][]int64
	for _, r := range a.SlowestTasks {
		have[0] = append(have[0], int64(r.Duration))
	}
	for _, s := range a.SlowestSteps {
		have[1] = append(have[1], int64(s.Duration))
	}
	for _, s := range a.MostRetried {
		have[2] = append(have[2], int64(s.Attempt-1))
	}
	for i, want := range [][]int64{top(tasks), top(steps), top(retries)} {
		have := slices.DeleteFunc(have[i], func(n int64) bool { return n == 0 })
		if !slices.Equal(want, have) {
			rt.Fatalf("top %d: %v, want %v", i, have, want)
		}
	}
}

func compareDurations(rt *rapid.T, d index.Durations, list []time.Duration) {
	if d.Count != int64(len(list)) {
		rt.Fatalf("%d durations, want %d", d.Count, len(list))
	}
	if len(list) == 0 {
		return
	}
	slices.Sort(list)
	var sum time.Duration
	for _, one := range list {
		sum += one
	}
	if d.Sum != sum || d.Min != list[0] || d.Max != list[len(list)-1] {
		rt.Fatalf("%+v of %v", d, list)
	}
	for share, have := range map[float64]time.Duration{0.5: d.P50, 0.95: d.P95, 0.99: d.P99} {
		want := list[min(int(share*float64(len(list))), len(list)-1)]
		if math.Abs(float64(have-want)) > 0.025*float64(want)+1000 {
			rt.Fatalf("p%g is %s, want %s", 100*share, have, want)
		}
	}
}

// executions counts those of a step by how they ended; under Pending those that were not its first.
func (b *book) executions(t testing.TB, d index.DefinitionStats, step string) (map[domain.State]int64, []time.Duration) {
	t.Helper()
	counts, took := map[domain.State]int64{}, []time.Duration(nil)
	for _, records := range b.tasks {
		created := records[0].Event.(domain.TaskCreated)
		if created.Name != d.Name {
			continue
		}
		def := b.defs[slices.IndexFunc(b.defs, func(d *domain.Definition) bool { return d.Hash() == created.Definition })]
		i := def.Graph().Index(step)
		task := domain.NewTask(records[0], def)
		for _, r := range records {
			before := task.Steps[i]
			domain.Evolve(task, r)
			after := task.Steps[i]
			if before.State != domain.InProgress || after.State == domain.InProgress {
				continue
			}
			counts[after.State]++
			if after.Attempt > 1 {
				counts[domain.Pending]++
			}
			if after.State == domain.Complete {
				took = append(took, after.EndedAt.Sub(after.StartedAt))
			}
		}
	}
	return counts, took
}

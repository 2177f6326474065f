package tasker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
	"github.com/tasker-go/tasker/taskertest"
)

// stucker is an engine or a client.
type stucker interface {
	Stuck(ctx context.Context, q tasker.StuckQuery) (tasker.StuckPage, error)
}

func stuck(t *testing.T, x stucker, q tasker.StuckQuery) tasker.StuckPage {
	t.Helper()
	p, err := x.Stuck(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lines are the groups, a line each.
func lines(p tasker.StuckPage) []string {
	var all []string
	for _, g := range p.Groups {
		what := strings.Trim(g.Namespace+"."+g.Name, ".") + " " + g.Step + " " + g.Handler + " " + g.Kind
		all = append(all, fmt.Sprintf("%s %d %s", g.Reason, g.Tasks, strings.Join(strings.Fields(what), " ")))
		all[len(all)-1] = strings.TrimSpace(all[len(all)-1])
	}
	return all
}

func TestWhatStandsStillIsListedTheWorstFirstWithOneLinePerCause(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		ann := tasker.By{Actor: "ann", Reason: "audit"}
		fails := tasker.StepHandlerFunc(func(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) {
			return nil, tasker.Permanent(errors.New("printer on fire"))
		})
		later := tasker.StepHandlerFunc(func(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) {
			return nil, tasker.RetryAfter(30*time.Minute, errors.New("closed for lunch"))
		})
		waits := tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, _ tasker.StepView) (any, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		e.MustRegister(
			tasker.Define("failing").Step("one", fails).MustBuild(),
			tasker.Define("lunch").Step("one", later).MustBuild(),
			tasker.Define("running").Step("one", waits, tasker.Timeout(24*time.Hour)).MustBuild(),
			tasker.Define("silent").Step("one", waits, tasker.Timeout(24*time.Hour), tasker.HeartbeatTimeout(10*time.Minute)).MustBuild(),
			tasker.Define("paused").Step("one", waits, tasker.Timeout(24*time.Hour)).MustBuild(),
			tasker.Define("someday").StepNamed("one", "someday").MustBuild(),
			tasker.Define("other").Namespace("shop").StepNamed("first", "someday").MustBuild(),
		)
		if p := stuck(t, e, tasker.StuckQuery{}); len(p.Groups)+len(p.Tasks) != 0 || p.More || p.Next != "" {
			t.Errorf("nothing is there, and this stands still: %+v", p)
		}
		for range 3 {
			e.MustSubmit("failing", nil)
			e.MustSubmit("someday", nil)
		}
		e.MustSubmit("other", nil, tasker.InNamespace("shop"))
		e.MustSubmit("lunch", nil)
		e.MustSubmit("running", nil)
		e.MustSubmit("silent", nil)
		paused := e.MustSubmit("paused", nil)
		e.Settle()
		if _, err := e.Pause(t.Context(), paused, ann); err != nil {
			t.Fatal(err)
		}
		e.Advance(6 * time.Minute)
		all := stuck(t, client(t, e), tasker.StuckQuery{})
		want := []string{
			"no_handler 4 someday", "worker_silent 1 default.silent one", "task_failed 3 default.failing one permanent",
			"task_paused 1 default.paused", "backoff 1 default.lunch one error",
		}
		if diff := cmp.Diff(want, lines(all)); diff != "" {
			t.Errorf("the groups (-want +got):\n%s", diff)
		}
		if len(all.Tasks) != 10 || all.More || all.Next != "" {
			t.Errorf("%d tasks, more %v, next %q", len(all.Tasks), all.More, all.Next)
		}
		for i, x := range all.Tasks {
			again, err := e.Explain(t.Context(), x.Task, "")
			if diff := cmp.Diff(again, &x.Explanation, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Verb" }, cmp.Ignore())); err != nil || diff != "" {
				t.Errorf("explain says something else (-explain +stuck), error %v:\n%s", err, diff)
			}
			if i > 0 && all.Tasks[i-1].Reason.Severity() > x.Reason.Severity() {
				t.Errorf("%s stands behind %s", x.Reason, all.Tasks[i-1].Reason)
			}
			if x.Evidence == "" && x.Reason != domain.ReasonNoHandler {
				t.Errorf("%s has no evidence", x.Reason)
			}
		}
		for _, g := range all.Groups {
			if g.Text == "" || g.Since == 0 || g.Fix == "" && g.Hint == "" || len(g.Examples) != min(g.Tasks, tasker.MaxStuckExamples) {
				t.Errorf("a group: %+v", g)
			}
		}
		pagesOf(t, e, all)
		if diff := cmp.Diff([]string{"no_handler 1 someday"}, lines(stuck(t, e, tasker.StuckQuery{Namespaces: []string{"shop"}}))); diff != "" {
			t.Error("of a namespace", diff)
		}
		if diff := cmp.Diff([]string{"task_failed 3 default.failing one permanent"}, lines(stuck(t, e, tasker.StuckQuery{Name: "failing"}))); diff != "" {
			t.Error("of a definition", diff)
		}
		if p := stuck(t, e, tasker.StuckQuery{Reason: domain.ReasonTaskPaused}); len(p.Groups) != 1 || len(p.Tasks) != 1 || p.Tasks[0].Task != paused {
			t.Errorf("of a reason: %+v", p)
		}
	})
}

// pagesOf: the pages of two together are the whole list, each task once.
func pagesOf(t *testing.T, x stucker, all tasker.StuckPage) {
	t.Helper()
	var got []tasker.TaskID
	q := tasker.StuckQuery{Limit: 2}
	for page := 0; ; page++ {
		p := stuck(t, x, q)
		for _, task := range p.Tasks {
			got = append(got, task.Task)
		}
		if diff := cmp.Diff(lines(all), lines(p)); diff != "" {
			t.Errorf("page %d has other groups:\n%s", page, diff)
		}
		if p.More != (p.Next != "") {
			t.Errorf("page %d: more %v, next %q", page, p.More, p.Next)
		}
		if q.After = p.Next; q.After == "" || page > len(all.Tasks) {
			break
		}
	}
	var want []tasker.TaskID
	for _, task := range all.Tasks {
		want = append(want, task.Task)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the pages have\n%v, the whole list\n%v", got, want)
	}
}

func TestAQueryForWhatStandsStillIsChecked(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		for field, q := range map[string]tasker.StuckQuery{
			"limit":  {Limit: tasker.MaxStuck + 1},
			"reason": {Reason: domain.ReasonStepRunning},
			"after":  {After: "9.nine.x"},
		} {
			for _, x := range []stucker{e, client(t, e)} {
				var invalid *tasker.InvalidStuckError
				if _, err := x.Stuck(t.Context(), q); !errors.As(err, &invalid) || invalid.Field != field {
					t.Errorf("%+v: %v", q, err)
				}
			}
		}
	})
}

func TestAPartitionThatIsHeldStandsStillAsAWhole(t *testing.T) {
	var two twoPartitions
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(long)
		for e.Stats().Partitions[0].Phase != subscribers.Owning || e.Stats().Partitions[1].Phase != subscribers.Owning {
			e.Advance(time.Second)
		}
		c, err := tasker.NewClient(t.Context(), tasker.Config{Store: two.log})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		e.Stop()
		p := stuck(t, c, tasker.StuckQuery{})
		if diff := cmp.Diff([]string{"partition_without_owner 0"}, lines(p)); diff != "" || p.Groups[0].Text != "no engine has partitions 00 and 01" || p.Groups[0].Hint == "" {
			t.Errorf("without an engine: %+v\n%s", p, diff)
		}
		two.log.Foreign(0, "torn", []byte(`{"v":1,"id":"torn","at":`))
		e.Restart()
		e.Settle()
		for _, x := range []stucker{e, c} {
			p = stuck(t, x, tasker.StuckQuery{})
			if len(p.Groups) != 1 || p.Groups[0].Reason != domain.ReasonClosed || !slices.Equal(p.Groups[0].Partitions, []int{0}) ||
				!strings.HasPrefix(p.Groups[0].Text, "partition 00 is closed: message ") {
				t.Errorf("with a torn message: %+v", p)
			}
			if p := stuck(t, x, tasker.StuckQuery{Reason: domain.ReasonTaskPaused}); len(p.Groups) != 0 {
				t.Errorf("of another reason: %+v", p)
			}
		}
	}, two.change)
}

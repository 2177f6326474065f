package httpapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }

func trySubscribers(t *testing.T, w *world) {
	const path = "/api/v1/subscribers"
	ctx, cancel := context.WithCancel(t.Context())
	heard, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- w.engine.Attach(ctx, "mailer", nil, func(context.Context, tasker.Event) error {
			select {
			case heard <- struct{}{}:
			default:
			}
			return nil
		}, tasker.AttachOptions{From: tasker.FromBeginning, Flush: time.Millisecond})
	}()
	w.submit("echo", "", nil)
	<-heard
	end := time.Now().Add(10 * time.Second)
	for {
		list := read[Subscribers](t, w.do("GET", path, nil), 200)
		if len(list.Subscribers) == 1 && len(list.Subscribers[0].Partitions) > 0 {
			s := list.Subscribers[0]
			if s.Name != "mailer" || s.Partitions[0].Next.Sequence == 0 || s.Partitions[0].At.IsZero() {
				t.Errorf("%+v", s)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%+v", list)
		}
		<-time.After(time.Millisecond)
	}
	if p := w.do("DELETE", path+"/mailer", nil, headerRequest+": 1").problem(t); p.Code != CodeSubscriberRuns {
		t.Errorf("%+v", p)
	}
	cancel()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("the subscriber ended with %v", err)
	}
	if r := w.do("DELETE", path+"/mailer", nil, headerRequest+": 1"); r.Status != 204 {
		t.Errorf("%d %s", r.Status, r.Text)
	}
	if p := w.do("DELETE", path+"/mailer", nil, headerRequest+": 1").problem(t); p.Code != CodeSubNotFound {
		t.Errorf("%+v", p)
	}
}

func tryStatus(t *testing.T, w *world) {
	st := read[Status](t, w.do("GET", "/api/v1/status", nil), 200)
	if st.Info.Partitions != 2 || len(st.Partitions) != 2 || st.Partitions[1].Phase != "owning" || len(st.Engines) != 1 || len(st.Reasons) != 0 ||
		st.Partitions[0].Stored == nil ||
		st.Engines[0].Executor.Slots == 0 || len(st.Engines[0].Handlers) == 0 {
		t.Errorf("%+v", st)
	}
	if st := read[Status](t, w.as("shop").do("GET", "/api/v1/status", nil), 200); len(st.Engines[0].Handlers) != 0 {
		t.Errorf("%+v", st.Engines[0])
	}
}

// A partition that nobody has is explained in the words of explain.
func TestStatusSaysWhyNothingHappensInAPartition(t *testing.T) {
	got := reasons([]tasker.PartitionStatus{partition(0, "owning", ""), partition(1, "away", "x"), partition(2, "closed", "message 7 cannot be read"), partition(3, "loading", "")})
	if len(got) != 3 || got[0].Reason != domain.ReasonNoOwner || got[0].Text != "no engine has partition 01" || got[0].Fix == "" ||
		got[1].Reason != domain.ReasonClosed || !strings.Contains(got[1].Text, "message 7") || got[2].Reason != domain.ReasonLoading {
		t.Errorf("%+v", got)
	}
}

func partition(n int, phase, why string) tasker.PartitionStatus {
	p := tasker.PartitionStatus{Why: why}
	p.Partition = n
	set(&p.Phase, phase)
	return p
}

func set[T ~string](to *T, text string) { *to = T(text) }

func tryMetrics(t *testing.T, w *world) {
	if p := w.do("GET", "/api/v1/metrics", nil).problem(t); p.Code != CodeNotFound {
		t.Errorf("%+v", p)
	}
	w = serve(t, w.engine, Options{Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("tasker_up 1\n"))
	})})
	if r := w.do("GET", "/api/v1/metrics", nil, "Accept: text/plain;version=0.0.4"); r.Status != 200 || r.Text != "tasker_up 1\n" {
		t.Errorf("%d %s", r.Status, r.Text)
	}
}

// asked is a service whose index answers what it was asked.
type asked struct {
	*running
	tasks     index.TaskQuery
	steps     index.StepQuery
	analytics index.AnalyticsQuery
	at        []tasker.Position
	err       error
}

func (a *asked) FindTasks(_ context.Context, q index.TaskQuery, at ...tasker.Position) (index.TaskPage, error) {
	a.tasks, a.at = q, at
	return index.TaskPage{Tasks: []index.TaskRow{{Name: "echo"}}, Next: "more"}, a.err
}

func (a *asked) CountTasks(_ context.Context, q index.TaskQuery, at ...tasker.Position) (index.Counts, error) {
	a.tasks, a.at = q, at
	return index.Counts{Total: 7}, a.err
}

func (a *asked) FindSteps(_ context.Context, q index.StepQuery, at ...tasker.Position) (index.StepPage, error) {
	a.steps, a.at = q, at
	return index.StepPage{Steps: []index.StepRow{{Step: "one"}}}, a.err
}

func (a *asked) Analyze(_ context.Context, q index.AnalyticsQuery, at ...tasker.Position) (index.Analytics, error) {
	a.analytics, a.at = q, at
	return index.Analytics{}, a.err
}

func (a *asked) IndexLag(context.Context) (index.Lag, error) { return index.Lag{Commits: 3}, a.err }

// tryIndex looks at what the index is asked for.
func tryIndex(t *testing.T, w *world) {
	if p := w.do("GET", tasksPath, nil).problem(t); p.Code != CodeNoIndex || p.Status != 409 {
		t.Errorf("without an index: %+v", p)
	}
	a := &asked{running: w.engine}
	w = serve(t, a, Options{Auth: everybody}).as("all")
	page := read[index.TaskPage](t, w.do("GET", tasksPath+"?namespace=n&name=d&version=1.2.3&state=error,pending&state=complete&waiting=backoff&paused=true&initiator=i"+
		"&source_system=s&correlation=c&tag=a&tag=b%2Cc&field.customer.id=7&text=card+dec&created_after=2026-01-02T03:04:05Z&sort=retries&order=asc&limit=9&after=A"+
		"&position=01-7-0&wait=1s", nil), 200)
	q := a.tasks
	if page.Next != "more" || strings.Join(q.Namespaces, "|") != "n" || q.Name != "d" || q.Version != "1.2.3" || len(q.States) != 3 || q.States[0] != domain.Error || q.Waiting != "backoff" ||
		q.Paused == nil || !*q.Paused || q.Initiator != "i" || q.SourceSystem != "s" || q.Correlation != "c" || strings.Join(q.Tags, "|") != "a|b,c" ||
		q.Fields["customer.id"] != "7" || q.Text != "card dec" || q.CreatedAfter.Year() != 2026 || q.Sort != index.SortRetries || !q.Ascending ||
		q.Limit != 9 || q.After != "A" || len(a.at) != 1 || a.at[0] != (tasker.Position{Partition: 1, Sequence: 7}) {
		t.Errorf("%+v at %v", q, a.at)
	}
	read[index.TaskPage](t, w.do("GET", tasksPath, nil), 200)
	if a.tasks.Limit != 50 || a.tasks.Sort != index.SortCreated || a.tasks.Ascending || a.tasks.Paused != nil || len(a.tasks.Fields) != 0 || len(a.at) != 0 {
		t.Errorf("%+v at %v", a.tasks, a.at)
	}
	if c := read[index.Counts](t, w.do("GET", tasksPath+"/count?field.a=b", nil), 200); c.Total != 7 || a.tasks.Fields["a"] != "b" {
		t.Errorf("%+v of %+v", c, a.tasks)
	}
	read[index.StepPage](t, w.do("GET", "/api/v1/steps?task="+nobody+"&handler=h&state=error&error_kind=timeout&step=x", nil), 200)
	if a.steps.Task.String() != nobody || a.steps.Handler != "h" || a.steps.States[0] != domain.Error || a.steps.ErrorKind != "timeout" || a.steps.Step != "x" {
		t.Errorf("%+v", a.steps)
	}
	read[index.Analytics](t, w.do("GET", "/api/v1/analytics?name=d&since=2026-01-02T03:04:05Z&top=3", nil), 200)
	if a.analytics.Name != "d" || a.analytics.Since.IsZero() || a.analytics.Top != 3 {
		t.Errorf("%+v", a.analytics)
	}
	if s := read[IndexState](t, w.do("GET", "/api/v1/index", nil), 200); s.Lag.Commits != 3 {
		t.Errorf("%+v", s)
	}
	for _, path := range []string{tasksPath, tasksPath + "/count", "/api/v1/steps", "/api/v1/analytics"} {
		for who, want := range map[string]string{"shop": "shop", "two": "shop|other"} {
			a.tasks, a.steps, a.analytics = index.TaskQuery{}, index.StepQuery{}, index.AnalyticsQuery{}
			read[map[string]any](t, w.as(who).do("GET", path, nil), 200)
			if got := strings.Join(slices.Concat(a.tasks.Namespaces, a.steps.Namespaces, a.analytics.Namespaces), "|"); got != want {
				t.Errorf("%s of %s: %s", path, who, got)
			}
		}
		if p := w.as("shop").do("GET", path+"?namespace=default", nil).problem(t); p.Code != CodeForbidden {
			t.Errorf("%s: %+v", path, p)
		}
	}
	for _, query := range []string{"state=x", "state=,", "paused=maybe", "position=x", "wait=x&position=00-1-0", "limit=0", "limit=501", "sort=name", "order=up", "created_after=yesterday"} {
		if p := w.do("GET", tasksPath+"?"+query, nil).problem(t); p.Code != CodeInvalid || p.Status != 422 {
			t.Errorf("%s: %+v", query, p)
		}
	}
	a.err = &index.BehindError{Position: tasker.Position{Sequence: 9}}
	if p := w.do("GET", tasksPath+"?position=00-9-0", nil).problem(t); p.Code != CodeBehind || p.Status != 409 || p.Explanation == nil || p.Explanation.Text == "" {
		t.Errorf("%+v", p)
	}
	a.err = &index.QueryError{Field: "after", Why: "it is of another query"}
	if p := w.do("GET", tasksPath, nil).problem(t); p.Code != CodeInvalid || p.Errors[0].Location != "query.after" {
		t.Errorf("%+v", p)
	}
}

func tryStuck(t *testing.T, w *world) {
	_, path := w.submit("stuck", "shop", nil)
	w.until(path, domain.Error)
	page := read[tasker.StuckPage](t, w.do("GET", "/api/v1/stuck?name=stuck", nil), 200)
	if len(page.Tasks) == 0 || page.Tasks[0].Reason != domain.ReasonTaskFailed || len(page.Groups) == 0 {
		t.Errorf("%+v", page)
	}
	for who, want := range map[string][]string{"shop": {"shop"}, "two": {"shop", "other"}} {
		for _, task := range read[tasker.StuckPage](t, w.as(who).do("GET", "/api/v1/stuck", nil), 200).Tasks {
			if !slices.Contains(want, task.Namespace) {
				t.Errorf("%+v", task)
			}
		}
	}
	if p := w.do("GET", "/api/v1/stuck?after=%00", nil).problem(t); p.Code != CodeInvalid {
		t.Errorf("%+v", p)
	}
	if p := w.do("GET", "/api/v1/stuck?reason=bored", nil); p.Status >= 500 {
		t.Errorf("%+v", p)
	}
}

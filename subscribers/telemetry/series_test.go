package telemetry

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// quiet is New without lines in the output of the tests.
func quiet(c Config) *Telemetry {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return New(c)
}

// definition has n steps that depend on nothing.
func definition(tb testing.TB, name string, n int) *domain.Definition {
	tb.Helper()
	d := &domain.Definition{Namespace: "shop", Name: name}
	for i := range n {
		d.Steps = append(d.Steps, domain.StepTemplate{Name: fmt.Sprintf("step-%02d", i), Handler: "h", Skippable: true})
	}
	if err := d.Validate(); err != nil {
		tb.Fatal(err)
	}
	return d
}

// life tells of a task in order, and folds it as the owner does.
type life struct {
	tb   testing.TB
	tel  *Telemetry
	task *domain.Task
	at   domain.Instant
}

func begin(tb testing.TB, tel *Telemetry, d *domain.Definition, id domain.TaskID, cmd domain.CreateTask) *life {
	tb.Helper()
	cmd.ID, cmd.Context = id, domain.Inline([]byte(`{}`))
	l := &life{tb: tb, tel: tel, at: 1_790_000_000_000_000}
	created, err := domain.DecideCreate(d, cmd, l.at)
	if err != nil {
		tb.Fatal(err)
	}
	l.task = domain.NewTask(domain.Record{Event: created, At: l.at, Task: id}, d)
	tel.Notify(subscribers.Committed{Record: domain.Record{Event: created, At: l.at, Task: id, Position: l.position()}, Task: l.task})
	return l
}

func (l *life) position() domain.Position {
	return domain.Position{Partition: int(l.task.ID[15]) % len(l.tel.shards)}
}

// then lets a millisecond pass, and events happen.
func (l *life) then(events ...domain.Event) {
	for _, e := range events {
		l.at += 1000
		r := domain.Record{Event: e, At: l.at, Task: l.task.ID, Position: l.position()}
		before := l.task.Moment(e)
		domain.Evolve(l.task, r)
		l.tel.Notify(subscribers.Committed{Record: r, Task: l.task, Before: before})
	}
}

func gather(tb testing.TB, tel *Telemetry, p Process) (families map[string]*dto.MetricFamily, series int, text string) {
	tb.Helper()
	registry := prometheus.NewPedanticRegistry() // which also compares what is described with what is collected
	registry.MustRegister(tel.Collector(func() Process { return p }))
	all, err := registry.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	var out bytes.Buffer
	families = map[string]*dto.MetricFamily{}
	for _, f := range all {
		families[f.GetName()] = f
		if _, err := expfmt.MetricFamilyToText(&out, f); err != nil {
			tb.Fatal(err)
		}
	}
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "#") {
			series++
		}
	}
	return families, series, out.String()
}

// total adds up the series of a counter that have these labels.
func total(f *dto.MetricFamily, labels ...string) (sum float64) {
	for _, m := range f.GetMetric() {
		have := map[string]string{}
		for _, l := range m.GetLabel() {
			have[l.GetName()] = l.GetValue()
		}
		takes := true
		for i := 0; i < len(labels); i += 2 {
			takes = takes && have[labels[i]] == labels[i+1]
		}
		if takes {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

var allKinds = []domain.ErrorKind{
	domain.KindError, domain.KindPermanent, domain.KindPanic, domain.KindTimeout, domain.KindWorkerLost, domain.KindInterrupted,
	"card_declined", "no such account 4711",
}

// everything happens to one task for each outcome that there is.
func everything(tb testing.TB, tel *Telemetry, d *domain.Definition, n int, cmd domain.CreateTask) {
	id := func(i int) domain.TaskID {
		return domain.TaskID{0: 1, 6: 0x70, 12: byte(n >> 8), 13: byte(n), 14: byte(i), 15: byte(i)}
	}
	failing := begin(tb, tel, d, id(1), cmd)
	failing.then(domain.TaskStartRequested{})
	for i := range d.Steps {
		step := d.Steps[i].Name
		for k, kind := range allKinds {
			failing.then(domain.StepExecutionRequested{Step: step, Attempt: k + 1},
				domain.StepFailed{Step: step, Attempt: k + 1, Error: domain.StepError{Kind: kind, Message: "no such account 4711"}, RetryAt: failing.at + 1},
				domain.StepRetryRequested{Step: step})
		}
		failing.then(domain.StepExecutionRequested{Step: step, Attempt: 9}, domain.StepFailed{Step: step, Attempt: 9})
	}
	failing.then(domain.TaskFailed{Reason: domain.FailStepsInError}, domain.StepResolvedManually{Step: d.Steps[0].Name}, domain.TaskResolvedManually{})
	whole := begin(tb, tel, d, id(2), cmd)
	whole.then(domain.TaskStartRequested{})
	for i := range d.Steps {
		whole.then(domain.StepExecutionRequested{Step: d.Steps[i].Name, Attempt: 1}, domain.StepCompleted{Step: d.Steps[i].Name, Attempt: 1})
	}
	whole.then(domain.TaskCompleted{})
	stopped := begin(tb, tel, d, id(3), cmd)
	stopped.then(domain.TaskStartRequested{}, domain.StepSkipped{Step: d.Steps[1].Name},
		domain.StepExecutionRequested{Step: d.Steps[0].Name, Attempt: 1}, domain.TaskCancelled{}, domain.StepCancelled{Step: d.Steps[0].Name})
}

// crowd is a process in which there is much of everything.
func crowd() Process {
	p := Process{Version: "v1.2.3", Lag: map[string]uint64{}, Slots: 10, Index: &Index{Lag: 7, Behind: 1500 * time.Millisecond, Batches: 3, Rows: 40, Failures: 1}}
	for i := range 64 {
		p.Partitions = append(p.Partitions, subscribers.Stats{Partition: i, Phase: subscribers.Owning, Pending: 1, Held: 2, Timers: 3})
		p.LogSizes = append(p.LogSizes, 1000)
	}
	for i := range 4000 {
		p.Handlers = append(p.Handlers, HandlerSlots{Name: fmt.Sprintf("handler \xff %d", i), Used: 1, Limit: 2})
		p.Lag[fmt.Sprintf("subscriber %d", i)] = 1
	}
	return p
}

func TestTwoHundredDefinitionsOfTwentyStepsStayBelowTheLimitOfSeries(t *testing.T) {
	tel := quiet(Config{Metrics: true, Partitions: 4})
	const definitions, steps = 200, 20
	for n := range definitions {
		everything(t, tel, definition(t, fmt.Sprintf("definition-%03d", n), steps), n, domain.CreateTask{})
	}
	families, series, _ := gather(t, tel, crowd())
	t.Logf("%d series", series)
	if series > MaxSeries {
		t.Errorf("%d series, at most %d are promised", series, MaxSeries)
	}
	for name, want := range map[string]float64{
		"tasker_tasks_created_total": 3 * definitions, "tasker_task_duration_seconds": 3 * definitions,
		"tasker_tasks_finished_total":            4 * definitions,
		"tasker_step_execution_duration_seconds": definitions * (steps*10 + 1),
		"tasker_step_executions_total":           definitions * (steps*10 + 1),
		"tasker_step_failures_total":             definitions * steps * 9,
		"tasker_step_retries_total":              definitions * steps * 8,
		"tasker_handler_slots_used":              4000, "tasker_subscriber_lag_commits": 4000,
		"tasker_index_lag_commits": 7, "tasker_index_lag_seconds": 1.5, "tasker_index_batches_total": 3,
		"tasker_index_rows_written_total": 40, "tasker_index_failures_total": 1,
	} {
		if got := total(families[name]); got != want {
			t.Errorf("%s: %v in all series together, want %v: nothing is lost beyond a limit", name, got, want)
		}
	}
	last := []string{"namespace", "shop", "definition", "definition-199"}
	if got := total(families["tasker_tasks_finished_total"], append(last, "outcome", "error")...); got != 1 {
		t.Errorf("the last definition has %v failed tasks of its own, want 1", got)
	}
	if got := total(families["tasker_task_duration_seconds"], "namespace", other, "definition", other); got != 3*(definitions-MaxHistograms) {
		t.Errorf("%v tasks in the histogram of the others", got)
	}
}

func TestNothingThatSomebodyElseWritesBecomesALabel(t *testing.T) {
	tel := quiet(Config{Metrics: true})
	secrets := domain.CreateTask{
		Correlation: "order-4711", Initiator: "ann@example.com", SourceSystem: "shop-4711", Reason: "because of 4711",
		Tags: []string{"vip-4711"}, Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
	for n := range 300 { // more definitions than there is room for, and names of steps that are made up for each
		everything(t, tel, definition(t, fmt.Sprintf("made-up-%d", n), 3), n, secrets)
	}
	l := begin(t, tel, definition(t, "made-up-0", 3), domain.TaskID{15: 1}, secrets)
	for i := range 1000 {
		l.then(domain.Custom{Name: fmt.Sprintf("event.%d", i), Step: "step-00"}, domain.Unknown{TypeName: domain.EventType(fmt.Sprintf("new.%d", i))})
	}
	families, series, text := gather(t, tel, Process{Version: strings.Repeat("v", 1000)})
	if series > MaxSeries {
		t.Errorf("%d series", series)
	}
	for _, secret := range []string{"4711", "ann@", "card_declined", "4bf92f", "00f067", l.task.ID.String(), "event.9", "new.9"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in the metrics", secret)
		}
	}
	if got := total(families["tasker_events_total"], "type", "custom"); got != 1000 {
		t.Errorf("%v custom events are counted, want 1000", got)
	}
}

func TestWhatIsServedIsWhatThePageSays(t *testing.T) {
	tel := quiet(Config{Metrics: true})
	everything(t, tel, definition(t, "order", 3), 1, domain.CreateTask{})
	meter := tel.Partition(0)
	meter.Stored(4, 900, time.Millisecond, 2*time.Millisecond)
	meter.Waited(0)
	families, _, _ := gather(t, tel, crowd())
	for _, m := range List() {
		f := families[m.Name]
		if f == nil {
			t.Errorf("%s is documented and not served", m.Name)
			continue
		}
		delete(families, m.Name)
		if kind := strings.ToLower(f.GetType().String()); kind != string(m.Kind) || f.GetHelp() != m.Help {
			t.Errorf("%s is a %s: %s", m.Name, kind, f.GetHelp())
		}
		for _, x := range f.GetMetric() {
			var names []string
			for _, l := range x.GetLabel() {
				names = append(names, l.GetName())
			}
			if want := slices.Sorted(slices.Values(m.Labels)); !slices.Equal(names, want) {
				t.Errorf("%s has labels %v, want %v", m.Name, names, want)
			}
		}
		checkName(t, m)
	}
	for name := range families {
		t.Errorf("%s is served and not documented", name)
	}
}

// checkName holds a metric to the conventions of Prometheus.
func checkName(t *testing.T, m Metric) {
	t.Helper()
	base := strings.TrimSuffix(m.Name, "_total")
	switch {
	case (m.Kind == Counter) != (base != m.Name):
		t.Errorf("%s: counters, and only they, end in _total", m.Name)
	case m.Unit != "" && !strings.HasSuffix(base, "_"+m.Unit):
		t.Errorf("%s does not name its unit, %s", m.Name, m.Unit)
	case !strings.HasPrefix(m.Name, "tasker_") || m.Help == "" || m.Look == "" || m.Group == "":
		t.Errorf("%+v is not said completely", m)
	}
}

func TestCountingInAllPartitionsWhileSomebodyScrapes(t *testing.T) {
	const partitions, tasks = 4, 200
	tel := quiet(Config{Metrics: true, Partitions: partitions})
	var wg sync.WaitGroup
	for p := range partitions {
		wg.Go(func() {
			meter := tel.Partition(p)
			for n := range tasks {
				d := definition(t, fmt.Sprintf("definition-%d", n%50), 2)
				l := begin(t, tel, d, domain.TaskID{15: byte(p)}, domain.CreateTask{})
				l.then(domain.TaskStartRequested{}, domain.StepExecutionRequested{Step: "step-00", Attempt: 1},
					domain.StepFailed{Step: "step-00", Attempt: 1, Error: domain.StepError{Kind: domain.KindError}}, domain.TaskFailed{})
				meter.Stored(5, 1000, time.Millisecond, time.Millisecond)
				meter.Waited(time.Millisecond)
			}
		})
	}
	scraped := make(chan struct{})
	go func() {
		defer close(scraped)
		for range 20 {
			gather(t, tel, Process{})
		}
	}()
	wg.Wait()
	<-scraped
	families, _, _ := gather(t, tel, Process{})
	for _, name := range []string{
		"tasker_tasks_created_total", "tasker_step_failures_total", "tasker_step_executions_total", "tasker_task_duration_seconds",
		"tasker_commit_events", "tasker_step_queue_wait_seconds",
	} {
		if got := total(families[name]); got != partitions*tasks {
			t.Errorf("%s: %v, want %d", name, got, partitions*tasks)
		}
	}
}

func TestDurationsFallIntoTheirBuckets(t *testing.T) {
	tel := quiet(Config{Metrics: true})
	m := tel.Partition(0)
	for _, d := range []time.Duration{0, -time.Second, 100 * time.Microsecond, 101 * time.Microsecond, 10 * time.Second, time.Hour} {
		m.Waited(d)
	}
	families, _, _ := gather(t, tel, Process{})
	h := families["tasker_step_queue_wait_seconds"].GetMetric()[0].GetHistogram()
	at := map[float64]uint64{}
	for _, b := range h.GetBucket() {
		at[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	if at[0.0001] != 3 || at[0.00025] != 4 || at[1] != 4 || at[10] != 5 || h.GetSampleCount() != 6 || h.GetSampleSum() != 3610.000201 {
		t.Errorf("%v", h)
	}
}

func TestMeasuringAllocatesNothing(t *testing.T) {
	tel := quiet(Config{Metrics: true, Traces: Traces{Exporter: discard{}, Ratio: -1}})
	l := begin(t, tel, definition(t, "order", 2), domain.TaskID{15: 1}, domain.CreateTask{})
	l.then(domain.TaskStartRequested{}, domain.StepExecutionRequested{Step: "step-00", Attempt: 1})
	events := []domain.Event{
		domain.StepFailed{Step: "step-00", Attempt: 1, RetryAt: 1, Error: domain.StepError{Kind: "odd", Message: "m"}},
		domain.StepCompleted{Step: "step-00", Attempt: 1}, domain.TaskCompleted{}, domain.TaskFailed{}, domain.StepRetryRequested{Step: "step-00"},
	}
	meter := tel.Partition(0)
	for _, e := range events {
		c := subscribers.Committed{Record: domain.Record{Event: e, At: l.at, Task: l.task.ID}, Task: l.task, Before: l.task.Moment(e)}
		tel.Notify(c) // the first time, there is a place to be made for it
		if n := testing.AllocsPerRun(100, func() {
			tel.Notify(c)
			meter.Stored(1, 1, time.Millisecond, time.Millisecond)
			meter.Waited(time.Millisecond)
		}); n != 0 {
			t.Errorf("%s: %v allocations", e.Type(), n)
		}
	}
}

package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/subscribers"
	"github.com/tasker-go/tasker/subscribers/executor"
)

// topPicture is one with a task of each kind: running, paused, failed.
func topPicture(t *testing.T) *picture {
	t.Helper()
	at := time.Date(2026, 1, 31, 8, 0, 0, 0, time.Local)
	task := func(id, name string, state domain.State, age time.Duration, change func(*tasker.Task)) tasker.Task {
		parsed, err := tasker.ParseTaskID(id)
		if err != nil {
			t.Fatal(err)
		}
		x := tasker.Task{ID: parsed, Namespace: "default", Name: name, Version: "1.0.0", State: state, CreatedAt: at.Add(-age)}
		if change != nil {
			change(&x)
		}
		return x
	}
	return &picture{
		at: at,
		status: &tasker.Status{
			Info: domain.DataInfo{ID: "d", Partitions: 2, Durability: "strict"},
			Partitions: []tasker.PartitionStatus{
				{Stats: subscribers.Stats{Partition: 0, Phase: subscribers.Owning, Sequence: 41, Commits: 300, Events: 3000, Bytes: 3 << 20, AckWait: 300 * time.Millisecond, SlowestAck: 4 * time.Millisecond, Live: 2, InProgress: 1, Failed: 1, Held: 1}, Owner: "one"},
				{Stats: subscribers.Stats{Partition: 1, Phase: subscribers.Away}, Why: "no engine has it"},
			},
			Engines: []tasker.EngineStatus{{Name: "one", Version: "1.2.3", Executor: executor.Stats{Slots: 64, Running: 3, Completed: 900, Failed: 30}}},
		},
		tasks: []tasker.Task{
			task("01890a5d-ac96-774b-bcce-b302099a8001", "order", domain.InProgress, 2*time.Second, func(x *tasker.Task) { x.Tags = []string{"vip"} }),
			task("01890a5d-ac96-774b-bcce-b302099a8002", "order", domain.InProgress, time.Minute, func(x *tasker.Task) { x.Paused = true }),
			task("01890a5d-ac96-774b-bcce-b302099a8003", "refund", domain.Error, time.Hour, nil),
		},
	}
}

func TestTopShowsWhatNeedsAnOperatorFirst(t *testing.T) {
	before := topPicture(t)
	before.at = before.at.Add(-time.Second)
	p := before.status.Partitions[0]
	p.Commits, p.Events, p.Bytes, p.AckWait = 100, 1000, 1<<20, 100*time.Millisecond
	before.status.Partitions[0] = p
	before.status.Engines[0].Executor.Completed = 400
	now := topPicture(t)
	now.rates = ratesBetween(before, now)
	m := newTopModel(topView{width: 100, height: 24})
	m.take(now)
	want := `tasker  08:00:00  durability strict  one 1.2.3
rate    2000 events/s  200 commits/s  500 steps/s  0 failed/s  2.0 MiB/s to the log  commit 1 ms
tasks   2 live: 1 running, 1 waiting    1 failed    0 inputs queued
slots   3 of 64 used    1 ready steps wait    slowest commit 4 ms

PARTITION  PHASE          SEQUENCE       LIVE    FAILED   WAITING  OWNER
00         owning               41          2         1         1  one
01         away                  0          0         0         0  nobody: no engine has it

DEFINITION                             RUNNING   WAITING    FAILED  OLDEST
default/order@1.0.0                          2         0         0  2026-01-31 07:59:00
default/refund@1.0.0                         0         0         1  2026-01-31 07:00:00

TASK                                  DEFINITION            STATE                       AGE  TAGS
> 01890a5d-ac96-774b-bcce-b302099a8003  refund@1.0.0          failed                      1 h
01890a5d-ac96-774b-bcce-b302099a8002  order@1.0.0           paused                    1 min
01890a5d-ac96-774b-bcce-b302099a8001  order@1.0.0           running                   2.0 s  vip






q quit  enter details  / filter  s sort (urgency)  p pause  ? help`
	var got []string
	for _, line := range strings.Split(m.view.render(m), "\n") {
		got = append(got, strings.TrimRight(line, " "))
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), got); diff != "" {
		t.Error(diff)
	}
}

// press types keys, by the names that bubbletea gives them.
func press(m *topModel, keys ...string) (quits bool) {
	for _, k := range keys {
		text := ""
		if len(k) == 1 {
			text = k
		}
		_, cmd := m.key(k, text)
		if cmd == nil {
			continue
		}
		if k == "q" || k == "ctrl+c" || k == "esc" {
			_, quits = cmd().(tea.QuitMsg)
		}
	}
	return quits
}

func TestTopKeys(t *testing.T) {
	m := newTopModel(topView{width: 100, height: 24})
	press(m, "down", "enter", "end") // nothing is there yet
	m.take(topPicture(t))
	if press(m, "down", "down", "down"); !strings.HasSuffix(m.chosen.String(), "8001") {
		t.Errorf("three steps down is %s", m.chosen)
	}
	if press(m, "g"); !strings.HasSuffix(m.chosen.String(), "8003") {
		t.Errorf("the first is %s", m.chosen)
	}
	if press(m, "/", "v", "i", "q", "backspace", "p", "enter"); m.filter != "vip" || len(m.tasks()) != 1 || m.typing || m.paused {
		t.Errorf("filter %q leaves %d tasks, typing %v, paused %v", m.filter, len(m.tasks()), m.typing, m.paused)
	}
	if press(m, "/", "x", "enter"); !strings.Contains(m.view.render(m), `no task contains "vipx"`) {
		t.Errorf("nothing found shows\n%s", m.view.render(m))
	}
	if press(m, "esc") || m.filter != "" {
		t.Error("esc with a filter does not take it back, or quits")
	}
	if press(m, "s"); m.tasks()[0].Name != "refund" || m.sort != byAgeOf {
		t.Errorf("sorted by %s", m.sort)
	}
	press(m, "enter")
	if !m.inside {
		t.Fatal("enter shows no details")
	}
	m.Update(detailsMsg{&details{id: m.last.tasks[0].ID}}) // late: of a task that was chosen before
	if m.details != nil {
		t.Error("details of another task are shown")
	}
	if press(m, "esc"); m.inside {
		t.Error("esc does not leave the details")
	}
	if press(m, "?"); !strings.Contains(m.view.render(m), "choose a task") {
		t.Error("? shows no help")
	}
	if press(m, "q"); m.help {
		t.Error("a key does not leave the help")
	}
	if !press(m, "q") {
		t.Error("q does not quit")
	}
}

func TestTopKeepsThePictureWhenTheServerIsGone(t *testing.T) {
	m := newTopModel(topView{width: 100, height: 40})
	p := topPicture(t)
	m.take(p)
	m.take(&picture{at: p.at.Add(time.Second), err: errors.New("no server runs")})
	m.take(&picture{at: p.at.Add(2 * time.Second), err: errors.New("no server runs\nat all")})
	shown := m.view.render(m)
	for _, want := range []string{"no answer since 08:00:01: no server runs at all", "tasker doctor", "refund@1.0.0"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is missing in\n%s", want, shown)
		}
	}
	m.take(topPicture(t))
	if strings.Contains(m.view.render(m), "no answer") {
		t.Error("it is back, and that is not shown")
	}
}

func TestTopFitsEveryScreen(t *testing.T) {
	m := newTopModel(topView{})
	m.take(topPicture(t))
	for _, size := range [][2]int{{0, 0}, {1, 1}, {10, 3}, {80, 24}, {300, 100}} {
		m.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		for _, inside := range []bool{false, true} {
			m.inside = inside
			lines := strings.Split(m.view.render(m), "\n")
			if len(lines) > max(size[1], 1) {
				t.Errorf("%v: %d lines", size, len(lines))
			}
			for _, l := range lines {
				if n := len([]rune(l)); n > size[0] {
					t.Errorf("%v: a line of %d columns: %q", size, n, l)
				}
			}
		}
	}
}

func TestTopLooksAtAnEngine(t *testing.T) {
	engine, err := tasker.New(t.Context(), tasker.Config{Store: memlog.New(memlog.Options{Partitions: 2}), Drain: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	order := tasker.Define("order").Step("never", tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, _ tasker.StepView) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})).MustBuild()
	if err := engine.Register(order); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	defer func() { stop(); <-ended }()
	<-engine.Ready()
	c := &connection{face: engine, close: func() error { return nil }}
	first := look(ctx, c, nil)
	r, err := engine.Submit(ctx, "order", map[string]any{})
	if err != nil {
		t.Fatal(err)
	}
	second := look(ctx, c, first)
	if second.err != nil || len(second.tasks) != 1 || second.rates == nil || second.rates.Events <= 0 {
		t.Fatalf("the second look: %+v", second.public())
	}
	d := lookAt(ctx, c, r.ID)
	if d.err != nil || d.explain == nil || d.explain.Reason != domain.ReasonStepRunning {
		t.Fatalf("details %+v", d)
	}
	m := newTopModel(topView{width: 120, height: 30})
	m.take(second)
	m.inside, m.chosen, m.details = true, r.ID, d
	if shown := m.view.render(m); !strings.Contains(shown, "never") || !strings.Contains(shown, d.explain.Text) {
		t.Errorf("the details show\n%s", shown)
	}
}

package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// topTasks is how many tasks a picture has: more than fit on a screen, few enough to be asked for every second.
const topTasks = 200

// picture is what top shows at one moment.
type picture struct {
	at     time.Time
	status *tasker.Status
	tasks  []tasker.Task // live and failed ones, the newest first
	partly error         // some partitions did not say which tasks they have
	rates  *rates        // nil in the first picture
	err    error         // there is no picture: why
}

// rates are those between two pictures, of all engines together.
type rates struct {
	Commits float64       `json:"commits_per_second"`
	Events  float64       `json:"events_per_second"`
	Bytes   float64       `json:"bytes_per_second"` // before compression
	Steps   float64       `json:"steps_per_second"` // completed
	Failed  float64       `json:"failed_steps_per_second"`
	Ack     time.Duration `json:"mean_ack_ns"` // a commit's way to the disk and back
}

// publicPicture is a picture as JSON.
type publicPicture struct {
	At     time.Time      `json:"at"`
	Status *tasker.Status `json:"status"`
	Rates  *rates         `json:"rates,omitempty"`
	Tasks  []tasker.Task  `json:"tasks"` // live and failed ones, the newest 200
	Error  string         `json:"error,omitempty"`
}

func (p *picture) public() publicPicture {
	out := publicPicture{At: p.at, Status: p.status, Rates: p.rates, Tasks: p.tasks}
	if p.partly != nil {
		out.Error = p.partly.Error()
	}
	if out.Tasks == nil {
		out.Tasks = []tasker.Task{}
	}
	return out
}

// look takes a picture; before is the one that rates are measured from.
func look(ctx context.Context, c *connection, before *picture) *picture {
	p := &picture{at: time.Now()}
	if p.status, p.err = c.Status(ctx); p.err != nil {
		return p
	}
	p.tasks, p.partly = c.Tasks(ctx, tasker.Filter{States: []domain.State{domain.Pending, domain.InProgress, domain.Error}, Limit: topTasks})
	var partial *tasker.PartialError
	if p.partly != nil && !errors.As(p.partly, &partial) {
		p.err = p.partly
		return p
	}
	p.rates = ratesBetween(before, p)
	return p
}

// ratesBetween is nil when there is nothing to compare with, or an engine has begun to count anew.
func ratesBetween(before, now *picture) *rates {
	if before == nil || before.status == nil {
		return nil
	}
	took := now.at.Sub(before.at).Seconds()
	a, b := sum(before.status), sum(now.status)
	if took <= 0 || b.commits < a.commits || b.completed < a.completed || b.failed < a.failed {
		return nil
	}
	r := &rates{
		Commits: float64(b.commits-a.commits) / took, Events: float64(b.events-a.events) / took, Bytes: float64(b.bytes-a.bytes) / took,
		Steps: float64(b.completed-a.completed) / took, Failed: float64(b.failed-a.failed) / took,
	}
	if n := b.commits - a.commits; n > 0 {
		r.Ack = (b.ack - a.ack) / time.Duration(n)
	}
	return r
}

type sums struct {
	commits, events, bytes, live, failedTasks, running, held, queued int64
	completed, failed                                                uint64
	ack, slowest                                                     time.Duration
	slots, used, leaked                                              int
}

func sum(s *tasker.Status) (t sums) {
	for _, p := range s.Partitions {
		t.commits, t.events, t.bytes = t.commits+p.Commits, t.events+p.Events, t.bytes+p.Bytes
		t.live, t.failedTasks, t.running = t.live+p.Live, t.failedTasks+p.Failed, t.running+p.InProgress
		t.held, t.queued = t.held+p.Held, t.queued+p.Queued
		t.ack, t.slowest = t.ack+p.AckWait, max(t.slowest, p.SlowestAck)
	}
	for _, e := range s.Engines {
		t.completed, t.failed = t.completed+e.Executor.Completed, t.failed+e.Executor.Failed
		t.slots, t.used, t.leaked = t.slots+e.Executor.Slots, t.used+e.Executor.Running, t.leaked+e.Executor.Leaked
	}
	return t
}

// definitionLine is what the tasks of a picture say of one definition.
type definitionLine struct {
	name                     string
	running, waiting, failed int
	oldest                   time.Time
}

func definitionLines(tasks []tasker.Task) []definitionLine {
	by := map[string]*definitionLine{}
	for _, t := range tasks {
		name := t.Namespace + "/" + t.Name + "@" + t.Version
		l := by[name]
		if l == nil {
			l = &definitionLine{name: name, oldest: t.CreatedAt}
			by[name] = l
		}
		switch t.State {
		case domain.Error:
			l.failed++
		case domain.InProgress:
			l.running++
		case domain.Pending, domain.Complete, domain.Cancelled, domain.ResolvedManually: // it had no end when it was asked for
			l.waiting++
		}
		if t.CreatedAt.Before(l.oldest) {
			l.oldest = t.CreatedAt
		}
	}
	lines := make([]definitionLine, 0, len(by))
	for _, l := range by {
		lines = append(lines, *l)
	}
	slices.SortFunc(lines, func(a, b definitionLine) int {
		return cmp.Or(-cmp.Compare(a.running+a.waiting+a.failed, b.running+b.waiting+b.failed), cmp.Compare(a.name, b.name))
	})
	return lines
}

// details are those of the chosen task.
type details struct {
	id      tasker.TaskID
	task    *tasker.Task
	explain *tasker.Explanation
	err     error
}

func lookAt(ctx context.Context, c *connection, id tasker.TaskID) *details {
	d := &details{id: id}
	if d.task, d.err = c.Task(ctx, id); d.err != nil {
		return d
	}
	if x, err := c.Explain(ctx, id, ""); err == nil {
		d.explain = x
	}
	return d
}

// watcher asks for pictures on a connection that it makes again when it fails.
type watcher struct {
	ctx       context.Context //nolint:containedctx // it is the program's
	reconnect func() (*connection, error)

	mu sync.Mutex // one question at a time
	c  *connection
}

// topPatience is how long one picture may take.
const topPatience = 10 * time.Second

func (w *watcher) ask(do func(context.Context, *connection) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	ctx, cancel := context.WithTimeout(w.ctx, topPatience)
	defer cancel()
	if w.c == nil {
		c, err := w.reconnect()
		if err != nil {
			return err
		}
		w.c = c
	}
	err := do(ctx, w.c)
	if errors.Is(err, tasker.ErrUnavailable) && w.ctx.Err() == nil {
		_ = w.c.close() // the server may come back elsewhere: its file says where
		w.c = nil
	}
	return err
}

func (w *watcher) look(before *picture) *picture {
	var p *picture
	err := w.ask(func(ctx context.Context, c *connection) error {
		p = look(ctx, c, before)
		return p.err
	})
	if p == nil {
		p = &picture{at: time.Now(), err: err}
	}
	return p
}

func (w *watcher) lookAt(id tasker.TaskID) *details {
	var d *details
	err := w.ask(func(ctx context.Context, c *connection) error {
		d = lookAt(ctx, c, id)
		return d.err
	})
	if d == nil {
		d = &details{id: id, err: err}
	}
	return d
}

func (w *watcher) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.c != nil {
		_ = w.c.close()
		w.c = nil
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/subscribers/attached"
)

// runner is one `tasker run`.
type runner struct {
	*app
	flags runFlags
	file  string
	def   *tasker.Definition
	input json.RawMessage

	log      *slog.Logger
	host     *host
	progress progress
	own      *taskView // nil with --continue
	found    []*taskView
	cursor   domain.Cursor
	final    *tasker.Task // the own task when it is over, with its result
}

func (r *runner) run(ctx context.Context) error {
	if r.def == nil && !hasData(r.flags.data) {
		return &failure{code: exitEngine, err: fmt.Errorf("there is no data in %s", shownPath(r.flags.data))}
	}
	r.progress = newProgress(r.err)
	r.signals.beforeExit(func() {
		r.progress.close()
		r.progress.say("stopped at once; to go on: " + r.continueCommand())
	})
	defer r.progress.close()
	var err error
	r.log = r.logger(r.progress.say, false)
	r.host, err = newHost(ctx, hostOptions{
		data: r.flags.data, durability: r.flags.durability, drain: runDrain, logger: r.log,
		config: tasker.Config{NoIntake: true}, // it knows one definition, and what waits there may want others
	})
	if errors.Is(err, natsserver.ErrLocked) && r.def != nil {
		if _, noServer := os.Stat(servingPath(r.flags.data)); noServer == nil {
			return &failure{code: exitEngine, err: err, hint: "a server runs there; to hand the task to it: tasker submit " + r.def.Name + r.dataFlag()}
		}
	}
	if err != nil {
		return err
	}
	err = r.on(ctx)
	return errors.Join(err, r.host.stop())
}

// on runs everything on a host that is not started yet.
func (r *runner) on(ctx context.Context) error {
	if err := r.host.start(ctx, startTimeout); err != nil {
		return err
	}
	// A client of its own still reads when the engine has stopped, so that the last events are shown, too.
	client, err := r.host.client(ctx, r.log)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := r.begin(ctx); err != nil {
		if ctx.Err() != nil {
			r.progress.say("interrupted; should the task be stored already, this goes on with it: " + r.continueCommand())
		}
		return err
	}
	// Not earlier: so the unfinished tasks are seen as they were left.
	if err := r.host.register(stepLogger(r.progress.stepSays), true); err != nil {
		return err
	}
	return r.follow(ctx, client)
}

// begin looks for unfinished tasks, submits the new one, and notes from where on their events are to be shown.
func (r *runner) begin(ctx context.Context) error {
	e := r.host.engine
	info := e.Info()
	r.progress.say(fmt.Sprintf("data %s, durability %s", shownPath(r.host.server.Dir()), info.Durability))
	unfinished, err := e.Tasks(ctx, tasker.Filter{States: []domain.State{domain.Pending, domain.InProgress}, Limit: 1000})
	var some *tasker.PartialError
	if err != nil && (ctx.Err() != nil || r.def == nil && (!errors.As(err, &some) || some.Nothing())) {
		return err
	}
	if err != nil { // a partition is closed, which has been said; the new task may be in another one
		r.progress.say("warning: unfinished tasks of a closed partition wait")
	}
	r.cursor = domain.Cursor{DataID: info.ID}
	for _, p := range e.Stats().Partitions {
		r.cursor.Advance(tasker.Position{Partition: p.Partition, Sequence: p.Sequence})
	}
	if err := r.goOnWith(ctx, unfinished); err != nil || r.def == nil {
		return err
	}
	return r.submit(ctx)
}

// submit begins the new task.
func (r *runner) submit(ctx context.Context) error {
	e := r.host.engine
	if err := r.host.apply(ctx, r.def); err != nil {
		return err
	}
	options := []tasker.SubmitOption{tasker.InNamespace(r.def.Namespace), tasker.AtVersion(r.def.Version), tasker.From("", "tasker run", "")}
	if r.flags.key != "" {
		options = append(options, tasker.Key(r.flags.key))
	}
	receipt, err := e.Submit(ctx, r.def.Name, r.input, options...)
	if err != nil {
		return keyError(err, receipt.ID, r.flags.key)
	}
	if receipt.Created {
		r.own = viewOfDefinition(receipt.ID, r.def)
	} else {
		task, err := e.Task(ctx, receipt.ID)
		if err != nil {
			return err
		}
		r.own = viewOfTask(task)
	}
	r.own.own = true
	again := ""
	if !receipt.Created {
		again = ", which was submitted before"
	}
	r.progress.say(fmt.Sprintf("task %s, %s%s", receipt.ID, r.own.name, again))
	r.progress.show(r.own)
	return nil
}

// goOnWith says which unfinished tasks were found.
func (r *runner) goOnWith(ctx context.Context, tasks []tasker.Task) error {
	if len(tasks) == 0 {
		if r.def == nil {
			r.progress.say("nothing is unfinished here")
		}
		return nil
	}
	r.progress.say(fmt.Sprintf("found %s, going on:", plural(len(tasks), "unfinished task", "unfinished tasks")))
	for i, t := range tasks {
		if i == 10 {
			r.progress.say(fmt.Sprintf("  and %d more", len(tasks)-i))
		}
		task, err := r.host.engine.Task(ctx, t.ID)
		if err != nil {
			return err
		}
		v := viewOfTask(task)
		r.found = append(r.found, v)
		r.progress.show(v)
		if i < 10 {
			r.progress.say(fmt.Sprintf("  %s  %s, %d of %d steps, from %s", v.id, v.name, v.done(), len(v.steps), v.created.Local().Format("2006-01-02 15:04:05")))
		}
	}
	return nil
}

// over reports whether there is nothing left to wait for: with a new task, old ones that only wait are left alone.
func (r *runner) over() bool {
	if r.own != nil && !r.own.over() {
		return false
	}
	for _, v := range r.found {
		left := v.paused && v.waits(time.Now()) || r.own != nil && v.waits(time.Now())
		if !v.over() && !left {
			return false
		}
	}
	return true
}

// follow shows what happens until it is over or a signal comes, and says how it ended.
func (r *runner) follow(ctx context.Context, client *tasker.Client) error {
	reading, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var err, readErr error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		readErr = r.read(reading, client, true)
	}()
	select {
	case <-ended:
		err = readErr
	case <-r.host.done:
		cancel()
		<-ended
		err = r.host.drain()
	case <-ctx.Done():
		r.progress.say(fmt.Sprintf("stopping: running steps have %s to end; Ctrl-C again stops at once", span(runDrain)))
		err = r.host.drain()
		cancel()
		<-ended
		if err == nil {
			rest, enough := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			err = r.read(rest, client, false)
			enough()
		}
	}
	if err != nil {
		return err
	}
	return r.conclude()
}

// read shows events from the cursor on, until nothing more is to be waited for, or until the end of the log.
func (r *runner) read(ctx context.Context, client *tasker.Client, goOn bool) error {
	if r.fetch(ctx); r.over() {
		return nil
	}
	from := tasker.ReplayOptions{From: attached.FromPosition(r.cursor.String()), Follow: goOn}
	if r.own != nil && len(r.found) == 0 {
		from.Task = r.own.id // only its partition is read: another one may be closed
	}
	for e, err := range client.Replay(ctx, from) {
		if err != nil {
			return err
		}
		r.progress.event(e)
		if p := e.Position; p.Sequence > 1 { // the rest of this commit may not have been read
			r.cursor.Advance(tasker.Position{Partition: p.Partition, Sequence: p.Sequence - 1})
		}
		if r.fetch(ctx); r.over() {
			return nil
		}
	}
	return nil
}

// fetch reads the own task when it is over, while the engine still answers.
func (r *runner) fetch(ctx context.Context) {
	if r.own == nil || !r.own.over() || r.final != nil {
		return
	}
	task, err := r.host.engine.Task(ctx, r.own.id)
	switch {
	case err == nil:
		r.final = task
	case !errors.Is(err, tasker.ErrNotRunning):
		r.progress.say("warning: the result cannot be read: " + err.Error())
	}
}

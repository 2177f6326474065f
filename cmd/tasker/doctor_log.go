package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
	"github.com/tasker-go/tasker/subscribers"
)

const (
	newestCommits = 20 // of every partition, that are read
	clockWarns    = time.Second
	clockFails    = 30 * time.Second // from which on an owner opens no partition (docs/architecture.md)
	lagWarns      = 100_000          // commits that a subscriber has yet to read
	indexWarns    = time.Minute      // that the index is behind
)

// log reads the newest commits of every partition.
func (d *doctor) log(ctx context.Context) {
	before, messages := len(d.findings), uint64(0)
	for _, r := range d.nats.Streams {
		if r.Partition < 0 || r.Missing || r.Problem != nil {
			continue
		}
		messages += r.Messages
		if err := d.readNewest(ctx, r.Partition, r.First, r.Last); err != nil {
			d.note("log", fails, "", "%v", err)
		}
	}
	if len(d.findings) == before {
		d.ok("log", "%s, %d messages; the newest %d of each can be read", plural(d.nats.Data.Partitions, "partition", "partitions"), messages, newestCommits)
	}
}

func (d *doctor) readNewest(ctx context.Context, partition int, first, last uint64) error {
	log, done, err := d.nats.LogOf(partition)
	if err != nil {
		return err
	}
	defer done()
	passed := map[uint64]bool{} // over, as an operator has said
	unread := map[uint64]error{}
	for at := last; at >= first && at > 0 && last-at < newestCommits; at-- {
		m, err := log.Read(ctx, at)
		if errors.Is(err, domain.ErrNoMessage) {
			continue // trimmed meanwhile
		}
		if err != nil {
			return fmt.Errorf("reading message %d of partition %02d: %w", at, partition, err)
		}
		if m.CommitID == "" {
			d.note("log", warns, "find out who publishes there: only engines may", "message %d of partition %02d is somebody else's; it is passed over", at, partition)
			continue
		}
		c, err := domain.DecodeCommit(m.Data, partition, at)
		if err != nil {
			unread[at] = err
			continue
		}
		if t := c.At.Time(); t.After(d.newest) {
			d.newest = t
		}
		for _, r := range c.Records {
			if s, ok := r.Event.(domain.PartitionSkipped); ok {
				passed[s.Sequence] = true
			}
		}
	}
	for at, err := range unread {
		if !passed[at] {
			d.note("log", fails, "", "%v", &subscribers.UnreadableError{Partition: partition, Sequence: at, Err: err})
		}
	}
	return nil
}

// snapshots reads the newest of every partition, as an owner would.
func (d *doctor) snapshots(ctx context.Context) {
	before, valid := len(d.findings), 0
	for _, r := range d.nats.Streams {
		if r.Partition < 0 || r.Missing || r.Problem != nil {
			continue
		}
		infos, err := d.nats.Snapshots().List(ctx, r.Partition)
		if err != nil {
			d.note("snapshots", fails, "", "those of partition %02d cannot be listed: %v", r.Partition, err)
			continue
		}
		used, wrong := false, []string(nil)
		for _, info := range infos {
			if err := d.trySnapshot(ctx, info, r.First, r.Last); err != nil {
				wrong = append(wrong, fmt.Sprintf("at %d: %v", info.Sequence, err))
				continue
			}
			used = true
			valid++
			break
		}
		switch {
		case !used && r.First > 1:
			e := &subscribers.GapError{Partition: r.Partition, First: r.First, Snapshots: wrong}
			d.note("snapshots", fails, "restore the data from a backup: docs/operating.md", "%v", e)
		case len(wrong) > 0 && used:
			d.note("snapshots", warns, "nothing: the one before it is used, and the next replaces it", "partition %02d: %s", r.Partition, strings.Join(wrong, "; "))
		case len(wrong) > 0:
			d.note("snapshots", warns, "nothing: the log is whole, loading takes longer", "partition %02d has none that can be used: %s", r.Partition, strings.Join(wrong, "; "))
		}
	}
	if len(d.findings) == before {
		d.ok("snapshots", "%d of %s have one, which can be read; the others are read from the log", valid, plural(d.nats.Data.Partitions, "partition", "partitions"))
	}
}

// trySnapshot checks the digest, the content, and that it is of this log.
func (d *doctor) trySnapshot(ctx context.Context, info domain.SnapshotInfo, first, last uint64) error {
	if info.Sequence+1 < first || info.Sequence > last {
		return fmt.Errorf("the log goes from %d to %d", first, last)
	}
	content, err := d.nats.Snapshots().Get(ctx, info)
	if err != nil {
		return err
	}
	state, err := projections.ReadSnapshot(content)
	if err != nil {
		return err
	}
	if state.Sequence != info.Sequence || state.Number != info.Partition {
		return fmt.Errorf("it holds partition %02d at %d", state.Number, state.Sequence)
	}
	if t := state.At.Time(); t.After(d.newest) {
		d.newest = t
	}
	return nil
}

// clock compares this machine's with the server's and the log's.
func (d *doctor) clock(ctx context.Context) {
	const adjust = "let NTP set the clocks of all machines"
	at, err := d.nats.Clock(ctx)
	if err != nil {
		d.note("clock", fails, "", "%v", err)
		return
	}
	now := time.Now()
	off, ahead := at.Sub(now), d.newest.Sub(now)
	side := "behind"
	if off < 0 {
		side = "ahead of"
	}
	switch {
	case off.Abs() > clockFails:
		d.note("clock", fails, adjust, "this machine is %s %s the NATS server: an engine here opens no partition", span(off.Abs()), side)
	case ahead > clockFails:
		d.note("clock", fails, adjust, "the newest commit is %s in the future: timers wait, and what starts now carries that time", span(ahead))
	case off.Abs() > clockWarns:
		d.note("clock", warns, adjust, "this machine is %s %s the NATS server", span(off.Abs()), side)
	case ahead > clockWarns:
		d.note("clock", warns, adjust, "the newest commit is %s in the future", span(ahead))
	default:
		d.ok("clock", "this machine, the NATS server and the log agree to %s", span(max(off.Abs(), ahead, time.Millisecond)))
	}
}

// engines asks those who own the partitions, and what only they know.
func (d *doctor) engines(ctx context.Context) {
	for _, r := range d.nats.Streams {
		switch { // whoever connects makes what is missing, and this only looks
		case r.Missing && !r.Fleeting:
			return // has been said
		case r.Missing && d.own == nil:
			d.note("engines", fails, "start one: "+d.start(), "no engine has run since the server was started: stream %s is missing", r.Name)
			return
		}
	}
	client, err := tasker.NewClient(ctx, d.config)
	if err != nil {
		d.note("engines", fails, "", "%v", err)
		return
	}
	defer client.Close()
	d.subscribers(ctx, client)
	if d.own != nil {
		return // that no server runs has been said
	}
	status, err := client.Status(ctx)
	if err != nil {
		d.note("engines", fails, "start one: "+d.start(), "%v", err)
		return
	}
	before := len(d.findings)
	var names []string
	for _, e := range status.Engines {
		names = append(names, e.Name)
		if e.Executor.Leaked > 0 {
			d.note("engines", warns, "make the handlers watch their context, and restart the engine", "%s: %s, in engine %s",
				plural(e.Executor.Leaked, "execution goes", "executions go"), "on after its end", e.Name)
		}
	}
	for _, p := range status.Partitions {
		switch p.Phase {
		case subscribers.Owning:
		case subscribers.Loading:
			d.note("engines", warns, "wait: seconds", "partition %02d is being loaded", p.Partition)
		case subscribers.Closed:
			d.note("engines", fails, "", "%s", aboutPartition(p.Partition, p.Why))
		case subscribers.Away, subscribers.Stopped:
			d.note("engines", fails, "start one: "+d.start(), "%s", aboutPartition(p.Partition, p.Why))
		}
	}
	if len(d.findings) == before {
		d.ok("engines", "%s: %s", plural(len(status.Partitions), "partition is", "partitions are")+" owned", strings.Join(names, ", "))
	}
	d.index(ctx, client)
	d.tasks(ctx, client)
}

// subscribers looks at the cursors, which keep the log from being trimmed.
func (d *doctor) subscribers(ctx context.Context, client *tasker.Client) {
	list, err := client.Subscribers(ctx)
	if err != nil {
		d.note("subscribers", fails, "", "%v", err)
		return
	}
	before := len(d.findings)
	for _, s := range list {
		for _, p := range s.Partitions {
			if last := d.lastOf(p.Next.Partition); p.Next.Sequence > last+1 {
				d.note("subscribers", fails, "tasker subscriber forget "+s.Name, "%s is at %s, behind the end of the log (%d): it is of another log", s.Name, p.Next, last)
			} else if p.Lag > lagWarns {
				d.note("subscribers", warns, "run it, or: tasker subscriber forget "+s.Name, "%s has %d commits of partition %02d to read: it keeps the log from being trimmed",
					s.Name, p.Lag, p.Next.Partition)
			}
		}
	}
	switch {
	case len(list) == 0:
		d.ok("subscribers", "there are no durable ones")
	case len(d.findings) == before:
		d.ok("subscribers", "%s, none of them far behind", plural(len(list), "durable subscriber", "durable subscribers"))
	}
}

func (d *doctor) lastOf(partition int) uint64 {
	for _, r := range d.nats.Streams {
		if r.Partition == partition {
			return r.Last
		}
	}
	return 0
}

// index says how far it is.
func (d *doctor) index(ctx context.Context, client *tasker.Client) {
	s, err := client.IndexStatus(ctx)
	switch {
	case errors.Is(err, tasker.ErrNoIndex) && !errors.As(err, new(*tasker.IndexUnavailableError)):
		d.ok("index", "there is none: lists and analytics of all tasks need one (tasker serve --index PATH, or --http)")
	case err != nil:
		d.note("index", fails, "tasker index rebuild", "%v", err)
	case s.Problem != "":
		d.note("index", fails, "remove the cause; then it goes on by itself, or: tasker index rebuild", "%s does not follow the log: %s", shownPath(s.Path), s.Problem)
	case s.Lag.Behind > indexWarns:
		d.note("index", warns, "wait, and look at the load of the machine", "%s is %d commits behind, %s", shownPath(s.Path), s.Lag.Commits, span(s.Lag.Behind))
	default:
		d.ok("index", "%s is %d commits behind", shownPath(s.Path), s.Lag.Commits)
	}
}

// tasks says whether any stands still.
func (d *doctor) tasks(ctx context.Context, client *tasker.Client) {
	page, err := client.Stuck(ctx, tasker.StuckQuery{Limit: 1})
	if err != nil {
		d.note("tasks", warns, "", "%v", err)
		return
	}
	if len(page.Groups) == 0 {
		d.ok("tasks", "none stands still")
		return
	}
	n := 0
	for _, g := range page.Groups {
		n += g.Tasks
	}
	d.note("tasks", warns, "tasker stuck", "%s, for %s, above all %s", plural(n, "task stands still", "tasks stand still"), plural(len(page.Groups), "cause", "causes"), page.Groups[0].Reason)
}

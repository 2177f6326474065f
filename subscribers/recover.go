package subscribers

import (
	"context"
	"errors"

	"github.com/tasker-go/tasker/domain"
)

// recover asks the subscribers who of them wants to hear of what is loaded; nil when nobody does.
func (c *Coordinator) recover() func(domain.Record, *domain.Task) {
	var all []func(Committed)
	c.recovered = nil
	for _, s := range c.Subscribers {
		if r, ok := s.(Recoverer); ok {
			if saw, opened := r.Recover(c.Partition); saw != nil {
				all, c.recovered = append(all, saw), append(c.recovered, opened)
			}
		}
	}
	if all == nil {
		return nil
	}
	return func(r domain.Record, t *domain.Task) {
		for _, saw := range all {
			saw(Committed{Record: r, Task: t})
		}
	}
}

// errOwed: the next owner has to see what the snapshot would hide.
var errOwed = errors.New("a subscriber has not settled what it owes")

// settled waits until no subscriber needs the events up to that sequence any more.
func (c *Coordinator) settled(ctx context.Context, sequence uint64) bool {
	for _, s := range c.Subscribers {
		if r, ok := s.(Recoverer); ok && !r.Settle(ctx, c.Partition, sequence) {
			return false
		}
	}
	return true
}

// Annotate stores the notes of a hook, in one commit as far as one can hold them. void is asked just before, on the
// coordinator's goroutine. reply comes when all are stored; ErrNotOwner when none is, because the partition, or the run
// that the notes are about, is another's. It waits in line with the reports, and is never refused for want of room.
func (c *Coordinator) Annotate(id domain.TaskID, notes []domain.AnnotateTask, void func() bool, reply func(error)) {
	in := input{
		what: "notes about task " + id.String(),
		do: func(m *Machine, now domain.Instant) {
			if void() {
				reply(ErrNotOwner)
				return
			}
			var errs []error
			for i, note := range notes {
				m.Do(id, note, domain.ByHandler, now, func(a Answer) {
					if errs = append(errs, a.Err); i == len(notes)-1 {
						reply(errors.Join(errs...))
					}
				})
			}
		},
		refuse: reply,
	}
	c.mu.Lock()
	owning := c.phase == Owning && !c.stopping
	if owning {
		c.reports = append(c.reports, in)
	}
	c.mu.Unlock()
	if !owning {
		reply(ErrNotOwner)
		return
	}
	c.poke()
}

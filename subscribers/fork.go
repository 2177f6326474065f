package subscribers

import (
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// together is the size of a message that holds the facts about one task, at most: with the longest time behind that of the
// batch that a record may get.
func together(facts []domain.Event, id domain.TaskID, by domain.Actor, now domain.Instant) int {
	var e domain.Encoder
	e.Begin(now.Add(-time.Minute))
	for _, ev := range facts {
		e.Add(domain.Record{Event: ev, At: now, By: by, Task: id})
	}
	return e.Len()
}

// makeRoom begins another message when what is open could not take so many bytes more.
func (m *Machine) makeRoom(size int) {
	if b := m.open; !b.empty() {
		if p := b.parts[len(b.parts)-1]; p.enc.Len()+size > m.limit {
			m.nextPart(p)
		}
	}
}

// nextPart begins the message after p, which is the last one.
func (m *Machine) nextPart(p *part) *part {
	next := &part{base: p.base + 1}
	next.enc.Begin(m.open.at)
	m.open.parts = append(m.open.parts, next)
	return next
}

// create appends the facts that a new task begins with. Those of a fork stand in one message: what a crash leaves of it is
// all of it or nothing.
func (m *Machine) create(def *domain.Definition, cmd *domain.CreateTask, now domain.Instant) (*projections.Entry, error) {
	created, err := domain.DecideCreate(def, *cmd, now)
	if err != nil {
		return nil, err
	}
	size := 0
	if cmd.Forked != nil {
		size = together(cmd.Facts(created), cmd.ID, cmd.By, now)
		if size > m.limit {
			return nil, &domain.ForkTooLargeError{Task: cmd.Forked.Task, Steps: len(cmd.Inherited), Bytes: size, Most: m.limit}
		}
	}
	if _, ok := m.state.Definition(def.Hash()); !ok {
		m.append(domain.AdoptDefinition(def), now)
	}
	if cmd.Forked != nil {
		m.makeRoom(size)
	}
	e := m.appendTask(cmd.ID, nil, created, cmd.By, now)
	for i := range cmd.Inherited {
		m.appendTask(cmd.ID, e, cmd.Inherited[i], "", now)
	}
	return e, nil
}

// Known answers a submission of which the task exists as Submit does, and any other one with ErrTaskNotFound.
func (m *Machine) Known(cmd domain.CreateTask, now domain.Instant, reply func(Answer)) {
	if !m.submitted(cmd, now, reply) {
		reply(Answer{Task: cmd.ID, Err: ErrTaskNotFound})
	}
}

// Known asks whether the task of a submission exists already; see Machine.Known.
func (c *Coordinator) Known(cmd domain.CreateTask, reply func(Answer)) error {
	return c.request(input{
		what:   "repetition of task " + cmd.ID.String(),
		do:     func(m *Machine, now domain.Instant) { m.Known(cmd, now, reply) },
		refuse: func(err error) { reply(Answer{Task: cmd.ID, Err: err}) },
	})
}

// Stand is a task as it stands now, with everything that it rests on stored.
type Stand struct {
	Task   *domain.Task // nil: it is not in memory
	Last   uint64       // of a task that has ended: its newest commit; 0 when only the log knows
	Frozen *FrozenError // an event that this version cannot read: what the task is after it, nobody here knows
}

// Stand asks how a task stands.
func (c *Coordinator) Stand(id domain.TaskID, reply func(Stand, error)) error {
	return c.Inspect(func(m *Machine) {
		var s Stand
		if ended, ok := m.state.Ended.Get(id); ok {
			s.Last = ended.Last
		}
		if e := m.state.Live(id); e != nil && e.Frozen != nil {
			s.Frozen = &FrozenError{id, e.Frozen.TypeName, e.Frozen.Version}
		}
		m.Look(id, func(t *domain.Task, err error) {
			s.Task = t
			reply(s, err)
		})
	}, func(err error) { reply(Stand{}, err) })
}

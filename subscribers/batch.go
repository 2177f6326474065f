package subscribers

import (
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// Limits of a commit (DESIGN 5 and 6). A turn that has made this much is over; only a single larger input makes more
// than one message.
const MaxCommitBytes = 512 << 10

// batch is what one turn, or several while another batch was being appended, made of their inputs: one message, or
// several when a single input was larger than a message.
type batch struct {
	parts   []*part
	sent    int // parts that are stored
	records []Committed
	entries []*projections.Entry // of the records; nil for one about no task in memory
	touched []*projections.Entry
	ended   []ending
	answers []func(error)  // called with nil when the last part is stored
	rests   []*uint64      // the sequences that the answers name
	shown   []*domain.Task // copies that answers hold
	at      domain.Instant
}

// part is one message.
type part struct {
	enc  domain.Encoder
	id   string
	data []byte // after seal
	base uint64 // its sequence
	n    int    // records
}

// ending is a task whose run ended in the batch.
type ending struct {
	entry   *projections.Entry
	outcome Outcome
	round   int
}

func newBatch() *batch { return &batch{} }

func (b *batch) empty() bool { return len(b.records) == 0 }

// reset makes the batch ready for the next turn and keeps its memory.
func (b *batch) reset() {
	clear(b.records)
	clear(b.entries)
	clear(b.touched)
	clear(b.ended)
	clear(b.answers)
	clear(b.rests)
	clear(b.shown)
	b.records, b.touched, b.ended, b.answers = b.records[:0], b.touched[:0], b.ended[:0], b.answers[:0]
	b.rests, b.shown, b.entries = b.rests[:0], b.shown[:0], b.entries[:0]
	if len(b.parts) > 1 {
		b.parts = b.parts[:1]
	}
	b.sent, b.at = 0, 0
	for _, p := range b.parts {
		p.id, p.data, p.n = "", nil, 0
	}
}

// last is the part that takes the next record; a new one when the last is full.
func (m *Machine) lastPart(now domain.Instant) *part {
	b := m.open
	if b.empty() {
		b.at = now
		if len(b.parts) == 0 {
			b.parts = append(b.parts, &part{})
		}
		p := b.parts[0]
		p.base = m.stored + 1
		if m.inflight != nil {
			p.base += uint64(len(m.inflight.parts) - m.inflight.sent)
		}
		p.enc.Begin(b.at)
		return p
	}
	p := b.parts[len(b.parts)-1]
	if p.enc.Len() < m.limit {
		return p
	}
	return m.nextPart(p)
}

// Full reports whether the open batch should be appended before it takes more inputs.
func (m *Machine) Full() bool {
	return len(m.open.parts) > 1 || len(m.open.parts) == 1 && !m.open.empty() && m.open.parts[0].enc.Len() >= m.limit
}

// append puts a fact without a task into the open batch.
func (m *Machine) append(ev domain.Event, now domain.Instant) {
	m.putRecord(domain.Record{Event: ev}, nil, now)
}

// appendTask puts a fact about a task into the open batch and folds it. e is nil for the fact that creates the task.
func (m *Machine) appendTask(id domain.TaskID, e *projections.Entry, ev domain.Event, by domain.Actor, now domain.Instant) *projections.Entry {
	return m.putRecord(domain.Record{Event: ev, By: by, Task: id}, e, now)
}

func (m *Machine) putRecord(r domain.Record, e *projections.Entry, now domain.Instant) *projections.Entry {
	p := m.lastPart(now)
	r.At = max(now, m.open.at)
	r.Position = domain.Position{Partition: m.state.Number, Sequence: p.base, Index: p.n}
	if e != nil {
		r.Prev = e.Task.Prev(p.base)
	} else if r.Prev == p.base {
		r.Prev = m.open.prevOf(r.Task, p.base)
	}
	p.enc.Add(r)
	p.n++
	c := Committed{Record: r}
	if m.moments && e != nil {
		c.Before = e.Task.Moment(r.Event)
	}
	entry, err := m.state.Fold(r)
	if err != nil {
		panic(err) // what this version decides, it can fold
	}
	b := m.open
	if entry != nil {
		c.Task = entry.Task
		if len(b.touched) == 0 || b.touched[len(b.touched)-1] != entry {
			b.touched = append(b.touched, entry)
		}
		if !entry.Task.State.Live() {
			b.end(ending{entry, outcomeOf(entry.Task, m.state.Number), entry.Task.Round})
		}
	}
	b.records = append(b.records, c)
	b.entries = append(b.entries, entry)
	m.dirty |= m.reacts[r.Event.Type()]
	return entry
}

// prevOf is the sequence before a message that is about the ended task already.
func (b *batch) prevOf(id domain.TaskID, sequence uint64) uint64 {
	for i := len(b.records) - 1; i >= 0; i-- {
		if r := &b.records[i].Record; r.Task == id && r.Position.Sequence == sequence {
			return r.Prev
		}
	}
	return sequence
}

// end notes a task that is not live after an event: it ended, failed, or something changed about a failed one.
func (b *batch) end(x ending) {
	if n := len(b.ended); n > 0 && b.ended[n-1].entry == x.entry {
		b.ended[n-1] = x
		return
	}
	b.ended = append(b.ended, x)
}

// Append is one message to append now: it has to follow sequence Last.
type Append struct {
	Last     uint64
	CommitID string
	Data     []byte // valid until Stored, Moved or Withdraw
}

// Next returns what to append now; false while a message is under way, and when there is nothing.
func (m *Machine) Next() (Append, bool) {
	if m.inflight != nil {
		if m.inflight.parts[m.inflight.sent].data != nil {
			return Append{}, false
		}
	} else {
		if m.open.empty() {
			return Append{}, false
		}
		m.inflight, m.open, m.spare = m.open, m.spare, nil
		if m.open == nil {
			m.open = newBatch()
		}
	}
	p := m.inflight.parts[m.inflight.sent]
	if p.id == "" {
		p.id = m.commitID()
	}
	p.data = p.enc.Finish(p.id)
	return Append{Last: m.stored, CommitID: p.id, Data: p.data}, true
}

// Inflight is the message under way: the same bytes as Next returned, to be sent again.
func (m *Machine) Inflight() (Append, bool) {
	if m.inflight == nil {
		return Append{}, false
	}
	p := m.inflight.parts[m.inflight.sent]
	return Append{Last: m.stored, CommitID: p.id, Data: p.data}, p.data != nil
}

// underway is the size of the message under way, and when its batch was opened.
func (m *Machine) underway() (events, bytes int, opened domain.Instant) {
	b := m.inflight
	p := b.parts[b.sent]
	return p.n, len(p.data), b.at
}

// Stored says that the message under way is stored, and releases its effects when it was the last of its batch:
// first the subscribers are told, then the callers answered.
func (m *Machine) Stored() {
	b := m.inflight
	p := b.parts[b.sent]
	m.stored = p.base
	m.state.Sequence, m.state.CommitID, m.state.At = p.base, p.id, max(m.state.At, b.at)
	if b.sent++; b.sent < len(b.parts) {
		return
	}
	m.inflight = nil
	m.release(b)
	b.reset()
	m.spare = b
}

func (m *Machine) release(b *batch) {
	m.tell(b)
	for i, c := range b.records {
		if e := b.entries[i]; e != nil {
			c.Task = e.Task // a snapshot may have had it copied
		}
		told := m.told[c.Record.Event.Type()]
		for i := 0; told != 0; i, told = i+1, told>>1 {
			if told&1 != 0 {
				m.subs[i].Notify(c)
			}
		}
	}
	for _, x := range b.ended {
		m.tellEnd(x)
	}
	for _, e := range b.touched {
		switch {
		case m.state.Live(e.Task.ID) != e:
		case e.Task.State.Live():
			m.arm(e)
		default:
			m.retire(e)
		}
	}
	for _, answer := range b.answers {
		answer(nil)
	}
}

// retire lets a task that has ended or failed leave memory, unless something about it is not stored yet: then the batch
// that holds it does.
func (m *Machine) retire(e *projections.Entry) {
	if e.Task.State.Live() || e.Task.Last > m.stored || m.state.Live(e.Task.ID) != e {
		return
	}
	m.disarm(e)
	m.state.Retire(e)
	if e.Task.Over() {
		m.recent.add(e.Task)
	}
}

// answer calls reply when everything that the answer rests on is stored: at once, or with the batch that holds the
// newest event of the task (DESIGN 5).
func (m *Machine) answer(a Answer, reply func(Answer)) {
	if reply == nil {
		return
	}
	if a.Position.Sequence <= m.stored {
		reply(a)
		return
	}
	b := m.after(a.Position.Sequence, func(err error) {
		if err != nil {
			a.Err = err
		}
		reply(a)
	})
	b.rests = append(b.rests, &a.Position.Sequence)
}

// after calls f with nil when the message under that sequence is stored, with an error when it never will be or
// nobody knows. It returns the batch that f waits for, or nil.
func (m *Machine) after(sequence uint64, f func(error)) *batch {
	if sequence <= m.stored {
		f(nil)
		return nil
	}
	b := m.open
	if m.inflight != nil && (b.empty() || sequence < b.parts[0].base) {
		b = m.inflight
	}
	b.answers = append(b.answers, f)
	return b
}

// marks are how many answers wait for the messages under way and open; unanswer forgets those that came after.
func (m *Machine) marks() [2]int {
	if m.inflight == nil {
		return [2]int{0, len(m.open.answers)}
	}
	return [2]int{len(m.inflight.answers), len(m.open.answers)}
}

func (m *Machine) unanswer(marks [2]int) {
	if m.inflight != nil {
		m.inflight.answers = m.inflight.answers[:marks[0]]
	}
	m.open.answers = m.open.answers[:marks[1]]
}

// Answered releases the answers of the message under way, and nothing else: it is stored, but another writer owns the
// partition already (DESIGN 5, step 5).
func (m *Machine) Answered() {
	b := m.inflight
	if b.sent++; b.sent < len(b.parts) {
		return
	}
	m.inflight = nil
	m.withdraw(b)
	for _, x := range b.ended {
		m.tellEnd(x)
	}
	for _, answer := range b.answers {
		answer(nil)
	}
}

// withdraw tells those who prepared something for the batch's events that this process does not act on them.
func (m *Machine) withdraw(b *batch) {
	for _, c := range b.records {
		for i, told := 0, m.told[c.Record.Event.Type()]; told != 0; i, told = i+1, told>>1 {
			if w, ok := m.subs[i].(Withdrawer); ok && told&1 != 0 {
				w.Withdraw(c)
			}
		}
	}
}

// Withdraw ends the machine: what is not stored never will be, or nobody knows. Callers get known for the batch that
// nobody sent, and unknown for the one under way.
func (m *Machine) Withdraw(unsent, underway error) {
	for _, x := range []struct {
		b   *batch
		err error
	}{{m.inflight, underway}, {m.open, unsent}} {
		if x.b == nil {
			continue
		}
		m.withdraw(x.b)
		for _, answer := range x.b.answers {
			answer(x.err)
		}
	}
	for id, waiting := range m.waiting {
		for _, w := range waiting.list {
			w.tell(Outcome{Task: id}, unsent)
		}
	}
	clear(m.waiting)
	m.inflight, m.open = nil, newBatch()
}

// Moved says that a foreign message took the sequence of the message under way: everything that is not stored moves
// up by one (DESIGN 5, step 5). Inflight then returns the message for its new place.
func (m *Machine) Moved() {
	m.stored++
	m.state.Sequence++
	move := func(sequence *uint64) {
		if *sequence >= m.stored {
			*sequence++
		}
	}
	moved := map[domain.TaskID]bool{}
	for _, b := range []*batch{m.inflight, m.open} {
		if b == nil {
			continue
		}
		for _, p := range b.parts[b.sent:] {
			p.base++
			p.enc.Begin(b.at)
		}
		for i := range b.records {
			r := &b.records[i].Record
			if r.Position.Sequence < m.stored {
				continue
			}
			move(&r.Prev)
			r.Position.Sequence++
			b.partAt(r.Position.Sequence).enc.Add(*r)
			if !r.Task.IsZero() && !moved[r.Task] {
				moved[r.Task] = true
				m.move(r.Task, b.entries[i])
			}
		}
		for i := range b.ended {
			move(&b.ended[i].outcome.Position.Sequence)
			move(&b.ended[i].outcome.Result.Pos.Sequence)
		}
		for _, rest := range b.rests {
			move(rest)
		}
		for _, t := range b.shown {
			t.Move(m.stored)
		}
	}
	if p := m.inflight.parts[m.inflight.sent]; p.data != nil {
		p.data = p.enc.Finish(p.id)
	}
}

// move raises the positions that memory has of a task's messages which are not stored yet.
func (m *Machine) move(id domain.TaskID, e *projections.Entry) {
	if e != nil {
		m.state.Own(e)
		e.Task.Move(m.stored)
		return
	}
	if ended, ok := m.state.Ended.Get(id); ok && ended.Last >= m.stored {
		ended.Last++
		m.state.Ended.Add(id, ended)
		m.recent.move(id, m.stored)
	}
}

func (b *batch) partAt(sequence uint64) *part {
	for _, p := range b.parts[b.sent:] {
		if p.base == sequence {
			return p
		}
	}
	return nil
}

func outcomeOf(t *domain.Task, partition int) Outcome {
	o := Outcome{
		Task: t.ID, State: t.State, Result: t.Result, From: t.ResultFrom, Failed: t.Failed,
		Position: domain.Position{Partition: partition, Sequence: t.Last},
	}
	if !t.State.Ended() {
		o.Steps = t.Culprits()
	}
	return o
}

package tasker

import (
	"context"
	"errors"
	"fmt"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
	"github.com/tasker-go/tasker/subscribers"
)

// TaskAt returns the state of a task right after one of its events, as Task would have then: with the results that there
// were, and the context. Held is not filled in. Zero stands for now. It reads the history of the task up to there: one
// read of the log per commit.
//
// Errors: *PositionError when the event is not the task's; *HistoryTrimmedError when the history before it is not stored
// any more; those of Task.
func (r *router) TaskAt(ctx context.Context, id TaskID, at Position) (*Task, error) {
	if at == (Position{}) {
		return r.Task(ctx, id)
	}
	resp, err := r.call(ctx, r.partition(id), &request{Op: opTaskAt, Task: id, At: at})
	if err != nil {
		return nil, err
	}
	return resp.Task, nil
}

// PositionError: a position is not that of an event of the task.
type PositionError struct {
	Task     TaskID   `json:"task"`
	Position Position `json:"position"`
	Reason   string   `json:"reason"`
}

func (e *PositionError) Error() string {
	return fmt.Sprintf("%s is no event of task %s: %s", e.Position, e.Task, e.Reason)
}

// stand is a task as it stood right after an event.
type stand struct {
	task *domain.Task
	at   Position
	over map[string]Position // by step: the event with which it became complete or resolved, as far as the log has it
}

// standView is a stand on its way to another process.
type standView struct {
	Packed     []byte                   `json:"packed"` // domain.Task.AppendPacked
	Definition domain.DefinitionAdopted `json:"definition"`
	Position   Position                 `json:"position"`
	Over       map[string]Position      `json:"over,omitempty"`
}

func (s *stand) view() *standView {
	return &standView{
		Packed: s.task.AppendPacked(nil), Definition: domain.AdoptDefinition(s.task.Definition), Position: s.at, Over: s.over,
	}
}

func (v *standView) task() (*domain.Task, error) {
	if v == nil {
		return nil, errors.New("the answer does not say how the task stood: the owner of the task is another version of tasker")
	}
	def, err := v.Definition.Definition()
	if err != nil {
		return nil, err
	}
	def = def.Under(v.Definition.Hash)
	t, _, err := domain.UnpackTask(v.Packed, func(hash string) (*Definition, bool) { return def, hash == def.Hash() })
	return t, err
}

// localStand answers how a task of this process stood after an event, or stands now.
func (e *Engine) localStand(ctx context.Context, c *subscribers.Coordinator, r *request) (*response, error) {
	var s *stand
	var err error
	if r.At == (Position{}) {
		s, err = e.standNow(ctx, c, r.Task)
	} else {
		s, err = e.standAt(ctx, c, r.Task, r.At)
	}
	if err != nil {
		return nil, err
	}
	if r.Op == opStand {
		return &response{Stand: s.view()}, nil
	}
	v, err := e.view(ctx, s.task)
	return &response{Task: v}, err
}

// standNow is the task as its owner has it. Of its history only what the log still has is read.
func (e *Engine) standNow(ctx context.Context, c *subscribers.Coordinator, id TaskID) (*stand, error) {
	now, err := await(ctx, c, func(reply func(subscribers.Stand, error)) error { return c.Stand(id, reply) })
	if err != nil {
		return nil, err
	}
	if now.Frozen != nil {
		return nil, now.Frozen
	}
	var records []domain.Record
	t := now.Task
	if t == nil {
		t, records, err = c.Ended(ctx, id, now.Last)
	} else {
		records, _, err = projections.Walk(ctx, e.store.Log(c.Partition), c.Partition, id, t.Last)
	}
	if err != nil {
		return nil, err
	}
	s := &stand{task: t, at: Position{Partition: c.Partition, Sequence: t.Last}, over: overIn(records)}
	if n := len(records); n > 0 {
		s.at = records[n-1].Position
	}
	return s, nil
}

// standAt is the task as the log had it.
func (e *Engine) standAt(ctx context.Context, c *subscribers.Coordinator, id TaskID, at Position) (*stand, error) {
	if err := e.checkEvent(ctx, c, id, at); err != nil {
		return nil, err
	}
	records, trimmed, err := projections.Walk(ctx, e.store.Log(c.Partition), c.Partition, id, at.Sequence)
	if err != nil {
		return nil, err
	}
	if trimmed {
		first := at
		if len(records) > 0 {
			first = records[0].Position
		}
		return nil, &HistoryTrimmedError{Task: id, First: first}
	}
	for n := len(records); n > 0 && at.Less(records[n-1].Position); n-- {
		records = records[:n-1]
	}
	t, err := projections.LoadTask(records, c.Definition)
	if err != nil {
		return nil, err
	}
	return &stand{task: t, at: at, over: overIn(records)}, nil
}

// checkEvent refuses a position where no event of the task is.
func (e *Engine) checkEvent(ctx context.Context, c *subscribers.Coordinator, id TaskID, at Position) error {
	wrong := func(format string, args ...any) error {
		return &PositionError{Task: id, Position: at, Reason: fmt.Sprintf(format, args...)}
	}
	if at.Partition != c.Partition {
		return wrong("its events are in partition %02d", c.Partition)
	}
	log := e.store.Log(c.Partition)
	msg, err := log.Read(ctx, at.Sequence)
	if errors.Is(err, domain.ErrNoMessage) {
		bounds, err := log.Bounds(ctx)
		if err != nil {
			return err
		}
		return wrong("of its partition, messages %d to %d are stored", bounds.First, bounds.Last)
	}
	if err != nil {
		return err
	}
	commit, err := domain.DecodeCommit(msg.Data, c.Partition, at.Sequence)
	if err != nil {
		return wrong("its message cannot be read: %v", err)
	}
	first, last := -1, -1
	for i, r := range commit.Records {
		if r.Task != id {
			continue
		}
		if i == at.Index {
			return nil
		}
		if last = i; first < 0 {
			first = i
		}
	}
	switch {
	case first < 0:
		return wrong("nothing in that commit is about it: take a position from its history")
	case first == last:
		return wrong("in that commit it has event %s", commit.Records[first].ID())
	}
	return wrong("in that commit it has events from %s to %s", commit.Records[first].ID(), commit.Records[last].ID())
}

// overIn finds where steps became complete or resolved.
func overIn(records []domain.Record) map[string]Position {
	over := map[string]Position{}
	for _, r := range records {
		switch e := r.Event.(type) { //nolint:gochecksumtype // what ends a step well
		case domain.StepCompleted, domain.StepSkipped, domain.StepResolvedManually, domain.StepInherited:
			over[e.(domain.StepEvent).StepName()] = r.Position
		}
	}
	return over
}

package tasker

import (
	"errors"
	"fmt"

	"github.com/tasker-go/tasker/domain"
)

// messageLine checks and folds one message of the log.
func (c *importCheck) messageLine(l *importLine, content []byte) error {
	p, sequence, err := l.position(l.Message, c.header.Partitions)
	if err != nil {
		return err
	}
	part := c.parts[p]
	switch {
	case part.state == nil:
		return fmt.Errorf("partition %02d begins at message %d: the snapshot that stands for what was before has to come first", p, part.first)
	case sequence != part.next || sequence > part.last:
		return fmt.Errorf("message %s stands where %s should: messages are missing, doubled, or in another order", l.Message, messageName(p, part.next))
	}
	part.begun = true
	part.next++
	c.report.Messages++
	if sequence == part.state.Sequence && part.commit != "" && l.Commit != part.commit {
		return fmt.Errorf("the snapshot says that message %s is commit %q, it is %q", l.Message, part.commit, l.Commit)
	}
	folds := sequence > part.state.Sequence
	if l.Commit == "" { // somebody else's, which every reader passes over
		if folds {
			part.state.Sequence = sequence
		}
		return nil
	}
	commit, err := c.decoder.Decode(content, p, sequence)
	var newer *domain.CommitVersionError
	switch {
	case errors.As(err, &newer):
		return err
	case err != nil:
		part.unreadable[sequence] = c.lines.number
		if folds {
			part.state.Sequence, part.state.CommitID = sequence, l.Commit
		}
		return nil
	case commit.ID != l.Commit:
		return fmt.Errorf("commit %q stands in it, not %q", commit.ID, l.Commit)
	}
	c.report.Events += len(commit.Records)
	if err := c.records(part, commit, folds); err != nil {
		return err
	}
	if !folds {
		return nil
	}
	if err := part.state.Apply(commit); err != nil {
		return fmt.Errorf("message %s cannot be folded: %w", l.Message, err)
	}
	return nil
}

// records checks what a fold takes for granted.
func (c *importCheck) records(part *importPart, commit domain.Commit, folds bool) error {
	clear(c.prev)
	for _, r := range commit.Records {
		if blob := domain.PayloadOf(r.Event).Blob; blob != "" && !c.blobs[blob] {
			return fmt.Errorf("payload %s of event %s is missing before it", blob, r.ID())
		}
		if r.Task.IsZero() {
			continue
		}
		if prev, again := c.prev[r.Task]; again {
			if prev != r.Prev {
				return fmt.Errorf("event %s says that message %d was before it, and another one of its task in the same message says %d", r.ID(), r.Prev, prev)
			}
			continue
		}
		c.prev[r.Task] = r.Prev
		if want := r.Task.Partition(c.header.Partitions); want != part.number {
			return fmt.Errorf("task %s belongs to partition %02d", r.Task, want)
		}
		if r.Prev >= commit.Sequence {
			return fmt.Errorf("event %s says that message %d was before it", r.ID(), r.Prev)
		}
		if folds && !part.follows(r) {
			return fmt.Errorf("event %s says that message %d of its task was before it: that is not so", r.ID(), r.Prev)
		}
	}
	return nil
}

// follows reports whether the task's newest message is the one that the record names.
func (part *importPart) follows(r domain.Record) bool {
	if r.Prev == 0 { // a key may stand for another task later
		_, created := r.Event.(domain.TaskCreated)
		return created
	}
	if r.Prev < part.first { // and has been trimmed
		return true
	}
	if _, skipped := part.unreadable[r.Prev]; skipped {
		return true
	}
	if e := part.state.Find(r.Task); e != nil { // a failed one leaves memory again when the message is folded
		return e.Task.Last == r.Prev
	}
	ended, ok := part.state.Ended.Get(r.Task)
	return ok && ended.Last == r.Prev
}

package projections

import "github.com/tasker-go/tasker/domain"

// Survey calls look with the tasks in memory, from the place where the last call stopped until look returns false, and
// returns where to go on: 0 when all have been looked at. The first call begins at SurveyAll. What changes between two calls
// does not make it pass over a task that was there all the time; it may come to one twice.
func (p *Partition) Survey(from int, look func(*Entry) bool) (next int) {
	// Downwards: the last one takes the place of one that is removed, so what moves has been looked at.
	for i := min(from, len(p.entries)) - 1; i >= 0; i-- {
		if !look(p.entries[i]) {
			return i
		}
	}
	return 0
}

// SurveyAll is where a survey begins.
const SurveyAll = int(^uint(0) >> 1)

// SurveyFailed is Survey for the failed tasks.
func (p *Partition) SurveyFailed(from int, look func(PackedTask) bool) (next int) {
	for i := min(from, len(p.failures)) - 1; i >= 0; i-- {
		f := p.failures[i]
		if !look(PackedTask{f.ID, f.packed}) {
			return i
		}
	}
	return 0
}

// PackedTask is a failed task as it is kept. It never changes, so any goroutine may read it.
type PackedTask struct {
	ID     domain.TaskID
	packed []byte
}

// Unpack is the task. definition finds what the partition has adopted, by its hash.
func (t PackedTask) Unpack(definition func(hash string) (*domain.Definition, bool)) (*domain.Task, error) {
	task, _, err := domain.UnpackTask(t.packed, definition)
	return task, err
}

package subscribers

import "github.com/tasker-go/tasker/domain"

// recentTasks remembers the tasks that ended last, for whoever asks just afterwards; everybody else reads the log.
type recentTasks struct {
	tasks map[domain.TaskID]*domain.Task
	ring  []domain.TaskID
	next  int
}

const recentCount = 1024

func newRecentTasks() recentTasks {
	return recentTasks{tasks: make(map[domain.TaskID]*domain.Task, recentCount), ring: make([]domain.TaskID, recentCount)}
}

// add remembers a task with few steps; one with many would hold much memory for a rare question.
func (r *recentTasks) add(t *domain.Task) {
	if len(t.Steps) > 64 {
		return
	}
	delete(r.tasks, r.ring[r.next])
	r.ring[r.next] = t.ID
	r.tasks[t.ID] = t
	r.next = (r.next + 1) % len(r.ring)
}

func (r *recentTasks) get(id domain.TaskID) *domain.Task { return r.tasks[id] }

// touch notes that a commit at that sequence is about the task. Readers may have the task in hand, so it is copied.
func (r *recentTasks) touch(id domain.TaskID, sequence uint64) {
	if t := r.tasks[id]; t != nil {
		noted := t.Clone()
		noted.Touch(sequence)
		r.tasks[id] = noted
	}
}

// move raises the task's positions from the given sequence on; see domain.Task.Move.
func (r *recentTasks) move(id domain.TaskID, from uint64) {
	if t := r.tasks[id]; t != nil && t.Last >= from {
		moved := t.Clone()
		moved.Move(from)
		r.tasks[id] = moved
	}
}

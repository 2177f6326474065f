package projections

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/tasker-go/tasker/domain"
)

// Statistics counts and measures what happens: by event type, by definition, by step. It holds a few bytes per task that
// is live or failed, and nothing of those that have ended. Its methods may be called from any goroutine; the records of
// one task have to come in order and once each.
type Statistics struct {
	mu          sync.Mutex
	events      map[domain.EventType]uint64
	definitions map[string]*definitionStats
	tasks       map[domain.TaskID]taskStats
	running     map[runningStep]domain.Instant
	// cancelled is the task of each partition that was cancelled last: what becomes of its steps comes after.
	cancelled map[int]cancelledTask
}

type cancelledTask struct {
	id domain.TaskID
	taskStats
}

type definitionStats struct {
	DefinitionStatistics

	duration durations
	steps    map[string]*stepStats
}

type stepStats struct {
	StepStatistics

	duration durations
}

type taskStats struct {
	definition *definitionStats
	created    domain.Instant
	failed     bool
}

type runningStep struct {
	task domain.TaskID
	step string
}

// StatisticsSnapshot is a copy of the numbers at one moment.
type StatisticsSnapshot struct {
	Events      map[domain.EventType]uint64 `json:"events"`
	Definitions []DefinitionStatistics      `json:"definitions"` // by full name
}

// DefinitionStatistics are the tasks of one definition. Cancelled tasks and those resolved manually have ended, failed
// ones count every time they fail.
type DefinitionStatistics struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Version   string `json:"version"`

	Created          uint64 `json:"created"`
	Live             uint64 `json:"live"` // now
	Completed        uint64 `json:"completed"`
	Failed           uint64 `json:"failed"`
	Retried          uint64 `json:"retried"`
	Cancelled        uint64 `json:"cancelled"`
	ResolvedManually uint64 `json:"resolved_manually"`

	Duration DurationStatistics `json:"duration"` // of the completed ones, from creation
	Steps    []StepStatistics   `json:"steps"`    // by name
}

// StepStatistics are the executions and outcomes of one step.
type StepStatistics struct {
	Name string `json:"name"`

	Executions       uint64 `json:"executions"` // started
	Completed        uint64 `json:"completed"`
	Failed           uint64 `json:"failed"`          // executions that failed
	FailedForGood    uint64 `json:"failed_for_good"` // ended in an error that is not tried again by itself
	Retries          uint64 `json:"retries"`         // by the engine
	Rounds           uint64 `json:"rounds"`          // begun by an operator
	Cancelled        uint64 `json:"cancelled"`
	ResolvedManually uint64 `json:"resolved_manually"`
	Skipped          uint64 `json:"skipped"`
	Inherited        uint64 `json:"inherited"` // in forks: ended in the task that was forked

	Duration DurationStatistics `json:"duration"` // of the executions that completed or failed
}

// NewStatistics is a fold of nothing.
func NewStatistics() *Statistics {
	return &Statistics{
		events:      map[domain.EventType]uint64{},
		definitions: map[string]*definitionStats{},
		tasks:       map[domain.TaskID]taskStats{},
		running:     map[runningStep]domain.Instant{},
		cancelled:   map[int]cancelledTask{},
	}
}

// Apply counts one record. O(1).
func (s *Statistics) Apply(r domain.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events[r.Event.Type()]++
	if e, ok := r.Event.(domain.TaskCreated); ok {
		s.created(r, e)
		return
	}
	task, ok := s.tasks[r.Task]
	if e, is := r.Event.(domain.StepEvent); is {
		switch e.(type) {
		case domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom:
			return // the execution goes on
		}
		if last := s.cancelled[r.Position.Partition]; !ok && last.id == r.Task {
			task = last.taskStats
		}
		s.step(task, r, e)
	} else if ok {
		s.task(task, r)
	}
}

func (s *Statistics) task(task taskStats, r domain.Record) {
	d := task.definition
	switch r.Event.(type) {
	case domain.TaskCompleted:
		d.Completed++
		d.duration.add(r.At.Sub(task.created))
		s.ended(r.Task, task)
	case domain.TaskCancelled:
		d.Cancelled++
		s.ended(r.Task, task)
		s.cancelled[r.Position.Partition] = cancelledTask{r.Task, task}
	case domain.TaskResolvedManually:
		d.ResolvedManually++
		s.ended(r.Task, task)
	case domain.TaskFailed:
		d.Failed++
		d.Live--
		task.failed = true
		s.tasks[r.Task] = task
	case domain.TaskRetryRequested:
		d.Retried++
		d.Live++
		task.failed = false
		s.tasks[r.Task] = task
	case domain.TaskExpired:
		s.ended(r.Task, task)
	case domain.TaskCreated, domain.TaskStartRequested, domain.TaskReenqueued, domain.TaskDelayed, domain.TaskPaused,
		domain.TaskResumed, domain.TaskAnnotated, domain.Signal, domain.Unknown,
		domain.PartitionOpened, domain.PartitionSkipped, domain.DefinitionAdopted:
	case domain.StepInherited, domain.StepExecutionRequested, domain.StepCompleted, domain.StepFailed, domain.StepRetryRequested, domain.StepCancelled,
		domain.StepResolvedManually, domain.StepSkipped, domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom: // see step
	}
}

func (s *Statistics) created(r domain.Record, e domain.TaskCreated) {
	d := DefinitionStatistics{Namespace: cmp.Or(e.Namespace, domain.DefaultNamespace), Name: e.Name, Version: e.Version}
	key := d.fullName()
	stats := s.definitions[key]
	if stats == nil {
		stats = &definitionStats{DefinitionStatistics: d, steps: map[string]*stepStats{}}
		s.definitions[key] = stats
	}
	stats.Created++
	stats.Live++
	s.tasks[r.Task] = taskStats{definition: stats, created: r.At}
}

func (s *Statistics) ended(id domain.TaskID, task taskStats) {
	if !task.failed {
		task.definition.Live--
	}
	delete(s.tasks, id)
}

func (s *Statistics) step(task taskStats, r domain.Record, e domain.StepEvent) {
	name := e.StepName()
	execution := runningStep{r.Task, name}
	started, running := s.running[execution]
	delete(s.running, execution)
	if task.definition == nil {
		return // the beginning of the task was not seen
	}
	stats := task.definition.steps[name]
	if stats == nil {
		stats = &stepStats{StepStatistics: StepStatistics{Name: name}}
		task.definition.steps[name] = stats
	}
	switch e := e.(type) {
	case domain.StepExecutionRequested:
		stats.Executions++
		s.running[execution] = r.At
	case domain.StepCompleted:
		stats.Completed++
		if running {
			stats.duration.add(r.At.Sub(started))
		}
	case domain.StepFailed:
		if running { // else the deadline ended its wait for a retry
			stats.Failed++
			stats.duration.add(r.At.Sub(started))
		}
		if e.RetryAt == 0 {
			stats.FailedForGood++
		}
	case domain.StepRetryRequested:
		if e.NewRound {
			stats.Rounds++
		} else {
			stats.Retries++
		}
	case domain.StepCancelled:
		stats.Cancelled++
	case domain.StepResolvedManually:
		stats.ResolvedManually++
	case domain.StepSkipped:
		stats.Skipped++
	case domain.StepInherited:
		stats.Inherited++
	}
}

func (d *DefinitionStatistics) fullName() string { return d.Namespace + "." + d.Name + "@" + d.Version }

// Snapshot copies the numbers.
func (s *Statistics) Snapshot() StatisticsSnapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	snapshot := StatisticsSnapshot{Events: maps.Clone(s.events), Definitions: make([]DefinitionStatistics, 0, len(s.definitions))}
	for _, stats := range s.definitions {
		d := stats.DefinitionStatistics
		d.Duration = stats.duration.statistics()
		d.Steps = make([]StepStatistics, 0, len(stats.steps))
		for _, step := range stats.steps {
			one := step.StepStatistics
			one.Duration = step.duration.statistics()
			d.Steps = append(d.Steps, one)
		}
		slices.SortFunc(d.Steps, func(a, b StepStatistics) int { return cmp.Compare(a.Name, b.Name) })
		snapshot.Definitions = append(snapshot.Definitions, d)
	}
	slices.SortFunc(snapshot.Definitions, func(a, b DefinitionStatistics) int { return cmp.Compare(a.fullName(), b.fullName()) })
	return snapshot
}

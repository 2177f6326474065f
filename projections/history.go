package projections

import (
	"encoding/json"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// History is what happened to one task.
type History struct {
	Task      domain.TaskID  `json:"task"`
	Namespace string         `json:"namespace,omitempty"`
	Name      string         `json:"name,omitempty"`
	Version   string         `json:"version,omitempty"`
	CreatedAt domain.Instant `json:"created_at,omitzero"`
	EndedAt   domain.Instant `json:"ended_at,omitzero"` // of the end or the failure, as long as it was not reopened
	Duration  time.Duration  `json:"duration_ns,omitzero"`
	Trimmed   bool           `json:"trimmed,omitempty"` // the beginning is not in the log any more
	Events    []HistoryEvent `json:"events"`
	// Executions in the order of their start.
	Executions []Execution `json:"executions"`
}

// HistoryEvent is one event, with everything that the log leaves out.
type HistoryEvent struct {
	ID       string           `json:"id"`
	Position domain.Position  `json:"-"`
	Type     domain.EventType `json:"type"`
	At       domain.Instant   `json:"at"`
	Step     string           `json:"step,omitempty"`
	Attempt  int              `json:"attempt,omitempty"`
	Actor    domain.Actor     `json:"actor"`
	Cause    string           `json:"cause,omitempty"` // id of an event or of a command; see Causes
	Data     json.RawMessage  `json:"data,omitempty"`
	// Duration of what the event ended: an execution, the wait of a failed step, a pause, the task.
	Duration time.Duration `json:"duration_ns,omitzero"`
}

// Outcome is how an execution ended.
type Outcome string

// The outcomes.
const (
	OutcomeRunning   Outcome = "running"
	OutcomeCompleted Outcome = "completed"
	OutcomeFailed    Outcome = "failed"
	OutcomeCancelled Outcome = "cancelled"
)

// Execution is one call of a step's handler.
type Execution struct {
	Step      string            `json:"step"`
	Attempt   int               `json:"attempt"`
	Round     int               `json:"round"`
	StartedAt domain.Instant    `json:"started_at"`
	EndedAt   domain.Instant    `json:"ended_at,omitzero"`
	Duration  time.Duration     `json:"duration_ns,omitzero"`
	Outcome   Outcome           `json:"outcome"`
	Error     *domain.StepError `json:"error,omitempty"`
	RetryAt   domain.Instant    `json:"retry_at,omitzero"`
	// Waited is the time since the execution before it of the same step: the backoff, and the wait for a slot.
	Waited time.Duration `json:"waited_ns,omitzero"`
}

// FoldHistory makes the history of one task of its records, the oldest first.
func FoldHistory(records []domain.Record) History {
	h := History{Events: make([]HistoryEvent, 0, len(records)), Executions: []Execution{}}
	f := historyFold{h: &h, steps: map[string]*stepHistory{}}
	causes := Causes(records)
	for i, r := range records {
		h.Task = r.Task
		e := HistoryEvent{
			ID: r.ID(), Position: r.Position, Type: r.Event.Type(), At: r.At, Actor: r.Actor(), Cause: causes[i],
			Data: domain.EventData(r.Event),
		}
		if about, ok := r.Event.(domain.StepEvent); ok {
			e.Step, e.Attempt = about.StepName(), about.AttemptNumber()
			e.Duration = f.step(about, r.At)
		} else {
			e.Duration = f.task(r.Event, r.At)
		}
		if unknown, ok := r.Event.(domain.Unknown); ok {
			e.Step, e.Attempt = unknown.Step, unknown.Attempt
		}
		h.Events = append(h.Events, e)
	}
	return h
}

// historyFold is what has to be known to measure the next event.
type historyFold struct {
	h      *History
	steps  map[string]*stepHistory
	paused domain.Instant
}

type stepHistory struct {
	round    int
	last     int // its newest execution in History.Executions, or -1
	failedAt domain.Instant
}

// task returns the duration of what the event ended.
func (f *historyFold) task(e domain.Event, at domain.Instant) time.Duration {
	switch e := e.(type) {
	case domain.TaskCreated:
		f.h.CreatedAt, f.h.Name, f.h.Version = at, e.Name, e.Version
		if f.h.Namespace = e.Namespace; e.Namespace == "" {
			f.h.Namespace = domain.DefaultNamespace
		}
	case domain.TaskCompleted, domain.TaskFailed, domain.TaskCancelled, domain.TaskResolvedManually:
		f.h.EndedAt = at
		f.h.Duration = since(f.h.CreatedAt, at)
		return f.h.Duration
	case domain.TaskRetryRequested:
		failed := f.h.EndedAt
		f.h.EndedAt, f.h.Duration, f.paused = 0, 0, 0
		return since(failed, at)
	case domain.TaskPaused:
		f.paused = at
	case domain.TaskResumed:
		paused := f.paused
		f.paused = 0
		return since(paused, at)
	case domain.TaskStartRequested, domain.TaskReenqueued, domain.TaskDelayed, domain.TaskAnnotated, domain.Unknown,
		domain.PartitionOpened, domain.PartitionSkipped, domain.DefinitionAdopted, domain.TaskExpired, domain.Signal:
	case domain.StepInherited, domain.StepExecutionRequested, domain.StepCompleted, domain.StepFailed, domain.StepRetryRequested, domain.StepCancelled,
		domain.StepResolvedManually, domain.StepSkipped, domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom: // see step
	}
	return 0
}

func (f *historyFold) step(e domain.StepEvent, at domain.Instant) time.Duration {
	s := f.steps[e.StepName()]
	if s == nil {
		s = &stepHistory{round: 1, last: -1}
		f.steps[e.StepName()] = s
	}
	var running, last *Execution
	if s.last >= 0 {
		if last = &f.h.Executions[s.last]; last.Outcome == OutcomeRunning {
			running = last
		}
	}
	switch e := e.(type) {
	case domain.StepExecutionRequested:
		x := Execution{Step: e.Step, Attempt: e.Attempt, Round: s.round, StartedAt: at, Outcome: OutcomeRunning}
		if last != nil {
			x.Waited = since(last.EndedAt, at)
		}
		s.last = len(f.h.Executions)
		f.h.Executions = append(f.h.Executions, x)
	case domain.StepCompleted:
		return running.end(OutcomeCompleted, at)
	case domain.StepFailed:
		s.failedAt = at
		if running == nil {
			if last != nil {
				last.RetryAt = e.RetryAt // the deadline passed while the step waited for a retry
			}
			return 0
		}
		running.Error, running.RetryAt = &e.Error, e.RetryAt
		return running.end(OutcomeFailed, at)
	case domain.StepCancelled:
		return running.end(OutcomeCancelled, at)
	case domain.StepRetryRequested:
		if e.NewRound {
			s.round++
		}
		return since(s.failedAt, at)
	case domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom: // while it runs
		if running != nil {
			return since(running.StartedAt, at)
		}
	case domain.StepInherited, domain.StepResolvedManually, domain.StepSkipped: // they end what did not run
	}
	return 0
}

// end closes an execution that runs; nil is none.
func (x *Execution) end(outcome Outcome, at domain.Instant) time.Duration {
	if x == nil {
		return 0
	}
	x.Outcome, x.EndedAt = outcome, at
	x.Duration = since(x.StartedAt, at)
	return x.Duration
}

func since(from, to domain.Instant) time.Duration {
	if from == 0 {
		return 0
	}
	return to.Sub(from)
}

// Causes gives the cause of every record, "" where there is none among the records: the id of an event, or what the
// record itself names. The records are those of one task or of several, the oldest first. This is the rule by which
// the log leaves causes out:
//
//   - step.completed and step.failed, and what an execution says while it runs, are caused by the step.execution_requested
//     of the same step and attempt;
//   - step.retry_requested without a new round is caused by the step.failed before it;
//   - anything else that the engine did is a reaction, caused by the nearest earlier event of the task in the same
//     commit that is not a reaction itself;
//   - what others did has no cause in the log.
func Causes(records []domain.Record) []string {
	type execution struct {
		task    domain.TaskID
		step    string
		attempt int // 0: the newest failure
	}
	type place struct {
		task     domain.TaskID
		sequence uint64
	}
	causes := make([]string, len(records))
	ids := map[execution]string{}
	acts := map[place]string{}
	for i, r := range records {
		reaction := false
		switch e := r.Event.(type) {
		case domain.StepCompleted:
			causes[i] = ids[execution{r.Task, e.Step, e.Attempt}]
		case domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom:
			about := e.(domain.StepEvent)
			causes[i] = ids[execution{r.Task, about.StepName(), about.AttemptNumber()}]
		case domain.StepFailed:
			causes[i] = ids[execution{r.Task, e.Step, e.Attempt}]
			ids[execution{r.Task, e.Step, 0}] = r.ID()
		case domain.StepExecutionRequested:
			ids[execution{r.Task, e.Step, e.Attempt}] = r.ID()
			reaction = true
		case domain.StepRetryRequested:
			if e.NewRound {
				reaction = r.Actor() == domain.ByEngine
			} else {
				causes[i] = ids[execution{r.Task, e.Step, 0}]
			}
		case domain.PartitionOpened, domain.PartitionSkipped, domain.DefinitionAdopted, domain.TaskCreated,
			domain.TaskStartRequested, domain.TaskReenqueued, domain.TaskDelayed, domain.TaskCompleted, domain.TaskFailed,
			domain.TaskRetryRequested, domain.TaskCancelled, domain.TaskResolvedManually, domain.TaskPaused, domain.TaskResumed,
			domain.TaskAnnotated, domain.StepCancelled, domain.StepInherited, domain.StepResolvedManually, domain.StepSkipped, domain.TaskExpired, domain.Signal, domain.Unknown:
			reaction = r.Actor() == domain.ByEngine
		}
		at := place{r.Task, r.Position.Sequence}
		if reaction {
			causes[i] = acts[at]
		} else {
			acts[at] = r.ID()
		}
		if r.Cause != "" {
			causes[i] = r.Cause
		}
	}
	return causes
}
